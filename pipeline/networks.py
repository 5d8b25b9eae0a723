"""Which network address a request comes from, and which addresses count as one caller."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPV6_PREFIX_BITS = 64
"""A provider gives at least this network to one customer, who can use any address in it."""

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]


@lru_cache
def parse_networks(text: str) -> Networks:
    """Return the addresses and networks of a comma-separated list.

    Raises ValueError if one of them is neither.
    """
    return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def find_client(peer: str, forwarded: Sequence[str], trusted: Networks) -> str:
    """Return the address that a request comes from: the last one in the chain that is not a trusted proxy.

    `peer` is the address of the connection, and `forwarded` the `X-Forwarded-For` headers. A proxy is believed only if
    it is trusted. If the address that it names is not valid, the proxy counts as the client.
    """
    client = _parse(peer)
    if client is None:
        return peer
    for hop in reversed([hop for header in forwarded for hop in header.split(",")]):
        previous = _parse(hop.strip()) if any(client in network for network in trusted) else None
        if previous is None:
            break
        client = previous
    return str(client)


def find_network(address: str) -> str:
    """Return an IPv4 address unchanged, and the /64 network of an IPv6 address.

    A text that is not an address, such as `unknown`, is returned unchanged.
    """
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), IPV6_PREFIX_BITS), strict=False))
    return str(parsed or address)


def _parse(text: str) -> Address | None:
    """Return an address without its zone, which can have any length. An IPv4 address in IPv6 form becomes IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))
    return address
