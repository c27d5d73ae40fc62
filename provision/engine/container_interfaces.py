"""The resources of a container's `interfaces`, and the problems of hosts with them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision import methods
from provision.facts.host import HostFacts
from provision.model.fields.interfaces import route_spec, rule_spec
from provision.model.inventory import Container, Interface, Inventory
from provision.model.names import host_veth_name
from provision.model.problems import Problem
from provision.resources.base import Ref
from provision.resources.kinds.attachment import Attachment


def attachments(
    inventory: Inventory, container: Container, facts: Mapping[str, HostFacts]
) -> Iterator[Attachment]:
    """Yield the attachment of each interface that a container has in addition to Docker's."""
    for interface in container.interfaces:
        yield _attachment(inventory, container, interface, facts)


def problems(inventory: Inventory, facts: Mapping[str, HostFacts]) -> Iterator[Problem]:
    """Yield the reasons why hosts in `facts` cannot give containers their interfaces."""
    for container in inventory.containers.values():
        if container.host in facts:
            for interface in container.interfaces:
                yield from _nic_problems(container, interface, facts[container.host])


def _nic_problems(
    container: Container, interface: Interface, facts: HostFacts
) -> Iterator[Problem]:
    name = interface.nic or interface.macvlan
    nic = facts.nics.get(name)
    # A NIC that is in its container already has left the host's namespace.
    if not name or name in facts.nics_in_containers:
        return
    if nic is None:
        present = ", ".join(sorted(nic_name for nic_name in facts.nics if nic_name != "lo"))
        message = f"it has no NIC {name} for container {container.name}"
        yield Problem(facts.host, message, f"its interfaces are {present}")
    elif nic.master:
        # The bridge has the NIC's only rx handler, so the kernel refuses a macvlan (EBUSY).
        message = f"{name} is a port of {nic.master}, so container {container.name} cannot have it"
        yield Problem(facts.host, message, "use an interface on that bridge, or another NIC")
    elif interface.nic and any(nic.name == route.dev for route in facts.default_routes):
        message = (
            f"the host's default route leaves by {name}, which container {container.name} would "
            "take away"
        )
        yield Problem(facts.host, message, "use macvlan, or another NIC")
    elif nic.wireless or not nic.ether:
        # An access point takes frames from the MAC address that has associated only, and a Wi-Fi
        # NIC changes its network namespace only with its whole PHY.
        message = f"{name} is not a wired Ethernet NIC: container {container.name} cannot use it"
        yield Problem(facts.host, message, "name an Ethernet NIC")


def _attachment(
    inventory: Inventory,
    container: Container,
    interface: Interface,
    facts: Mapping[str, HostFacts],
) -> Attachment:
    link, parent, mtu, needs = _parent(inventory, container.host, interface, facts)
    return Attachment(
        host=container.host,
        container=container.name,
        interface=interface.name,
        link_type=link,
        parent=parent,
        outer=host_veth_name(inventory.name, container.name, interface.name),
        mac=interface.mac,
        vlan=interface.vlan,
        mtu=interface.mtu or mtu,
        addresses=tuple(sorted(interface.addresses)),
        routes=tuple(
            sorted(
                route_spec(route.to, route.via, route.source, route.metric, route.table)
                for route in interface.routes
            )
        ),
        rules=tuple(
            sorted(
                rule_spec(rule.priority, rule.table, rule.source, rule.to)
                for rule in interface.rules
            )
        ),
        inventory=inventory.name,
        needs=needs,
    )


def _parent(
    inventory: Inventory, host: str, interface: Interface, facts: Mapping[str, HostFacts]
) -> tuple[str, str, int, tuple[Ref, ...]]:
    """The kind of link, the host's interface it is on, the MTU there, and the refs it requires."""
    if interface.nic:
        return "nic", interface.nic, 0, ()
    if interface.macvlan:
        return "macvlan", interface.macvlan, 0, ()
    network = inventory.networks[interface.network]
    method = methods.of(network)
    bridge = method.interface_bridge(network, host)
    assert bridge is not None  # the inventory's rules have refused networks without one
    link = "ovs" if bridge.kind == "lan_bridge_ovs" else "bridge"
    return link, bridge.name, method.mtu(inventory, network, facts), (bridge,)
