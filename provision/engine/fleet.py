"""Hosts as they are: one thread and one execution each, and how that differs from what is wanted.

Changes nothing. A host that does not answer is data, not the end of the others.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from provision.engine.plan import Plan, plan
from provision.engine.released_nics import with_released_nics
from provision.facts import gather
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts
from provision.methods.pipework import nic
from provision.model.errors import HostError
from provision.model.inventory import Inventory
from provision.resources.base import Ref, Resource, State
from provision.transport.base import Output, Transport

LOOK_S = 60.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """One run of a verb. `timeout_s` bounds each script; `say` gets a line of progress, `warn` one
    that has to be read."""

    inventory: Inventory
    transport: Transport
    jobs: int = 64
    timeout_s: float = 600.0
    say: Callable[[str], None] = lambda _line: None
    warn: Callable[[str], None] = lambda _line: None


@dataclass(frozen=True, slots=True)
class Fleet:
    """Hosts as found: a look for each that answered, an error for each that did not."""

    looks: Mapping[str, HostSnapshot]
    errors: Mapping[str, HostError] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, HostFacts]:
        """Facts by host."""
        return {host: look.facts for host, look in self.looks.items()}

    def state(self, hosts: Iterable[str], *, ours: bool = True) -> State:
        """What carries our mark on `hosts`, or what stands there without it."""
        merged: dict[Ref, Resource] = {}
        for host in hosts:
            if host in self.looks:
                look = self.looks[host]
                merged.update(look.ours if ours else look.foreign)
        return merged


def each(
    session: Session,
    hosts: Iterable[str],
    work: Callable[[str], T],
    meanwhile: Callable[[], None] = lambda: None,
) -> tuple[dict[str, T], dict[str, HostError]]:
    """`work` on every host at once; a host's error is data, not the end of the others."""
    results: dict[str, T] = {}
    errors: dict[str, HostError] = {}
    names = list(hosts)
    pool = ThreadPoolExecutor(max_workers=max(1, min(session.jobs, len(names))))
    try:
        futures = {host: pool.submit(work, host) for host in names}
        meanwhile()
        for host, future in futures.items():
            try:
                results[host] = future.result()
            except HostError as error:
                errors[host] = error
    except BaseException:
        # Ctrl-C: without their connections the threads end now, not at their deadlines.
        session.transport.close()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return results, errors


def observe(session: Session, hosts: Iterable[str]) -> Fleet:
    """Look at hosts by one execution each."""

    def look(host: str) -> HostSnapshot:
        nonce = secrets.token_hex(8)
        text = look_text(session, host, nonce)
        output = session.transport.run(host, text, timeout_s=min(LOOK_S, session.timeout_s))
        return look_read(session, host, output, nonce)

    return Fleet(*each(session, hosts, look, _import_judges))


def look_text(session: Session, host: str, nonce: str) -> str:
    """The script that looks at one host."""
    inventory = session.inventory
    peers = [str(other.address) for name, other in inventory.hosts.items() if name != host]
    asked = nic.asked(inventory, host)
    return gather.script(inventory.name, peers, nonce=nonce, arp_checks=asked)


def look_read(session: Session, host: str, output: Output, nonce: str) -> HostSnapshot:
    """What that script printed. Raises FactsError."""
    found = gather.parse(host, session.inventory.name, output, nonce=nonce)
    return with_released_nics(session.inventory, found)


def _import_judges() -> None:
    """Load what judges a look while the hosts answer: no run is longer for it."""
    import provision.engine.desired
    import provision.engine.preflight  # noqa: F401


def difference(session: Session, fleet: Fleet, hosts: Iterable[str], *, destroy: bool) -> Plan:
    """What is to be changed on `hosts`; the others are looked at, not touched."""
    chosen = [host for host in hosts if host in fleet.looks]
    found, foreign = fleet.state(chosen), fleet.state(chosen, ours=False)
    if destroy:
        return plan(found, {}, foreign=foreign)
    from provision.engine import desired
    from provision.engine.overlaps import overlaps

    everything = desired.wanted(session.inventory, fleet.facts)
    wanted = {ref: resource for ref, resource in everything.items() if ref.host in set(chosen)}
    difference = plan(found, wanted, foreign=foreign)
    seen = {host: fleet.looks[host].facts for host in chosen}
    in_use = tuple(overlaps(session.inventory, seen, found))
    return Plan(difference.changes, difference.conflicts + in_use)
