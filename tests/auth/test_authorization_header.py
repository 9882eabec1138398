from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.authorization import LONGEST_TOKEN, Basic, Bearer, parse_authorization
from auth.errors import Unauthenticated


def basic(credentials: bytes) -> str:
    return "Basic " + b64encode(credentials).decode()


@pytest.mark.parametrize("value", [None, "", "   ", "\t"])
def test_nothing_is_nobody(value: str | None) -> None:
    assert parse_authorization(value) is None


@pytest.mark.parametrize("value", ["Bearer a.b-c_d", "bearer a.b-c_d", "BEARER   a.b-c_d "])
def test_reads_a_token(value: str) -> None:
    assert parse_authorization(value) == Bearer("a.b-c_d")


def test_reads_basic_credentials() -> None:
    assert parse_authorization(basic(b"ana:test123")) == Basic("ana", "test123")
    assert parse_authorization(basic("ñandú:contraseña:2".encode())) == Basic(
        "ñandú", "contraseña:2"
    )
    assert parse_authorization(basic(b":")) == Basic("", "")


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer a,b",
        "Bearer é",
        "Bearer\ta",
        "Bearer a\nX-Other: 1",
        "Bearer " + "a" * (LONGEST_TOKEN + 1),
        "token",
        "Digest abc",
        "Basic ???",
        "Basic YQ",
        "Basic YTpi-",
        basic(b"no colon"),
        basic(b"\xff:\xfe"),
        basic(b"nul\x00:x"),
        basic(b"line\n:x"),
    ],
)
def test_refuses_what_is_malformed(value: str) -> None:
    with pytest.raises(Unauthenticated):
        parse_authorization(value)


@settings(deadline=None)
@given(st.text() | st.text().map("Bearer {}".format) | st.binary().map(basic))
def test_hostile_text_is_read_or_refused(value: str) -> None:
    with suppress(Unauthenticated):
        assert isinstance(parse_authorization(value), Bearer | Basic | None)


def test_secrets_do_not_show() -> None:
    assert "s3cret" not in repr([Bearer("s3cret"), Basic("ana", "s3cret")])
