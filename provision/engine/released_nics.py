"""A host's facts as they will be once an inventory has given back the NICs it needs no more. Pure.

A method that takes the place of another is planned by these: the bridge that holds a NIC's
addresses now goes in the same change, before anything is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from provision import methods
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts, Link, PeerRoute
from provision.facts.nics import Nic
from provision.model.inventory import Inventory
from provision.resources.base import Resource
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.kinds.route import Route


def with_released_nics(inventory: Inventory, look: HostSnapshot) -> HostSnapshot:
    """A look with every NIC in its own place that no network of the file moves."""
    facts = look.facts
    back = dict(_back(inventory, look))
    if not back:
        return replace(look, facts=_without_own(inventory, look))
    seen = replace(
        facts,
        links=_links(facts, back),
        peer_routes={
            peer: PeerRoute(back.get(way.dev, way.dev), way.via)
            for peer, way in facts.peer_routes.items()
        },
        routes=tuple(replace(one, dev=back.get(one.dev, one.dev)) for one in facts.routes),
        nics=_uplinks(facts, back),
        default_routes=tuple(
            replace(route, dev=back.get(route.dev, route.dev)) for route in facts.default_routes
        ),
        bridged_nics={
            name: original
            for name, original in facts.bridged_nics.items()
            if original.nic not in back.values()
        },
        ovs_nic_by_bridge={
            name: nic for name, nic in facts.ovs_nic_by_bridge.items() if name not in back
        },
    )
    foreign = {ref: _freed(one, back) for ref, one in look.foreign.items()}
    look = replace(look, facts=seen, foreign=foreign)
    return replace(look, facts=_without_own(inventory, look))


def _back(inventory: Inventory, look: HostSnapshot) -> Iterator[tuple[str, str]]:
    """What holds a NIC's addresses now, and the NIC."""
    host = look.facts.host
    networks = [network for network in inventory.networks.values() if host in network.hosts]
    bridges = [methods.of(network).interface_bridge(network, host) for network in networks]
    kept = {bridge.name for bridge in bridges if bridge is not None}
    for bridge, original in look.facts.bridged_nics.items():
        holder, nic = original.address_holder(bridge), look.facts.nics.get(original.nic)
        # What somebody has made a port of another bridge meanwhile is not ours to give back.
        if bridge not in kept and (nic is None or nic.master in ("", bridge, holder)):
            yield holder, original.nic
    if any(methods.of(network).takes_nic for network in networks):
        return
    for resource in look.ours.values():
        # Another inventory that needs it keeps it.
        if isinstance(resource, OvsUplink) and resource.bridge and not resource.others:
            yield resource.bridge, resource.nic


def _freed(resource: Resource, back: Mapping[str, str]) -> Resource:
    """A NIC that is a port of what goes is in nobody's way."""
    if isinstance(resource, OvsUplink) and resource.nic in back.values():
        return replace(resource, obstacle="")
    return resource


def _without_own(inventory: Inventory, look: HostSnapshot) -> HostFacts:
    """Without the routes of ours that go, too: nobody is to keep them for the NIC."""
    parts = {part for network in inventory.networks.values() for part in network.subnets.values()}
    gone = {
        (str(one.dst), str(one.via))
        for one in look.ours.values()
        if isinstance(one, Route) and one.dst not in parts
    }
    if not gone:
        return look.facts
    links = {
        name: replace(link, routes=tuple(r for r in link.routes if (r.dst, r.via) not in gone))
        for name, link in look.facts.nics.items()
    }
    return replace(look.facts, nics=links)


def _links(facts: HostFacts, back: Mapping[str, str]) -> dict[str, Link]:
    links = {name: link for name, link in facts.links.items() if name not in back}
    for holder, nic in back.items():
        if holder in facts.links and nic in links:
            held = facts.links[holder].addresses
            links[nic] = replace(links[nic], addresses=(*links[nic].addresses, *held))
    return links


def _uplinks(facts: HostFacts, back: Mapping[str, str]) -> dict[str, Nic]:
    links = {name: link for name, link in facts.nics.items() if name not in back}
    networks = {original.nic: original.network for original in facts.bridged_nics.values()}
    for holder, nic in back.items():
        above, below = facts.nics.get(holder), links.get(nic)
        if above is not None and below is not None:
            links[nic] = replace(
                below,
                master="",
                network=networks.get(nic, below.network),  # its manager's file; now it is ours
                addresses=(*below.addresses, *above.addresses),
                routes=(*below.routes, *above.routes),
            )
    return links
