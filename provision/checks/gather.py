"""Evidence for the checks, gathered by four executions a host, however many pairs there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations

from provision import methods
from provision.checks import lan_probe, ports, probe, wire
from provision.checks.backend import host as testinfra_host
from provision.checks.lan_probe import LanProbe
from provision.checks.probe import Answer, Endpoint, Listener
from provision.checks.wire import Capture
from provision.engine.fleet import Fleet, Session, difference, each, observe
from provision.engine.plan import Change, Conflict
from provision.facts import topology_probe
from provision.facts.topology import HostTopology
from provision.methods.flannel import leases
from provision.methods.flannel.leases import Maps
from provision.methods.pipework import nic
from provision.model.errors import HostError
from provision.model.inventory import Container, Inventory
from provision.resources.base import Ref
from provision.resources.kinds.container import DockerContainer

PROBE_S = 120.0
"""Seconds for one round of checks on one host."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Differences of one host from the inventory, and conflicts with resources of others."""

    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the checks judge.

    By host: `drift`, the topology `before` and `after` the connections, the sniffers' `captures`,
    the `etcd` data of flannel networks, `missing_tools`, `errors`, and `lost_settings` of hosts
    whose NIC is a port. By container: `endpoints`, `listeners`. By check, source and target:
    `answers`.
    """

    inventory: Inventory
    hosts: tuple[str, ...]
    containers: tuple[Container, ...]
    drift: Mapping[str, Drift]
    endpoints: Mapping[str, Endpoint]
    listeners: Mapping[str, Listener]
    before: Mapping[str, HostTopology]
    after: Mapping[str, HostTopology]
    answers: Mapping[tuple[str, str, str], Answer]
    captures: Mapping[str, Capture]
    etcd: Mapping[str, Maps]
    missing_tools: Mapping[str, tuple[str, ...]]
    errors: Mapping[str, HostError]
    lan_probes: tuple[LanProbe, ...] = ()
    lost_settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def segment(inventory: Inventory, container: Container) -> str:
    """The group of containers that reach each other by their own addresses; empty for none."""
    if container.network in inventory.networks:
        return container.network
    return f"bridge of {container.host}" if container.network == "bridge" else ""


def pairs(
    inventory: Inventory, containers: Iterable[Container]
) -> list[tuple[Container, Container]]:
    """Every ordered pair of containers of one segment."""
    return [
        (source, target)
        for source, target in permutations(containers, 2)
        if segment(inventory, source) == segment(inventory, target) != ""
    ]


def evidence(session: Session, hosts: tuple[str, ...]) -> Evidence:
    """Gather a snapshot, start listeners, connect, and stop them: four executions a host."""
    inventory = session.inventory
    # MTUs and routes of a network come from the facts of all its hosts, whatever `hosts` limits.
    fleet = observe(session, inventory.hosts)
    containers = tuple(c for c in inventory.containers.values() if c.host in hosts)
    endpoints = {end.container: end for end in _endpoints(inventory, fleet, containers)}
    lan_probes = lan_probe.lan_probes(lan_probe.endpoints(inventory, fleet, hosts))
    listening = {*(container.host for container in containers), *leases.hosts(inventory)}
    rounds = _Rounds(session, hosts, fleet, endpoints, lan_probes)
    rounds.run(listening)
    errors = {**rounds.errors, **fleet.errors}
    return Evidence(
        inventory,
        hosts,
        containers,
        _drift(session, fleet, hosts),
        endpoints,
        rounds.listeners,
        rounds.before,
        rounds.after,
        rounds.answers,
        rounds.captures,
        rounds.etcd,
        rounds.missing_tools,
        {host: error for host, error in errors.items() if host in hosts},
        lan_probes,
        {
            host: nic.lost(fleet.facts[host])
            for host in hosts
            if host in fleet.looks and fleet.facts[host].bridged_nics
        },
    )


def _drift(session: Session, fleet: Fleet, hosts: tuple[str, ...]) -> dict[str, Drift]:
    plan = difference(session, fleet, hosts, destroy=False)
    return {
        host: Drift(
            tuple(change for change in plan.changes if change.ref.host == host),
            tuple(conflict for conflict in plan.conflicts if conflict.ref.host == host),
        )
        for host in hosts
        if host in fleet.looks
    }


def _endpoints(
    inventory: Inventory, fleet: Fleet, containers: Iterable[Container]
) -> Iterator[Endpoint]:
    owners = {container.namespace_owner for container in inventory.containers.values()}
    for container in containers:
        running = _running(fleet, container)
        group = segment(inventory, container)
        if running and (running.live_address or not group):
            yield Endpoint(
                container.name,
                container.host,
                group,
                running.pid,
                running.live_address,
                _mtu(inventory, fleet, container),
                tuple(sorted({ports.container_port(port) for port in container.ports})),
                called=bool(group) or container.name in owners,
            )


def _running(fleet: Fleet, container: Container) -> DockerContainer | None:
    snapshot = fleet.looks.get(container.host)
    ref = Ref(container.host, "container", container.name)
    resource = snapshot.ours.get(ref) if snapshot else None
    return resource if isinstance(resource, DockerContainer) and resource.pid else None


def _mtu(inventory: Inventory, fleet: Fleet, container: Container) -> int:
    network = inventory.networks.get(container.network)
    if network is not None:
        return methods.of(network).mtu(inventory, network, fleet.facts)
    docker0 = fleet.facts[container.host].links.get("docker0")
    return docker0.mtu if docker0 else 1500


class _Rounds:
    """The rounds that listen, connect and stop, with the evidence that each brings."""

    def __init__(
        self,
        session: Session,
        hosts: tuple[str, ...],
        fleet: Fleet,
        endpoints: Mapping[str, Endpoint],
        lan_probes: tuple[LanProbe, ...],
    ) -> None:
        self._session, self._hosts = session, hosts
        self._endpoints, self._lan_probes = endpoints, lan_probes
        self._reached = tuple(host for host in hosts if host in fleet.looks)
        self._sniffers: dict[str, int | None] = {}
        self.listeners: dict[str, Listener] = {}
        self.before: dict[str, HostTopology] = {}
        self.after: dict[str, HostTopology] = {}
        self.answers: dict[tuple[str, str, str], Answer] = {}
        self.captures: dict[str, Capture] = {}
        self.etcd: dict[str, Maps] = {}
        self.missing_tools: dict[str, tuple[str, ...]] = {}
        self.errors: dict[str, HostError] = {}

    def run(self, listening: set[str]) -> None:
        """Run all rounds: listeners on the hosts `listening`, connections from every host."""
        for host, text in self._round(listening, self._listen_script).items():
            self._read_listen(host, text)
        try:
            for text in self._round(self._reached, self._call_scripts()).values():
                self.answers |= probe.parse_answers(text)
        finally:
            for host, text in self._round(self.before, self._stop_script).items():
                self._read_topology(host, text, self.after)
                if self._sniffers[host]:
                    self.captures[host] = wire.parse(text)

    def _read_listen(self, host: str, text: str) -> None:
        self.listeners |= probe.parse_listeners(text)
        self._sniffers[host], self.captures[host] = wire.parse_pid(text), wire.parse(text)
        self.etcd[host] = leases.seen(text)
        self._read_topology(host, text, self.before)
        if missing := probe.parse_missing_tools(text):
            self.missing_tools[host] = missing

    def _read_topology(self, host: str, text: str, into: dict[str, HostTopology]) -> None:
        try:
            into[host] = topology_probe.parse(host, text)
        except HostError as error:
            self.errors.setdefault(host, error)

    def _on_host(self, host: str) -> tuple[Endpoint, ...]:
        return tuple(end for end in self._endpoints.values() if end.host == host)

    def _listen_script(self, host: str) -> str:
        inventory = self._session.inventory
        called = [end for end in self._on_host(host) if end.called]
        return probe.combined(
            probe.listen_script(called),
            wire.start_script(inventory),
            topology_probe.script(),
            leases.script(inventory, host),
        )

    def _call_scripts(self) -> Callable[[str], str]:
        """A function that makes the script of each host; empty for one that has nothing to do."""
        inventory = self._session.inventory
        targets = tuple(end for end in self._endpoints.values() if end.segment)
        listening = {name: listener.port for name, listener in self.listeners.items()}
        openings = tuple(ports.openings(inventory, self._hosts, self._endpoints, self.listeners))

        def script(host: str) -> str:
            sources = tuple(end for end in targets if end.host == host)
            grouped = ports.by_source(opening for opening in openings if opening.by == host)
            arguments = {key: [each.arguments for each in group] for key, group in grouped.items()}
            lan = lan_probe.script(probe for probe in self._lan_probes if probe.host == host)
            if not (sources or arguments or lan):
                return ""
            return probe.combined(
                probe.call_script(sources, targets, listening),
                probe.open_script(arguments),
                lan,
                wire.send_script(inventory, sources, targets),
            )

        return script

    def _stop_script(self, host: str) -> str:
        pids = [
            listener.pid
            for container, listener in self.listeners.items()
            if self._endpoints[container].host == host
        ]
        sniffer = wire.stop_script(self._sniffers[host])
        return probe.combined(probe.stop_script(pids), sniffer, topology_probe.script())

    def _round(self, hosts: Iterable[str], script: Callable[[str], str]) -> dict[str, str]:
        """Run one script on each host that has one. Returns the outputs by host."""
        timeout_s = min(PROBE_S, self._session.timeout_s)

        def run(host: str) -> str:
            text = script(host)
            if not text:
                return ""
            remote = testinfra_host(host, self._session.transport, timeout_s=timeout_s)
            return str(remote.run(text).stdout)

        reached = sorted(set(hosts) & set(self._reached))
        outputs, errors = each(self._session, reached, run)
        self.errors = {**errors, **self.errors}
        return outputs
