from ipaddress import ip_network

import pytest

from auth.networks import address_block, within

INSIDE = [ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1")]


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "fd00::1", "::ffff:10.1.2.3"])
def test_inside(address: str) -> None:
    assert within(address, INSIDE)


@pytest.mark.parametrize(
    "address",
    [None, "", "11.0.0.1", "::1", "::ffff:11.0.0.1", "localhost", "10.1.2.3/8", "10.1.2.3:80", "é"],
)
def test_outside(address: str | None) -> None:
    assert not within(address, INSIDE)


def test_no_networks_hold_nobody() -> None:
    assert not within("127.0.0.1", [])


def test_an_ipv6_household_is_one_caller() -> None:
    assert address_block("2001:db8:1:2::1") == address_block("2001:db8:1:2:ffff::9")
    assert address_block("2001:db8:1:2::1") != address_block("2001:db8:1:3::1")
    assert address_block("203.0.113.7") == "203.0.113.7"
    assert address_block("::ffff:203.0.113.7") == "203.0.113.7"
    assert address_block("fe80::1%eth0") == address_block("fe80::2")
    assert address_block(None) == address_block("somewhere") == "unknown"
