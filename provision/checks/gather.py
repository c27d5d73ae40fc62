"""Evidence for the checks, gathered by four executions a host, however many pairs there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from provision import methods
from provision.checks import access_probe, lan_probe, name_probe, ports
from provision.checks.access_probe import AccessProbe
from provision.checks.lan_probe import LanProbe
from provision.checks.pair_choice import ALL_PAIRS, PairChoice
from provision.checks.probe import Answer, Endpoint, Listener
from provision.checks.rounds import CheckRounds
from provision.checks.wire import Capture
from provision.engine import preflight
from provision.engine.fleet import Fleet, Session, difference, survey
from provision.engine.members import member_of
from provision.engine.names_in_use import OVS_KINDS, hosts_without_ovs, is_unseen
from provision.engine.plan import Change, Conflict
from provision.engine.strangers import with_strangers
from provision.facts.host import HostFacts
from provision.facts.topology import HostTopology
from provision.model.errors import HostError
from provision.model.grouping import grouped
from provision.model.inventory import Container, Inventory
from provision.model.problems import Problem


@dataclass(frozen=True, slots=True)
class Drift:
    """Differences of one host from the inventory, and conflicts with resources of others.

    `changes` are those that can be seen: nothing is missing because a daemon does not answer, or
    because a problem of the host (a NIC that is down) leaves its part of the inventory unknown.
    `reasons`: why others cannot be seen.
    """

    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]
    reasons: tuple[str, ...] = ()


# No repr: pytest would print all of it for each failed check, as an argument of its function.
@dataclass(frozen=True, slots=True, repr=False)
class Evidence:
    """Everything that the checks judge.

    By host: `drift`, `facts`, the topology `before` and `after` the connections, the sniffers'
    `captures`, the `statuses` of methods, by method, `missing_tools` and `errors`. By container:
    `endpoints`, `listeners`. By check, source and target: `answers`, of the pairs of `choice`;
    on a LAN by the keys of both.
    """

    inventory: Inventory
    hosts: tuple[str, ...]
    containers: tuple[Container, ...]
    drift: Mapping[str, Drift]
    facts: Mapping[str, HostFacts]
    endpoints: Mapping[str, Endpoint]
    listeners: Mapping[str, Listener]
    before: Mapping[str, HostTopology]
    after: Mapping[str, HostTopology]
    answers: Mapping[tuple[str, str, str], Answer]
    captures: Mapping[str, Capture]
    statuses: Mapping[str, Mapping[str, Any]]
    missing_tools: Mapping[str, tuple[str, ...]]
    errors: Mapping[str, HostError]
    lan_probes: tuple[LanProbe, ...] = ()
    choice: PairChoice = ALL_PAIRS
    access_probes: tuple[AccessProbe, ...] = ()
    fleet: Fleet = field(default_factory=lambda: Fleet({}))
    """The snapshots before the checks."""


def segment(inventory: Inventory, container: Container) -> str:
    """The group of containers that reach each other by their own addresses; empty for none."""
    if container.network in inventory.networks:
        return container.network
    # Docker's default bridge reaches no other host, so its name alone is not a segment.
    return f"bridge of {container.host}" if container.network == "bridge" else ""


def pairs(
    inventory: Inventory,
    containers: Iterable[Container],
    choice: PairChoice = ALL_PAIRS,
    facts: Mapping[str, HostFacts] = MappingProxyType({}),
) -> list[tuple[Container, Container]]:
    """The chosen ordered pairs of containers of one segment.

    `"icc": false` of a host makes its default bridge none, as its administrator wants.
    """
    isolating = {host for host, of_host in facts.items() if of_host.docker0_isolates}
    sources = tuple(c for c in containers if c.network != "bridge" or c.host not in isolating)
    segments = grouped(sources, lambda container: segment(inventory, container))
    segments.pop("", None)
    targets = {
        source.name: group
        for name, members in segments.items()
        for source, group in choice.targets(members, _host, name).items()
    }
    return [(source, target) for source in sources for target in targets.get(source.name, ())]


def named_pairs(
    inventory: Inventory, containers: Iterable[Container], choice: PairChoice = ALL_PAIRS
) -> list[tuple[Container, Container]]:
    """The chosen ordered pairs of containers of networks with names, of which the first asks.

    A guest does not ask: its DNS server is what its makers chose.
    """
    named = {name for name, network in inventory.networks.items() if network.names is not None}
    members = [c for c in containers if c.network in named and c.is_declared]
    chosen = pairs(inventory, members, choice) if members else []
    return [(source, target) for source, target in chosen if source.guest is None]


def _host(container: Container) -> str:
    return container.host


def evidence(session: Session, hosts: tuple[str, ...], choice: PairChoice = ALL_PAIRS) -> Evidence:
    """Gather a snapshot, start listeners, connect, and stop them: four executions a host.

    If the session asks for undeclared members of the networks (`strangers.asking`), they are
    guests of the evidence's inventory.
    """
    # MTUs and routes of a network come from the facts of all its hosts, whatever `hosts` limits.
    session, fleet, _ = survey(session, session.inventory.hosts)
    inventory = with_strangers(session.inventory, fleet)
    extended = replace(session, inventory=inventory)
    containers = tuple(c for c in inventory.members.values() if c.host in hosts)
    endpoints = {end.container: end for end in _endpoints(inventory, fleet, containers)}
    lan_probes = lan_probe.lan_probes(lan_probe.endpoints(inventory, fleet, hosts), choice)
    calls = [
        (endpoints[source.name], endpoints[target.name])
        for source, target in pairs(inventory, containers, choice, fleet.facts)
        if source.name in endpoints and target.name in endpoints
    ]
    chosen = named_pairs(inventory, containers, choice)
    names = name_probe.questions(inventory, fleet.facts, endpoints, chosen)
    listening = {*(container.host for container in containers), *_hosts_with_status(inventory)}
    access = access_probe.probes(inventory, fleet.facts, hosts, choice)
    rounds = CheckRounds(
        extended, hosts, fleet, endpoints, calls, lan_probes, choice, names, access
    )
    rounds.run(listening)
    errors = {**rounds.errors, **fleet.errors}
    return Evidence(
        inventory,
        hosts,
        containers,
        _drift(session, fleet, hosts),
        fleet.facts,
        endpoints,
        rounds.listeners,
        rounds.before,
        rounds.after,
        rounds.answers,
        rounds.captures,
        rounds.statuses,
        rounds.missing_tools,
        {host: error for host, error in errors.items() if host in hosts},
        lan_probes,
        choice,
        access,
        fleet,
    )


def _hosts_with_status(inventory: Inventory) -> Iterator[str]:
    return (host for host in inventory.hosts if methods.status_script(inventory, host))


def _drift(session: Session, fleet: Fleet, hosts: tuple[str, ...]) -> dict[str, Drift]:
    plan = difference(session, fleet, hosts, destroy=False)
    without_ovs = hosts_without_ovs({**fleet.state(hosts, ours=False), **fleet.state(hosts)})
    facts = fleet.facts
    problems = grouped(preflight.problems(session.inventory, facts), lambda problem: problem.host)
    changes = grouped(plan.changes, lambda change: change.ref.host)
    conflicts = grouped(plan.conflicts, lambda conflict: conflict.ref.host)
    return {
        host: seen_drift(
            Drift(tuple(changes.get(host, ())), tuple(conflicts.get(host, ()))),
            facts[host],
            tuple(problems.get(host, ())),
            without_ovs,
        )
        for host in hosts
        if host in fleet.snapshots
    }


def seen_drift(
    drift: Drift, facts: HostFacts, problems: tuple[Problem, ...], without_ovs: frozenset[str]
) -> Drift:
    """The differences of a host without those that only its problems make.

    A problem without a difference is for `plan` to tell: what was applied works.
    """
    hidden = {c.ref for c in drift.changes if _is_unseen(c, facts, without_ovs)}
    visible = tuple(change for change in drift.changes if change.ref not in hidden)
    reasons = [NO_OVS] if any(ref.kind in OVS_KINDS for ref in hidden) else []
    if problems and drift.changes:
        reasons += [str(problem.message) for problem in problems]
        # Only Docker's own resources are unknown while dockerd does not answer.
        visible = visible if all(problem.hides_docker for problem in problems) else ()
    if hidden:
        # These are made anew only with what cannot be seen, such as a device with its bridge.
        visible = tuple(change for change in visible if change.before != change.after)
    # Without Docker, bridges of our networks look like those of others.
    conflicts = drift.conflicts if facts.docker else ()
    return replace(drift, changes=visible, conflicts=conflicts, reasons=tuple(reasons))


def _is_unseen(change: Change, facts: HostFacts, without_ovs: frozenset[str]) -> bool:
    resource = change.after or change.before
    assert resource is not None, change
    return is_unseen(resource, facts, without_ovs)


NO_OVS = "Open vSwitch does not run, so that its bridges and tunnels cannot be seen"


def _endpoints(
    inventory: Inventory, fleet: Fleet, containers: Iterable[Container]
) -> Iterator[Endpoint]:
    owners = {container.namespace_owner for container in inventory.containers.values()}
    for container in containers:
        running = member_of(inventory, fleet, container)
        group = segment(inventory, container)
        if running and (running.address or not group):
            yield Endpoint(
                container.name,
                container.host,
                group,
                running.pid,
                running.address,
                _mtu(inventory, fleet, container),
                tuple(sorted({ports.container_port(port) for port in container.ports})),
                called=bool(group) or container.name in owners,
                docker=running.docker,
            )


def _mtu(inventory: Inventory, fleet: Fleet, container: Container) -> int:
    network = inventory.networks.get(container.network)
    if network is not None:
        return methods.of(network).mtu(inventory, network, fleet.facts)
    docker0 = fleet.facts[container.host].links.get("docker0")
    return docker0.mtu if docker0 else 1500
