"""Addresses of callers."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def within(address: str | None, networks: Iterable[Network]) -> bool:
    """False for anything that is not an address, and for no networks at all."""
    found = _parse(address)
    return found is not None and any(found in network for network in networks)


def address_block(address: str | None) -> str:
    """What to count anonymous callers by.

    A household or a rented server has a whole IPv6 /64 and could otherwise come from another
    address with every request. Everything that is not an address shares one block.
    """
    found = _parse(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((int(found), 64), strict=False))
    return str(found) if found else "unknown"


def _parse(address: str | None) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address or "")
    except ValueError:
        return None
    # A socket that listens on both families reports IPv4 callers as ::ffff:a.b.c.d.
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found
