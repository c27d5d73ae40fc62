"""The topology of hosts, gathered in one execution on each. Changes nothing, judges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from provision import methods
from provision.engine.bridge_subnets import with_bridge_subnets
from provision.engine.fleet import SNAPSHOT_S, Session, each
from provision.facts import topology_probe
from provision.facts.gather import SIZE_LIMIT
from provision.facts.topology import (
    OVS_BRIDGE,
    ContainerInfo,
    DnatRule,
    HostTopology,
    NamespaceLink,
)
from provision.model.errors import ExitStatus, FactsError, HostError
from provision.model.inventory import Inventory, Network
from provision.model.reading import reading
from provision.resources.script import PRELUDE

BRIDGES = ("bridge", OVS_BRIDGE)
"""Kinds of interfaces that have ports."""


@dataclass(frozen=True, slots=True)
class View:
    """The state of `hosts`: the topology of each that answered, the error of each that did not.

    `statuses`: those of methods, by method and host.
    """

    inventory: Inventory
    hosts: tuple[str, ...]
    topologies: Mapping[str, HostTopology]
    errors: tuple[HostError, ...]
    statuses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def exit_status(self) -> ExitStatus:
        return ExitStatus.HOST if self.errors else ExitStatus.OK


def view(session: Session, hosts: tuple[str, ...]) -> View:
    """Gather the state of hosts; a host that does not answer becomes an error in the view."""

    def gather(host: str) -> tuple[HostTopology, Mapping[str, Any]]:
        stdout = _run(session, host)
        with reading(host, "networks", stdout):
            statuses = methods.parse_statuses(session.inventory, host, stdout)
        return topology_probe.parse(host, stdout), statuses

    answers, errors = each(session, hosts, gather)
    topologies = {host: topology for host, (topology, _) in answers.items()}
    statuses: dict[str, dict[str, Any]] = {}
    for host, (_, of_host) in answers.items():
        for method, status in of_host.items():
            statuses.setdefault(method, {})[host] = status
    inventory = with_bridge_subnets(session.inventory, topologies)
    return View(inventory, hosts, topologies, tuple(errors.values()), statuses)


def _run(session: Session, host: str) -> str:
    """The output of all probes on a host. Raises HostError."""
    # One script for both probes: an execution costs a round trip and a login shell.
    script = (
        PRELUDE + topology_probe.script() + "\n" + methods.status_script(session.inventory, host)
    )
    output = session.transport.run(host, script, timeout_s=min(SNAPSHOT_S, session.timeout_s))
    if output.status:
        reason = output.stderr.strip()[-500:] or f"exit status {output.status}"
    elif len(output.stdout) > SIZE_LIMIT:
        reason = f"the probe printed more than {SIZE_LIMIT} bytes"
    else:
        return output.stdout
    raise FactsError(host, f"its interfaces and containers cannot be read: {reason}")


def namespace_owner(topology: HostTopology, container: ContainerInfo) -> ContainerInfo | None:
    """The container that created the network namespace this one runs in, perhaps itself.

    Found by the namespace's inode: names may have changed since Docker stored the network mode.
    None in the host's namespace, and for a container that does not run.
    """
    if not container.net or container.net == topology.root.inode:
        return None
    owners = (owner for owner in topology.namespace_owners() if owner.net == container.net)
    # The owner has ended if no container is one: then take the first that shares the namespace.
    shared = next(c for c in topology.containers.values() if c.net == container.net)
    return next(owners, shared)


def namespace_name(topology: HostTopology, container: ContainerInfo) -> str:
    """The owner of a container's network namespace: `host`, `own`, or another container's name.

    Empty for a container that does not run.
    """
    if not container.net:
        return ""
    owner = namespace_owner(topology, container)
    if owner is None:
        return "host"
    return "own" if owner == container else owner.name


def published_rule(
    topology: HostTopology, container: ContainerInfo, published: str, target: str
) -> DnatRule | None:
    """Docker's DNAT rule for a published port, if it leads to the container's present address.

    `published` and `target` are a pair of `ContainerInfo.published`.
    """
    ip, _, port = published.rpartition(":")
    target_port, _, protocol = target.partition("/")
    netns = topology.namespaces.get(container.net)
    if netns is None:
        return None
    # A rule may still lead to the address that a container had before a restart.
    for rule in topology.dnat_rules:
        match = (str(rule.ip or "0.0.0.0"), str(rule.port), str(rule.target), rule.protocol)
        if match == (ip, port, target_port, protocol) and rule.to in netns.addresses:
            return rule
    return None


def unmatched_rules(topology: HostTopology) -> Iterator[DnatRule]:
    """DNAT rules of Docker that belong to no published port of a running container."""
    matched = [
        published_rule(topology, container, published, target)
        for container in topology.containers.values()
        for published, target in container.published
    ]
    yield from (rule for rule in topology.dnat_rules if rule not in matched)


def bridge(topology: HostTopology, network: Network) -> NamespaceLink | None:
    """The host's bridge of a network: it has an address of the host's subnet, or Docker's network
    of this name is on it."""
    subnet = network.subnets.get(topology.host)
    for link in topology.root.links:
        addresses = (interface.ip for interface in link.addresses)
        if subnet and link.kind in BRIDGES and any(address in subnet for address in addresses):
            return link
    return topology.root.link(topology.bridges.get(network.name, ""))


def bridges(topology: HostTopology) -> tuple[NamespaceLink, ...]:
    """The host's bridges, of Linux and of Open vSwitch."""
    return tuple(link for link in topology.root.links if link.kind in BRIDGES)


def docker_network(topology: HostTopology, bridge: NamespaceLink) -> str:
    """The name of the Docker network on a bridge; empty if there is none."""
    return next((name for name, link in topology.bridges.items() if link == bridge.name), "")
