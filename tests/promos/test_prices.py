"""What a unit costs after the discount, in money and in credits."""

from decimal import Decimal

import pytest

from db.queries.promos import price
from schema.promos import price_credits


@pytest.mark.parametrize(
    ("base", "percent", "expected"),
    [
        ("1000.00", "0", "1000.00"),
        ("1000.00", "100", "0.00"),
        ("1000.00", "12.5", "875.00"),
        ("0.01", "50", "0.01"),  # half a cent goes up
        ("0.03", "50", "0.02"),  # and so does this one: not to the even digit
        ("0.05", "50", "0.03"),
        ("9.99", "33.33", "6.66"),
        ("999999999999.99", "0.01", "999899999999.99"),
    ],
)
def test_a_price_is_rounded_half_up_to_two_digits(base: str, percent: str, expected: str) -> None:
    assert str(price(Decimal(base), Decimal(percent))) == expected


@pytest.mark.parametrize(
    ("amount", "rate", "expected"),
    [("10.00", "1", "10.00"), ("10.01", "0.5", "5.01"), ("0.00", "3", "0.00")],
)
def test_credits_follow_the_rate_and_round_the_same_way(
    amount: str, rate: str, expected: str
) -> None:
    assert str(price_credits(Decimal(amount), Decimal(rate))) == expected
