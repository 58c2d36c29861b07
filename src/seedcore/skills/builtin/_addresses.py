"""Decides which hosts and addresses `http.fetch` may reach."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address
DEFAULT_PORTS = {"http": 80, "https": 443}

# Ranges that `is_global` accepts in some Python versions, although they hold no public pages.
_REFUSED = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "64:ff9b:1::/48",  # local translation prefix
        "100::/64",  # discard
        "2001::/23",  # protocol assignments, Teredo among them
        "fec0::/10",  # site-local
    )
)
_NAT64 = ip_network("64:ff9b::/96")
_6TO4 = ip_network("2002::/16")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet; one that wraps an IPv4 address is judged by that."""
    inner = _wrapped(address)
    if inner is not None:
        return is_public(inner)
    if any(address.version == network.version and address in network for network in _REFUSED):
        return False
    return address.is_global and not (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )


def _wrapped(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _6TO4:
        return IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
    return None


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a host, in the order in which to try them.

    Raises:
        OSError: the name does not resolve.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(item[4][0]) for item in found))


@dataclass(frozen=True, slots=True)
class AllowList:
    """Hosts by name: `example.org`, `*.example.org` (all hosts below it), with `:port` unless it is the default."""

    entries: Sequence[str]

    def allows(self, scheme: str, host: str, port: int) -> bool:
        """Whether a URL's host and port are on the list."""
        host = host.lower().rstrip(".")
        for entry in self.entries:
            name, _, entry_port = entry.partition(":")
            allowed_port = int(entry_port) if entry_port.isdecimal() else DEFAULT_PORTS[scheme]
            if port == allowed_port and (host.endswith(name[1:]) if name.startswith("*.") else host == name):
                return True
        return False
