"""Snapshots of hosts, by one thread and one SSH execution each, and the difference that is left.

Changes nothing. The error of a host is a value, and does not end the run on the others.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from provision import methods
from provision.engine.plan import Plan, plan
from provision.engine.port_nics import with_port_nics
from provision.engine.released_nics import with_released_nics
from provision.facts import gather
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts
from provision.facts.peer_routes import Addresses
from provision.facts.probe import FactsProbe
from provision.model.errors import HostError
from provision.model.inventory import Inventory
from provision.model.problems import Problem
from provision.resources.base import Ref, Resource, State
from provision.transport.base import Output, Transport
from provision.transport.calls import CallGroup

SNAPSHOT_S = 60.0
"""Seconds that a host has for the script of a snapshot, by the default of `--timeout`."""
SIGNAL_S = 0.5
"""Seconds after which an interruption is noticed whichever thread got its signal."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """One run of a command. `jobs`: hosts at the same time. `timeout_s` bounds each script.

    `say` gets lines of progress, `warn` lines that the user has to read, and `progress` a label,
    and how many hosts of how many have ended what it names; threads call it. `probes` run with each
    snapshot, besides those of the methods.
    """

    inventory: Inventory
    transport: Transport
    jobs: int = 64
    timeout_s: float = 600.0
    say: Callable[[str], None] = lambda _line: None
    warn: Callable[[str], None] = lambda _line: None
    probes: tuple[FactsProbe, ...] = ()
    progress: Callable[[str, int, int], None] = lambda _label, _done, _total: None
    _known: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def snapshot_s(self) -> float:
        """Seconds that a host has for a snapshot or its records; a tenth of a long `timeout_s`."""
        return min(self.timeout_s, max(SNAPSHOT_S, self.timeout_s / 10))

    @property
    def addresses(self) -> Mapping[str, str]:
        """The text of the address of each host; each snapshot's script has those of its peers."""
        texts: Mapping[str, str] | None = self._known.get("addresses")
        if texts is None:
            texts = {name: str(host.address) for name, host in self.inventory.hosts.items()}
            self._known["addresses"] = texts  # whole: other threads read it
        return texts

    @property
    def fleet_addresses(self) -> Addresses:
        """The addresses of all hosts, to which the routes of each are read."""
        if "fleet_addresses" not in self._known:
            hosts = self.inventory.hosts.values()
            self._known["fleet_addresses"] = Addresses(host.address for host in hosts)
        addresses: Addresses = self._known["fleet_addresses"]
        return addresses


@dataclass(frozen=True, slots=True)
class Fleet:
    """A snapshot of each host that answered, and an error for each that did not."""

    snapshots: Mapping[str, HostSnapshot]
    errors: Mapping[str, HostError] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, HostFacts]:
        """Facts by host."""
        return {host: snapshot.facts for host, snapshot in self.snapshots.items()}

    def state(self, hosts: Iterable[str], *, ours: bool = True) -> State:
        """The resources on `hosts` that have our mark, or those of others."""
        merged: dict[Ref, Resource] = {}
        for host in hosts:
            if host in self.snapshots:
                snapshot = self.snapshots[host]
                merged.update(snapshot.ours if ours else snapshot.foreign)
        return merged


def each(
    session: Session,
    hosts: Iterable[str],
    work: Callable[[str], T],
    meanwhile: Callable[[], None] = lambda: None,
    *,
    label: str = "Waiting for hosts",
) -> tuple[dict[str, T], dict[str, HostError]]:
    """Call `work` for every host at once, and `meanwhile` in this thread.

    `label` names the work in the progress of the session. Returns the results, and the errors of
    hosts where `work` failed. Raises Interrupted after Ctrl-C, with the results that had come
    until then.
    """
    results: dict[str, T] = {}
    errors: dict[str, HostError] = {}
    names = list(hosts)
    futures: dict[str, Future[T]] = {}
    calls, counter = CallGroup(), _EndedCalls(session, label, len(names))
    # Threads, because paramiko blocks; most of their time they wait for the network.
    pool = ThreadPoolExecutor(max_workers=max(1, min(session.jobs, len(names))))
    try:
        for host in names:
            futures[host] = pool.submit(calls.run, work, host)
            futures[host].add_done_callback(counter.count)
        meanwhile()
        for host, future in futures.items():
            try:
                results[host] = _awaited(future)
            except HostError as error:
                errors[host] = error
    except BaseException as stop:
        # Ctrl-C: closed connections end the threads now, instead of at their timeouts. Abandon
        # the calls first: a thread that still connects sends nothing.
        calls.abandoned = True
        session.transport.close()
        pool.shutdown(wait=False, cancel_futures=True)
        if isinstance(stop, KeyboardInterrupt):
            raise Interrupted(_succeeded(futures)) from stop
        raise
    pool.shutdown()
    return results, errors


def _awaited(future: Future[T]) -> T:
    # The kernel may deliver a signal to any thread. Python runs its handler in the main thread,
    # which notices that only when its wait for a lock ends.
    while not future.done():
        wait((future,), timeout=SIGNAL_S)
    return future.result()


