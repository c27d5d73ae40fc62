"""Host facts as they will look after releasing the NICs that this inventory no longer uses. Pure.

They let one plan switch a network to another method: the bridge that holds the addresses of a NIC
is removed in the same change, before the resources of the new method are made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from provision import methods
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts, Link
from provision.facts.nics import Nic
from provision.model.inventory import Inventory
from provision.resources.base import Resource
from provision.resources.kinds.ovs_uplink import OvsUplink


def with_released_nics(inventory: Inventory, snapshot: HostSnapshot) -> HostSnapshot:
    """The snapshot with every NIC back in its original place, unless a network still uses it."""
    released = dict(_released(inventory, snapshot))
    if released:
        foreign = {
            ref: _without_obstacle(resource, released) for ref, resource in snapshot.foreign.items()
        }
        facts = _with_released(snapshot.facts, released)
        snapshot = replace(snapshot, facts=facts, foreign=foreign)
    return snapshot


def _released(inventory: Inventory, snapshot: HostSnapshot) -> Iterator[tuple[str, str]]:
    """Each released NIC, after the interface that holds its addresses now."""
    host = snapshot.facts.host
    networks = [network for network in inventory.networks.values() if host in network.hosts]
    bridges = [methods.of(network).interface_bridge(network, host) for network in networks]
    kept = {bridge.name for bridge in bridges if bridge is not None}
    for bridge, original in snapshot.facts.bridged_nics.items():
        holder, nic = original.address_holder(bridge), snapshot.facts.nics.get(original.nic)
        # Somebody else may have made the NIC a port of another bridge: then it is not released.
        if bridge not in kept and (nic is None or nic.master in ("", bridge, holder)):
            yield holder, original.nic
    if any(methods.of(network).takes_nic for network in networks):
        return
    for resource in snapshot.ours.values():
        # With `other_users` the uplink stays: another inventory uses it, too.
        if isinstance(resource, OvsUplink) and resource.bridge and not resource.other_users:
            yield resource.bridge, resource.nic


def _with_released(facts: HostFacts, released: Mapping[str, str]) -> HostFacts:
    """The facts with released NICs in the place of the interfaces that hold their addresses."""
    return replace(
        facts,
        links=_links(facts, released),
        peer_routes=facts.peer_routes.with_devices(released),
        routes=tuple(
            route._replace(dev=released.get(route.dev, route.dev)) for route in facts.routes
        ),
        nics=_nics(facts, released),
        default_routes=tuple(
            replace(route, dev=released.get(route.dev, route.dev)) for route in facts.default_routes
        ),
        bridged_nics={
            bridge: original
            for bridge, original in facts.bridged_nics.items()
            if original.nic not in released.values()
        },
        ovs_nic_by_bridge={
            bridge: nic for bridge, nic in facts.ovs_nic_by_bridge.items() if bridge not in released
        },
    )


def _without_obstacle(resource: Resource, released: Mapping[str, str]) -> Resource:
    """The resource without an obstacle that goes away when its NIC is released."""
    if isinstance(resource, OvsUplink) and resource.nic in released.values():
        return replace(resource, obstacle="")
    return resource


def _links(facts: HostFacts, released: Mapping[str, str]) -> dict[str, Link]:
    links = {name: link for name, link in facts.links.items() if name not in released}
    for holder, nic in released.items():
        if holder in facts.links and nic in links:
            addresses = (*links[nic].addresses, *facts.links[holder].addresses)
            links[nic] = replace(links[nic], addresses=addresses)
    return links


def _nics(facts: HostFacts, released: Mapping[str, str]) -> dict[str, Nic]:
    nics = {name: nic for name, nic in facts.nics.items() if name not in released}
    # The file of the NIC's own manager is put back with it; until then the file is ours.
    originals = {original.nic: original for original in facts.bridged_nics.values()}
    for holder_name, name in released.items():
        holder, nic = facts.nics.get(holder_name), nics.get(name)
        if holder is not None and nic is not None:
            nics[name] = replace(
                nic,
                master="",
                managers=(originals[name].manager,) if name in originals else nic.managers,
                network=originals[name].network if name in originals else nic.network,
                addresses=(*nic.addresses, *holder.addresses),
                routes=(*nic.routes, *holder.routes),
            )
    return nics
