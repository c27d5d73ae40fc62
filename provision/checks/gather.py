"""Everything the checks judge, gathered by a fixed number of executions per host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations

from provision import methods
from provision.checks import lan_probe, ports, probe, wire
from provision.checks.backend import host as testinfra_host
from provision.checks.lan_probe import Question
from provision.checks.probe import Answer, Endpoint, Listener
from provision.checks.wire import Wire
from provision.engine.fleet import Fleet, Session, difference, each, observe
from provision.engine.plan import Change, Conflict
from provision.facts import topology_probe
from provision.facts.topology import HostTopology
from provision.methods.flannel import leases as overlay
from provision.methods.flannel.leases import Maps
from provision.methods.pipework import nic
from provision.model.errors import HostError
from provision.model.inventory import Container, Inventory
from provision.resources.base import Ref
from provision.resources.kinds.container import DockerContainer as Found

PROBE_S = 120.0


@dataclass(frozen=True, slots=True)
class Drift:
    """How one host differs from the inventory, and what of others is in the way."""

    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen: drift by host, how each is wired before and after the calls, the answer of
    each check and pair, what travelled between hosts, and why there is none."""

    inventory: Inventory
    hosts: tuple[str, ...]
    containers: tuple[Container, ...]
    drift: Mapping[str, Drift]
    endpoints: Mapping[str, Endpoint]
    listeners: Mapping[str, Listener]
    before: Mapping[str, HostTopology]
    after: Mapping[str, HostTopology]
    answers: Mapping[tuple[str, str, str], Answer]
    wires: Mapping[str, Wire]
    maps: Mapping[str, Maps]
    absent: Mapping[str, tuple[str, ...]]
    errors: Mapping[str, HostError]
    questions: tuple[Question, ...] = ()
    lost: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def segment(inventory: Inventory, container: Container) -> str:
    """The name of those that reach each other by their own addresses; empty for none."""
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
    """Look, listen, call, stop: four executions a host, however many pairs there are."""
    fleet = observe(session, session.inventory.hosts)
    chosen = tuple(c for c in session.inventory.containers.values() if c.host in hosts)
    ends = {end.container: end for end in _endpoints(session.inventory, fleet, chosen)}
    questions = lan_probe.questions(lan_probe.seats(session.inventory, fleet, hosts))
    busy = {*(container.host for container in chosen), *overlay.hosts(session.inventory)}
    seen = _Rounds(session, hosts, fleet, ends, questions).seen(busy)
    errors = {**seen.errors, **fleet.errors}
    return Evidence(
        session.inventory,
        hosts,
        chosen,
        _drift(session, fleet, hosts),
        ends,
        seen.listeners,
        seen.before,
        seen.after,
        seen.answers,
        seen.wires,
        seen.maps,
        seen.absent,
        {host: error for host, error in errors.items() if host in hosts},
        questions,
        {
            host: nic.lost(fleet.facts[host])
            for host in hosts
            if host in fleet.looks and fleet.facts[host].bridged_nics
        },
    )


def _drift(session: Session, fleet: Fleet, hosts: tuple[str, ...]) -> dict[str, Drift]:
    differs = difference(session, fleet, hosts, destroy=False)
    looked = [host for host in hosts if host in fleet.looks]
    return {
        host: Drift(
            tuple(change for change in differs.changes if change.ref.host == host),
            tuple(conflict for conflict in differs.conflicts if conflict.ref.host == host),
        )
        for host in looked
    }


def _endpoints(
    inventory: Inventory, fleet: Fleet, chosen: Iterable[Container]
) -> Iterator[Endpoint]:
    shared = {container.namespace_owner for container in inventory.containers.values()}
    for container in chosen:
        look = fleet.looks.get(container.host)
        found = look.ours.get(Ref(container.host, "container", container.name)) if look else None
        part = segment(inventory, container)
        if isinstance(found, Found) and found.pid and (found.live_address or not part):
            yield Endpoint(
                container.name,
                container.host,
                part,
                found.pid,
                found.live_address,
                _mtu(inventory, fleet, container),
                tuple(sorted({ports.inner(port) for port in container.ports})),
                called=bool(part) or container.name in shared,
            )


