"""Addresses of the LAN that `pipework` networks need, and the ARP checks of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.methods.pipework.nic import options
from provision.model.inventory import Interface, Inventory, Network


def arp_checks(inventory: Inventory, networks: Iterable[Network], host: str) -> dict[str, str]:
    """Each address that a host's containers are to have, and each of their routers, with its check.

    The check is `own` (no other machine may have it) or `router` (one machine must).
    """
    networks = tuple(networks)
    interfaces = tuple(_interfaces(inventory, networks, host))
    routers = [route.via for i in interfaces for route in i.routes if route.to == "default"]
    routers += [str(gateway) for net in networks if (gateway := options(net).gateway)]
    pools = [network.subnets[host] for network in networks if options(network).pool]
    own = [text.partition("/")[0] for i in interfaces for text in i.addresses if ":" not in text]
    return {
        **{router: "router" for router in routers if ":" not in router},
        **dict.fromkeys(own, "own"),
        **{str(address): "own" for pool in pools for address in pool},
    }


def _interfaces(
    inventory: Inventory, networks: tuple[Network, ...], host: str
) -> Iterator[Interface]:
    """The interfaces of a host's containers on these networks; a VLAN is another LAN."""
    names = {network.name for network in networks}
    for container in inventory.containers.values():
        for interface in container.interfaces if container.host == host else ():
            if interface.network in names and not interface.vlan:
                yield interface