class _EndedCalls:
    """Reports to the session how many of the calls have ended."""

    def __init__(self, session: Session, label: str, total: int) -> None:
        self._session, self._label, self._total = session, label, total
        self._done = itertools.count(1)  # `next` is atomic: the calls end in several threads
        session.progress(label, 0, total)

    def count(self, _future: Future[Any]) -> None:
        """Note that one more has ended."""
        self._session.progress(self._label, next(self._done), self._total)


class Interrupted(KeyboardInterrupt):
    """An interruption of calls to hosts; `results` of those that had answered before it."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        super().__init__()
        self.results = results


def _succeeded(futures: Mapping[str, Future[T]]) -> dict[str, T]:
    done = {host: future for host, future in futures.items() if future.done()}
    return {
        host: future.result()
        for host, future in done.items()
        if not future.cancelled() and future.exception() is None
    }


def observe(session: Session, hosts: Iterable[str]) -> Fleet:
    """Gather a snapshot of each host."""

    def snapshot(host: str) -> HostSnapshot:
        nonce = secrets.token_hex(8)
        script = snapshot_script(session, host, nonce)
        timeout_s = session.snapshot_s
        output = session.transport.run(host, script, timeout_s=timeout_s)
        return read_snapshot(session, host, output, nonce)

    return Fleet(*each(session, hosts, snapshot, _import_planner, label="Reading hosts"))


def survey(session: Session, hosts: Iterable[str]) -> tuple[Session, Fleet, tuple[Problem, ...]]:
    """Gather snapshots of all hosts, and the session with the subnets that they are found to have.

    The problems are of hosts whose subnet cannot be told.
    """
    fleet = observe(session, hosts)
    session, problems = settled(session, fleet)
    return session, fleet, problems


def settled(session: Session, fleet: Fleet) -> tuple[Session, tuple[Problem, ...]]:
    """The session with the subnets that the hosts of a fleet have; its problems as in `survey`."""
    from provision.engine.host_subnets import settled_inventory

    inventory = session.inventory
    state = fleet.state(inventory.hosts)
    silent = [host for host in inventory.hosts if host not in fleet.snapshots]
    found = settled_inventory(inventory, state, silent, facts=fleet.facts)
    if found.inventory is not inventory:
        session = replace(session, inventory=found.inventory)
    return session, found.problems


def snapshot_script(session: Session, host: str, nonce: str) -> str:
    """The script that prints the snapshot of one host."""
    inventory = session.inventory
    addresses = session.addresses
    peers = [address for name, address in addresses.items() if name != host]
    probes = (*methods.facts_probes(inventory, host), *session.probes)
    tools, ports = methods.tools(inventory, host), methods.ports(inventory, host)
    return gather.script(
        inventory.name, peers, nonce=nonce, probes=probes, tools=tools, ports=ports
    )


def read_snapshot(session: Session, host: str, output: Output, nonce: str) -> HostSnapshot:
    """The snapshot that this script has printed. Raises FactsError."""
    inventory = session.inventory
    probes = (*methods.facts_probes(inventory, host), *session.probes)
    ranges = {name: network.cidr for name, network in inventory.networks.items()}
    address = inventory.hosts[host].address
    snapshot = gather.parse(
        host, inventory.name, output, nonce=nonce, probes=probes, networks=ranges,
        fleet=session.fleet_addresses, address=address,
    )  # fmt: skip
    return with_port_nics(inventory, with_released_nics(inventory, snapshot))


def _import_planner() -> None:
    """Import the planner while the hosts answer, so that no run takes longer for it."""
    import provision.engine.departures
    import provision.engine.desired
    import provision.engine.host_subnets
    import provision.engine.kept_subnets
    import provision.engine.names_in_use
    import provision.engine.overlaps
    import provision.engine.parts_in_use
    import provision.engine.ports_in_use
    import provision.engine.preflight  # noqa: F401


def difference(session: Session, fleet: Fleet, hosts: Iterable[str], *, destroy: bool) -> Plan:
    """The plan for `hosts`; the other hosts of the fleet only tell their facts."""
    chosen = [host for host in hosts if host in fleet.snapshots]
    current, foreign = fleet.state(chosen), fleet.state(chosen, ours=False)
    if destroy:
        return plan(current, {}, foreign=foreign)
    from provision.engine import desired, firewalls, names_in_use, ports_in_use
    from provision.engine.overlaps import overlaps
    from provision.engine.parts_in_use import parts_in_use

    names = set(chosen)
    everything = desired.wanted(session.inventory, fleet.facts, current)
    wanted = {ref: resource for ref, resource in everything.items() if ref.host in names}
    todo = plan(current, wanted, foreign=foreign)
    facts = {host: fleet.snapshots[host].facts for host in chosen}
    return Plan(
        todo.changes,
        (
            *todo.conflicts,
            *overlaps(session.inventory, facts, current, foreign),
            *names_in_use.conflicts(facts, current, foreign, wanted),
            *parts_in_use(session.inventory, facts, current, foreign, wanted),
            *firewalls.conflicts(facts, wanted),
            *ports_in_use.conflicts(session.inventory, facts),
        ),
    )
