"""`interfaces:` of containers: their attachments, and reasons why a host cannot make them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from provision import methods
from provision.engine.answer_routes import AnswerRoutes, answer_routes
from provision.facts.host import HostFacts
from provision.model.fields.interfaces import route_spec, rule_spec
from provision.model.inventory import Container, Interface, Inventory
from provision.model.names import host_veth_name
from provision.model.problems import Problem
from provision.resources.base import Ref, State
from provision.resources.kinds.attachment import Attachment


def attachments(
    inventory: Inventory,
    container: Container,
    facts: Mapping[str, HostFacts],
    networks: State,
) -> Iterator[Attachment]:
    """Yield an attachment for each entry of a container's `interfaces`.

    `networks` are the wanted resources of the networks.
    """
    answers = answer_routes(inventory, container, facts, networks)
    for interface in container.interfaces:
        attachment = _attachment(inventory, container, interface, facts)
        rules = tuple(sorted((*attachment.rules, *answers.rules)))
        yield replace(attachment, rules=rules, answer_routes=answers.routes)
        answers = AnswerRoutes()  # the first attachment has them


def problems(inventory: Inventory, facts: Mapping[str, HostFacts]) -> Iterator[Problem]:
    """Yield the reasons why a host in `facts` cannot attach an interface to one of its containers.

    Only interfaces that use a NIC of the host can have such a reason.
    """
    for container in inventory.containers.values():
        if container.host in facts:
            for interface in container.interfaces:
                yield from _nic_problems(container, interface, facts[container.host])


def _nic_problems(
    container: Container, interface: Interface, facts: HostFacts
) -> Iterator[Problem]:
    name = interface.nic or interface.macvlan
    nic = facts.nics.get(name)
    # An earlier apply has moved the NIC into its container, so the host's namespace lacks it now.
    if not name or name in facts.nics_in_containers:
        return
    if nic is None:
        existing = ", ".join(sorted(facts.nics.keys() - {"lo"}))
        message = f"it has no NIC {name} for container {container.name}"
        yield Problem(facts.host, message, f"its interfaces are {existing}")
    elif nic.master:
        # A NIC has one rx_handler. The bridge holds it, so the kernel refuses a macvlan (EBUSY).
        message = f"{name} is a port of {nic.master}, so container {container.name} cannot use it"
        hint = f"join a network on {nic.master} (network: NAME), or name another NIC"
        yield Problem(facts.host, message, hint)
    elif interface.nic and any(nic.name == route.dev for route in facts.default_routes):
        message = (
            f"its default route uses {name}, and the host would lose it if {name} moved into "
            f"container {container.name}"
        )
        yield Problem(facts.host, message, f"write macvlan: {name}, or name another NIC")
    elif nic.wireless or not nic.ether:
        # macvlan: an access point accepts frames only from the MAC address that has associated
        # with it. nic: the kernel moves a Wi-Fi interface to another network namespace only
        # together with its PHY (`iw phy PHY set netns`).
        message = f"{name} is not a wired Ethernet NIC: container {container.name} cannot use it"
        yield Problem(facts.host, message, "name an Ethernet NIC")


def _attachment(
    inventory: Inventory,
    container: Container,
    interface: Interface,
    facts: Mapping[str, HostFacts],
) -> Attachment:
    link_type, parent, mtu, needs = _parent(inventory, container.host, interface, facts)
    return Attachment(
        host=container.host,
        container=container.name,
        interface=interface.name,
        link_type=link_type,
        parent=parent,
        outer=host_veth_name(inventory.name, container.name, interface.name),
        mac=interface.mac,
        vlan=interface.vlan,
        mtu=interface.mtu or mtu,
        # Sorted, like the probe's: another order in the file is not a change.
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
    """`link_type`, `parent`, `mtu` and `needs` of an `Attachment`.

    The MTU is that of the network's bridge; 0, so that the kernel chooses it, for an interface on a
    NIC.
    """
    if interface.nic:
        return "nic", interface.nic, 0, ()
    if interface.macvlan:
        return "macvlan", interface.macvlan, 0, ()
    network = inventory.networks[interface.network]
    method = methods.of(network)
    bridge = method.interface_bridge(network, host)
    # The checks of the inventory refuse `interfaces:` on methods without `takes_interfaces`.
    assert bridge is not None
    link_type = "ovs" if bridge.kind == "lan_bridge_ovs" else "bridge"
    return link_type, bridge.name, method.mtu(inventory, network, facts), (bridge,)
