"""Which addresses events may be sent to. A name is resolved once, and only the addresses found are connected to."""

import asyncio
import socket
from concurrent.futures import Executor
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from pipeline.networks import Networks

TRANSLATED = IPv6Network("64:ff9b::/96")
"""NAT64: the last 32 bits are an IPv4 address."""
PLATFORM_ADDRESSES = frozenset({IPv4Address("168.63.129.16")})
"""Public addresses at which a cloud serves its own machines: Azure's agent."""


class AddressRefused(Exception):
    """A name resolves to an address to which no events are sent."""


def is_allowed(address: IPv4Address | IPv6Address, allowed: Networks) -> bool:
    """Return True if an address is public, or in one of the networks that the operator allows.

    An IPv6 address that leads to an IPv4 address counts as that.
    """
    address = _find_target(address)
    if any(address in network for network in allowed):
        return True
    is_special = address.is_multicast or address.is_reserved or address in PLATFORM_ADDRESSES
    is_local = isinstance(address, IPv6Address) and address.is_site_local
    return address.is_global and not (is_special or is_local)


def _find_target(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if not isinstance(address, IPv6Address):
        return address
    if address in TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    # Without the zone, with which no address is in a network.
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or IPv6Address(int(address))


async def resolve(host: str, port: int, allowed: Networks, executor: Executor | None = None) -> list[str]:
    """Return the addresses of a host, which may be an address itself.

    Raises OSError if there are none, AddressRefused if one of them is not allowed.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(executor, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except UnicodeError as error:  # a label that is empty or too long
        raise OSError("no valid name") from error
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    if not all(is_allowed(ip_address(address), allowed) for address in addresses):
        raise AddressRefused
    return addresses
