"""Everything the checks judge, gathered by a fixed number of executions per host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations

from provision import methods
from provision.checks import probe
from provision.checks.backend import host as testinfra_host
from provision.checks.probe import Answer, Endpoint
from provision.errors import HostError
from provision.fleet import Fleet, Session, difference, each, observe
from provision.inventory import Container
from provision.plan import Change
from provision.resource import Ref
from provision.resources.container import Container as Found

PROBE_S = 120.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen: drift by host, the answer of each check and pair, and why there is none."""

    hosts: tuple[str, ...]
    containers: tuple[Container, ...]
    drift: Mapping[str, tuple[Change, ...]]
    endpoints: Mapping[str, Endpoint]
    answers: Mapping[tuple[str, str, str], Answer]
    absent: Mapping[str, tuple[str, ...]]
    errors: Mapping[str, HostError]


def pairs(containers: Iterable[Container]) -> list[tuple[Container, Container]]:
    """Every ordered pair of containers of one network."""
    return [
        (source, target)
        for source, target in permutations(containers, 2)
        if source.network == target.network
    ]


def evidence(session: Session, hosts: tuple[str, ...]) -> Evidence:
    """Look, listen, call, stop: four executions a host, however many pairs there are."""
    fleet = observe(session, session.inventory.hosts)
    ends = _endpoints(session, fleet, hosts)
    drift = _drift(session, fleet, hosts)
    listened, lost = _round(session, ends, lambda mine: probe.listen(mine))
    ports: dict[str, int] = {}
    pids: dict[str, tuple[int, ...]] = {}
    for host, text in listened.items():
        found, pids[host] = probe.listeners(text)
        ports |= found
    everywhere = tuple(ends.values())
    try:
        called, broken = _round(session, ends, lambda mine: probe.call(mine, everywhere, ports))
    finally:
        each(session, [host for host in pids if pids[host]], _stopping(session, pids))
    answers = {key: one for text in called.values() for key, one in probe.answers(text).items()}
    absent = {host: probe.missing(text) for host, text in called.items() if probe.missing(text)}
    chosen = tuple(c for c in session.inventory.containers.values() if c.host in hosts)
    errors = {**lost, **broken, **fleet.errors}
    mine = {host: error for host, error in errors.items() if host in hosts}
    return Evidence(hosts, chosen, drift, ends, answers, absent, mine)


def _drift(session: Session, fleet: Fleet, hosts: tuple[str, ...]) -> dict[str, tuple[Change, ...]]:
    changes = difference(session, fleet, hosts, destroy=False).changes
    return {
        host: tuple(change for change in changes if change.ref.host == host)
        for host in hosts
        if host in fleet.looks
    }


def _endpoints(session: Session, fleet: Fleet, hosts: tuple[str, ...]) -> dict[str, Endpoint]:
    result: dict[str, Endpoint] = {}
    for container in session.inventory.containers.values():
        look = fleet.looks.get(container.host)
        found = look.found.get(Ref(container.host, "container", container.name)) if look else None
        if (
            container.host in hosts
            and isinstance(found, Found)
            and found.pid
            and found.live_address
        ):
            network = session.inventory.networks[container.network]
            mtu = methods.named(network.method).mtu(session.inventory, network, fleet.facts)
            where = (container.name, container.host, container.network)
            result[container.name] = Endpoint(*where, found.pid, found.live_address, mtu)
    return result


def _round(
    session: Session,
    ends: Mapping[str, Endpoint],
    script: Callable[[tuple[Endpoint, ...]], str],
) -> tuple[dict[str, str], dict[str, HostError]]:
    """One script on each host that has endpoints; what it printed."""

    def run(host: str) -> str:
        mine = tuple(end for end in ends.values() if end.host == host)
        door = testinfra_host(host, session.transport, timeout_s=min(PROBE_S, session.timeout_s))
        return str(door.run(script(mine)).stdout)

    return each(session, sorted({end.host for end in ends.values()}), run)


def _stopping(session: Session, pids: Mapping[str, tuple[int, ...]]) -> Callable[[str], object]:
    def stop(host: str) -> object:
        door = testinfra_host(host, session.transport, timeout_s=min(30.0, session.timeout_s))
        return door.run(probe.stop(pids[host]))

    return stop
