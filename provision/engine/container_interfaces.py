"""A container's `interfaces` as resources. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision import methods
from provision.facts.host import HostFacts
from provision.model.errors import UnfitError
from provision.model.fields.interfaces import route_spec, rule_spec
from provision.model.inventory import Container, Interface, Inventory
from provision.model.names import host_veth_name
from provision.resources.base import Ref
from provision.resources.kinds.attachment import Attachment


def attached(
    inventory: Inventory, container: Container, facts: Mapping[str, HostFacts]
) -> Iterator[Attachment]:
    """Every interface that a container has beside Docker's."""
    for one in container.interfaces:
        yield _attachment(inventory, container, one, facts)


def findings(inventory: Inventory, facts: Mapping[str, HostFacts]) -> Iterator[UnfitError]:
    """Why hosts that were seen cannot give containers what they are to have."""
    for container in inventory.containers.values():
        seen = facts.get(container.host)
        for one in container.interfaces if seen else ():
            yield from _findings(container, one, seen)  # type: ignore[arg-type]


def _findings(container: Container, one: Interface, facts: HostFacts) -> Iterator[UnfitError]:
    name = one.nic or one.macvlan
    link = facts.nics.get(name)
    if not name or name in facts.nics_in_containers:
        return
    if link is None:
        has = ", ".join(sorted(each for each in facts.nics if each != "lo"))
        message = f"it has no NIC {name} for container {container.name}"
        yield UnfitError(facts.host, message, f"its links are {has}")
    elif link.master:
        message = f"{name} is a port of {link.master}, so container {container.name} cannot have it"
        yield UnfitError(facts.host, message, "use an interface on that bridge, or another NIC")
    elif one.nic and any(link.name == route.dev for route in facts.default_routes):
        message = f"{name} is the host's own way out: container {container.name} would take it"
        yield UnfitError(facts.host, message, "use macvlan, or another NIC")
    elif link.wireless or not link.ether:
        message = f"{name} is no wired Ethernet link, so container {container.name} cannot use it"
        yield UnfitError(facts.host, message, "name an Ethernet NIC")


def _attachment(
    inventory: Inventory, container: Container, one: Interface, facts: Mapping[str, HostFacts]
) -> Attachment:
    way, parent, mtu, needs = _place(inventory, container.host, one, facts)
    return Attachment(
        host=container.host,
        container=container.name,
        interface=one.name,
        way=way,
        parent=parent,
        outer=host_veth_name(inventory.name, container.name, one.name),
        mac=one.mac,
        vlan=one.vlan,
        mtu=one.mtu or mtu,
        addresses=tuple(sorted(one.addresses)),
        routes=tuple(
            sorted(
                route_spec(route.to, route.via, route.source, route.metric, route.table)
                for route in one.routes
            )
        ),
        rules=tuple(
            sorted(rule_spec(rule.priority, rule.table, rule.source, rule.to) for rule in one.rules)
        ),
        inventory=inventory.name,
        needs=needs,
    )


def _place(
    inventory: Inventory, host: str, one: Interface, facts: Mapping[str, HostFacts]
) -> tuple[str, str, int, tuple[Ref, ...]]:
    """How it is joined, to what, the MTU there, and the resource that it stands on."""
    if one.nic:
        return "nic", one.nic, 0, ()
    if one.macvlan:
        return "macvlan", one.macvlan, 0, ()
    network = inventory.networks[one.network]
    method = methods.of(network)
    bridge = method.interface_bridge(network, host)
    assert bridge is not None  # the inventory's rules have refused the others
    way = "ovs" if bridge.kind == "lan_bridge_ovs" else "bridge"
    return way, bridge.name, method.mtu(inventory, network, facts), (bridge,)
