"""
Small subnets for our own networks.

An engine hands out /16s and runs dry after some thirty networks; a server needs one address, so each network gets a
/28 that overlaps neither another network nor a route of this machine; more for a server that may have many instances.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Final

POOLS: Final = (IPv4Network("10.213.0.0/16"), IPv4Network("172.29.0.0/16"), IPv4Network("192.168.208.0/20"))
PREFIX: Final = 28
_TAKEN: Final = 4
"""Addresses of every subnet that no instance gets: its own, the gateway's, the broadcast's, and one to spare."""
ROUTES: Final = Path("/proc/net/route")


def prefix_for(instances: int) -> int:
    """The prefix of a subnet that has room for so many instances."""
    return min(PREFIX, 32 - (instances + _TAKEN - 1).bit_length())


def candidates(name: str, used: Iterable[IPv4Network], prefix: int = PREFIX) -> Iterator[IPv4Network]:
    """Free subnets for the network *name*, best first: the same name starts at the same place, others elsewhere."""
    taken = tuple(used)
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    for pool in POOLS:
        near = [network for network in taken if network.overlaps(pool)]
        count = 1 << (prefix - pool.prefixlen)
        for number in range(count):
            base = int(pool.network_address) + ((start + number) % count) * (1 << (32 - prefix))
            subnet = IPv4Network((base, prefix))
            if not any(subnet.overlaps(network) for network in near):
                yield subnet


def address_in(subnet: IPv4Network, instance: str) -> str | None:
    """
    The address of the instance of this name, by its number; None where there is no room for it.

    An engine gives the address of one that has ended to the next that starts, and whoever still speaks to the first
    would speak to somebody else's.
    """
    number = instance.rpartition("-")[2]
    place = 1 + int(number) if number.isdecimal() and len(number) < 6 else subnet.num_addresses  # noqa: PLR2004
    return str(subnet[place]) if place < subnet.num_addresses - 1 else None


def subnets_of(networks: Iterable[dict[str, object]]) -> Iterator[IPv4Network]:
    """The IPv4 subnets in an engine's list of networks."""
    for network in networks:
        ipam = network.get("IPAM")
        for entry in (ipam.get("Config") or ()) if isinstance(ipam, dict) else ():
            try:
                subnet = ip_network(entry.get("Subnet") or "", strict=False)
            except ValueError:
                continue
            if isinstance(subnet, IPv4Network):
                yield subnet


def host_routes(table: str) -> Iterator[IPv4Network]:
    """The routes in the text of `/proc/net/route`, the default route aside."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7:  # noqa: PLR2004  the mask is the eighth
            address, mask = (int.from_bytes(bytes.fromhex(fields[i])[::-1], "big") for i in (1, 7))
            if mask:
                yield IPv4Network((address & mask, mask.bit_count()))


def this_host() -> tuple[IPv4Network, ...]:
    """The routes of this machine, where it says."""
    try:
        return tuple(host_routes(ROUTES.read_text()))
    except (OSError, ValueError):
        return ()
