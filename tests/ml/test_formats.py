"""E-mail addresses and country codes."""

import time

import pytest

from ml.countries import COUNTRY_CODES
from ml.formats import format_problem, is_email


@pytest.mark.parametrize(
    "address",
    [
        "maria.perez@example.com",
        "a@b.co",
        "first+tag@sub.domain.example.org",
        "o'brien@example.ie",
        "josé@ejemplo.cl",
        f"{'a' * 64}@example.com",
        "user@xn--bcher-kva.example",
    ],
)
def test_real_addresses_pass(address: str) -> None:
    assert is_email(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "maria",
        "@example.com",
        "maria@",
        "maria@example",
        "maria@@example.com",
        "ma ria@example.com",
        ".maria@example.com",
        "maria.@example.com",
        "ma..ria@example.com",
        "maria@-example.com",
        "maria@example-.com",
        "maria@example..com",
        "maria@.com",
        "maria@127.0.0.1",
        "maria@exam_ple.com",
        "maria@example.com\n",
        "maria\r\nbcc:x@example.com",
        f"{'a' * 65}@example.com",
        f"a@{'b' * 64}.com",
        f"a@{'b.' * 130}com",
    ],
)
def test_malformed_addresses_do_not(address: str) -> None:
    assert not is_email(address)


def test_a_long_hostile_text_is_refused_in_no_time() -> None:
    started = time.perf_counter()
    for text in ("a" * 1_000_000, "a@" * 500_000, "." * 1_000_000):
        assert not is_email(text)
    assert time.perf_counter() - started < 0.5


def test_the_249_codes_of_the_standard() -> None:
    assert len(COUNTRY_CODES) == 249
    assert {"CL", "AX", "BQ", "GB", "SS", "CW", "ZW"} <= COUNTRY_CODES
    # withdrawn, reserved or user-assigned
    assert COUNTRY_CODES.isdisjoint({"AN", "SU", "YU", "UK", "EU", "XK", "XX", "ZZ"})


@pytest.mark.parametrize("code", ["cl", "CHL", "C", "", "CL ", "XX"])
def test_a_country_is_an_assigned_code_in_capitals(code: str) -> None:
    assert format_problem("country", code) is not None


def test_a_format_that_does_not_exist_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="unknown format"):
        format_problem("telephone", "1")
