"""A container's `interfaces` as resources. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision import methods
from provision.address import interface_name
from provision.hostfacts import HostFacts
from provision.inventory import Container, Interface, Inventory
from provision.resource import Ref
from provision.resources.attachment import Attachment, route_words, rule_words


def attached(
    inventory: Inventory, container: Container, facts: Mapping[str, HostFacts]
) -> Iterator[Attachment]:
    """Every interface that a container has beside Docker's."""
    for one in container.interfaces:
        yield _attachment(inventory, container, one, facts)


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
        outer=interface_name("pw-", inventory.name, f"{container.name}/{one.name}"),
        mac=one.mac,
        vlan=one.vlan,
        mtu=one.mtu or mtu,
        addresses=tuple(sorted(one.addresses)),
        routes=tuple(
            sorted(
                route_words(route.to, route.via, route.source, route.metric, route.table)
                for route in one.routes
            )
        ),
        rules=tuple(
            sorted(
                rule_words(rule.priority, rule.table, rule.source, rule.to) for rule in one.rules
            )
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
    method = methods.named(network.method)
    bridge = method.plug(network, host)  # type: ignore[attr-defined]
    way = "ovs" if bridge.kind == "ovs_bridge" else "bridge"
    return way, bridge.name, method.mtu(inventory, network, facts), (bridge,)
