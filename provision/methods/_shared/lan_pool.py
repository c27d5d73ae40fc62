"""The pool of a network on the hosts' LAN: the part of the LAN that Docker hands out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from provision.facts.arp import MOST_PROBED
from provision.model import names
from provision.model.help import Help
from provision.model.inventory import Interface, Inventory, Network

if TYPE_CHECKING:
    from provision.model.documents import NetworkDocument

_MAX_PREFIX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LanOptions:
    """The keys of a network on the hosts' LAN; `cidr` is the LAN itself."""

    gateway: Annotated[
        IPv4Address | None, Help("the LAN's router; default: containers leave by their host")
    ] = None
    pool: Annotated[
        IPv4Network | None, Help("part of the LAN from which Docker gives addresses")
    ] = None


def lan_options(network: Network) -> LanOptions:
    """The options of a network on the hosts' LAN."""
    assert isinstance(network.options, LanOptions)
    return network.options


def parts(
    network: NetworkDocument, options: LanOptions, hosts: tuple[str, ...]
) -> Mapping[str, IPv4Network]:
    """Each host's part of the pool: its fixed one, else the block of its position.

    Without a pool Docker gives no addresses; then each host's part is the LAN itself.
    """
    pool = options.pool
    if pool is None:
        return dict.fromkeys(hosts, network.cidr)
    size, fixed = part_size(network, pool, hosts), network.subnets or {}
    return {
        host: fixed[host] if host in fixed else names.nth_block(pool, size, k)
        for k, host in enumerate(hosts)
        if host in fixed or k < names.block_count(pool, size)
    }


def part_size(network: NetworkDocument, pool: IPv4Network, hosts: tuple[str, ...]) -> int:
    """The prefix length of a part: the one in the file, or the shortest that serves all hosts."""
    if "subnet_size" in network.model_fields_set:
        return network.subnet_size
    return min(_MAX_PREFIX, pool.prefixlen + max(len(hosts) - 1, 0).bit_length())


def arp_checks(inventory: Inventory, networks: Iterable[Network], host: str) -> dict[str, str]:
    """Each address that a host's containers are to have, and each of their routers, with its check.

    The check is `own` (no other machine may have it) or `router` (one machine must).
    """
    networks = tuple(networks)
    interfaces = tuple(_interfaces(inventory, networks, host))
    routers = [route.via for i in interfaces for route in i.routes if route.to == "default"]
    routers += [str(gateway) for net in networks if (gateway := lan_options(net).gateway)]
    pools = [network.subnets[host] for network in networks if lan_options(network).pool]
    addresses = [
        text.partition("/")[0] for i in interfaces for text in i.addresses if ":" not in text
    ]
    return {
        **{router: "router" for router in routers if ":" not in router},
        **dict.fromkeys(addresses, "own"),
        **{str(address): "own" for pool in pools for address in pool},
    }


def arp_probes(inventory: Inventory, networks: Iterable[Network], host: str) -> dict[str, str]:
    """The checks of a host, then those of the other addresses of its pools.

    A new host may get another part than that of the file, as the others keep theirs.
    """
    networks = tuple(networks)
    checks = arp_checks(inventory, networks, host)
    pools = [lan_options(each).pool for each in networks if host not in each.written]
    # No more are probed, and a pool can be large.
    addresses = (str(address) for pool in pools if pool for address in islice(pool, MOST_PROBED))
    return {**checks, **{address: "own" for address in addresses if address not in checks}}


def _interfaces(
    inventory: Inventory, networks: tuple[Network, ...], host: str
) -> Iterator[Interface]:
    """The interfaces of a host's containers on these networks; a VLAN is another LAN."""
    network_names = {network.name for network in networks}
    for container in inventory.containers.values():
        for interface in container.interfaces if container.host == host else ():
            if interface.network in network_names and not interface.vlan:
                yield interface