def _mtu(inventory: Inventory, fleet: Fleet, container: Container) -> int:
    network = inventory.networks.get(container.network)
    if network is not None:
        return methods.of(network).mtu(inventory, network, fleet.facts)
    docker0 = fleet.facts[container.host].links.get("docker0")
    return docker0.mtu if docker0 else 1500


class _Rounds:
    """The rounds that listen, call and stop; what they said is kept in here."""

    def __init__(
        self,
        session: Session,
        hosts: tuple[str, ...],
        fleet: Fleet,
        ends: Mapping[str, Endpoint],
        questions: tuple[Question, ...],
    ) -> None:
        self.questions = questions
        self.session, self.hosts, self.ends = session, hosts, ends
        self.looked = tuple(host for host in hosts if host in fleet.looks)
        self.listeners: dict[str, Listener] = {}
        self.before: dict[str, HostTopology] = {}
        self.after: dict[str, HostTopology] = {}
        self.answers: dict[tuple[str, str, str], Answer] = {}
        self.watchers: dict[str, int | None] = {}
        self.wires: dict[str, Wire] = {}
        self.maps: dict[str, Maps] = {}
        self.absent: dict[str, tuple[str, ...]] = {}
        self.errors: dict[str, HostError] = {}

    def seen(self, busy: set[str]) -> _Rounds:
        """All rounds, on the hosts that have containers and on those that call them."""
        for host, text in self._round(busy, self._listen).items():
            self.listeners |= probe.listeners(text)
            self.watchers[host], self.wires[host] = wire.pid(text), wire.seen(text)
            self.maps[host] = overlay.seen(text)
            self._look(host, text, self.before)
            if lacking := probe.missing(text):
                self.absent[host] = lacking
        try:
            for text in self._round(self.looked, self._call()).values():
                self.answers |= probe.answers(text)
        finally:
            for host, text in self._round(self.before, self._stop).items():
                self._look(host, text, self.after)
                if self.watchers[host]:
                    self.wires[host] = wire.seen(text)
        return self

    def _look(self, host: str, text: str, into: dict[str, HostTopology]) -> None:
        try:
            into[host] = topology_probe.parse(host, text)
        except HostError as error:
            self.errors.setdefault(host, error)

    def _mine(self, host: str) -> tuple[Endpoint, ...]:
        return tuple(end for end in self.ends.values() if end.host == host)

    def _listen(self, host: str) -> str:
        called = [end for end in self._mine(host) if end.called]
        watch = wire.watch(self.session.inventory)
        asked = overlay.script(self.session.inventory, host)
        return probe.whole(probe.listen(called), watch, topology_probe.script(), asked)

    def _call(self) -> Callable[[str], str]:
        every = tuple(end for end in self.ends.values() if end.segment)
        numbers = {name: listener.port for name, listener in self.listeners.items()}
        found = ports.openings(self.session.inventory, self.hosts, self.ends, self.listeners)
        openings = tuple(found)

        def script(host: str) -> str:
            mine = tuple(end for end in self._mine(host) if end.segment)
            grouped = ports.by_source(one for one in openings if one.by == host)
            words = {key: [one.words for one in group] for key, group in grouped.items()}
            asked = lan_probe.script(one for one in self.questions if one.host == host)
            if not mine and not words and not asked:
                return ""
            calls = (probe.call(mine, every, numbers), probe.opened(words), asked)
            return probe.whole(*calls, wire.sent(self.session.inventory, mine, every))

        return script

    def _stop(self, host: str) -> str:
        pids = [one.pid for name, one in self.listeners.items() if self.ends[name].host == host]
        told = wire.told(self.watchers[host])
        return probe.whole(probe.stop(pids), told, topology_probe.script())

    def _round(self, hosts: Iterable[str], script: Callable[[str], str]) -> dict[str, str]:
        """One script on each host that has one; what it printed."""
        timeout_s = min(PROBE_S, self.session.timeout_s)

        def run(host: str) -> str:
            door = testinfra_host(host, self.session.transport, timeout_s=timeout_s)
            return str(door.run(text).stdout) if (text := script(host)) else ""

        asked = sorted(set(hosts) & set(self.looked))
        printed, lost = each(self.session, asked, run)
        self.errors = {**lost, **self.errors}
        return printed
