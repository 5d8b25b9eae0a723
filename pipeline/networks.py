"""Which network addresses count as one caller."""

from ipaddress import IPv6Address, ip_address, ip_network

IPV6_PREFIX_BITS = 64
"""A provider gives at least this network to one customer, who can use any address in it."""


def find_network(address: str) -> str:
    """Return an IPv4 address unchanged, and the /64 network of an IPv6 address.

    A text that is no address, such as `unknown`, is returned unchanged.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed), IPV6_PREFIX_BITS), strict=False))
