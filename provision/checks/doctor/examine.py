"""Asks every host once, and collects the findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from provision import methods
from provision.checks.doctor import firewalls, links, machine
from provision.checks.doctor.findings import HostFinding, Weight
from provision.checks.doctor.probe import DoctorFacts, parse, probe, question
from provision.engine import departures, desired, preflight
from provision.engine.fleet import Fleet, Session, difference, each, settled, survey
from provision.engine.plan import Conflict
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts
from provision.model.errors import ExitStatus, HostError
from provision.model.grouping import grouped
from provision.model.inventory import Inventory
from provision.model.problems import Problem
from provision.resources.base import State
from provision.resources.kinds.package import MANAGER


@dataclass(frozen=True, slots=True)
class Examination:
    """The findings about the hosts, and the errors of those that did not answer."""

    hosts: tuple[str, ...]
    findings: tuple[HostFinding, ...]
    errors: tuple[HostError, ...]

    @property
    def exit_status(self) -> ExitStatus:
        """4 if a host did not answer, 7 with a finding of weight error, else 0."""
        if self.errors:
            return ExitStatus.HOST
        heavy = any(finding.weight is Weight.ERROR for finding in self.findings)
        return ExitStatus.VERIFY if heavy else ExitStatus.OK


def asking(session: Session) -> Session:
    """The same session, whose snapshots also ask the doctor's question."""
    return replace(session, probes=(*session.probes, probe()))


def examine(session: Session, hosts: tuple[str, ...]) -> Examination:
    """Ask every host of the inventory once, and judge `hosts`."""
    began_at = time.time()
    session = asking(session)
    # MTUs, MACs and ranges are compared with those of all hosts, whatever `hosts` limits.
    session, fleet, _ = survey(session, session.inventory.hosts)
    errors = tuple(error for error in fleet.errors.values() if error.host in hosts)
    return Examination(hosts, _findings(session, fleet, hosts, began_at), errors)


def examine_again(
    session: Session,
    hosts: tuple[str, ...],
    fleet: Fleet,
    meanwhile: Callable[[], None] = lambda: None,
    *,
    last: frozenset[str] = frozenset(),
) -> Examination:
    """Ask only the doctor's question, of the hosts of a fleet that was read just now.

    `meanwhile` is called at the same time; the hosts `last` are asked after it.
    """
    began_at = time.time()
    session, _ = settled(session, fleet)

    def ask(host: str) -> DoctorFacts:
        timeout_s = session.snapshot_s
        return parse(session.transport.run(host, question(), timeout_s=timeout_s).stdout)

    label = "Asking hosts what explains the failures"
    first = [host for host in fleet.snapshots if host not in last]
    answers, errors = each(session, first, ask, meanwhile, label=label)
    rest = each(session, [host for host in fleet.snapshots if host in last], ask, label=label)
    answers, errors = answers | rest[0], errors | rest[1]
    snapshots = {
        host: _with_answer(snapshot, answers[host])
        for host, snapshot in fleet.snapshots.items()
        if host in answers
    }
    findings = _findings(session, replace(fleet, snapshots=snapshots), hosts, began_at)
    return Examination(hosts, findings, tuple(e for e in errors.values() if e.host in hosts))


def _with_answer(snapshot: HostSnapshot, answer: DoctorFacts) -> HostSnapshot:
    of_methods = {**snapshot.facts.of_methods, DoctorFacts: answer}
    return replace(snapshot, facts=replace(snapshot.facts, of_methods=of_methods))


def _findings(
    session: Session, fleet: Fleet, hosts: tuple[str, ...], began_at: float
) -> tuple[HostFinding, ...]:
    own = own_findings(session.inventory, fleet, began_at)
    return _sorted((*own, *_known_findings(session, fleet)), hosts)


def _sorted(findings: Iterable[HostFinding], hosts: tuple[str, ...]) -> tuple[HostFinding, ...]:
    """The findings about `hosts` in their order, errors first, each once."""
    chosen = dict.fromkeys(finding for finding in findings if finding.host in hosts)
    return tuple(
        sorted(chosen, key=lambda each: (hosts.index(each.host), each.weight is not Weight.ERROR))
    )


def own_findings(inventory: Inventory, fleet: Fleet, began_at: float) -> Iterator[HostFinding]:
    """Yield the findings that no other command tells; the snapshots hold the doctor's answers."""
    wanted = grouped(
        desired.wanted(inventory, fleet.facts).values(), lambda resource: resource.host
    )
    doctor = {host: facts.of(DoctorFacts) for host, facts in fleet.facts.items()}
    for host, answer in doctor.items():
        if answer.unreadable:
            yield _unreadable(host, answer)
            continue
        ours = fleet.snapshots[host].ours
        applied = any(ref.kind in ("container", "docker_network", "docker0") for ref in ours)
        resources = wanted.get(host, ())
        yield from machine.findings(host, answer, began_at=began_at, wanted=resources)
        yield from machine.certificates(host, ours.values(), answer.read_at)
        yield from firewalls.findings(inventory, host, answer, applied=applied)
    yield from links.findings(inventory, fleet.snapshots)
    yield from machine.twins(doctor)


def _unreadable(host: str, answer: DoctorFacts) -> HostFinding:
    return HostFinding(
        host,
        "unreadable",
        Weight.WARNING,
        f"its answer cannot be read ({answer.unreadable})",
        "nothing is known of its disks, clock, services and firewalls",
        f"log in to {host}: a program that the question calls prints what Debian's does not",
    )


def _known_findings(session: Session, fleet: Fleet) -> Iterator[HostFinding]:
    """Yield what `plan` and `apply` tell, too: requirements, conflicts, pending changes."""
    inventory = session.inventory
    for problem in preflight.problems(inventory, fleet.facts):
        if problem.hides_docker or not any(links.down(inventory, fleet.facts[problem.host])):
            yield _requirement(problem, fleet.facts[problem.host].of(DoctorFacts))
    for host, facts in fleet.facts.items():
        yield from _missing_tools(inventory, facts)
        yield from _pending(inventory, facts)
        yield from _departed(inventory, facts, fleet.state((host,)))
    for conflict in difference(session, fleet, inventory.hosts, destroy=False).conflicts:
        yield _conflict(conflict)


def _requirement(problem: Problem, answer: DoctorFacts) -> HostFinding:
    kind = "docker_down" if problem.hides_docker else "requirement"
    docker = answer.units.get("docker")
    stopped = problem.hides_docker and docker is not None and not docker.active
    why = (
        "its containers do not run, or cannot be changed"
        if problem.hides_docker
        else "apply refuses to change this host"
    )
    fix = "systemctl start docker; journalctl -u docker -n 50" if problem.hides_docker else ""
    return HostFinding(
        problem.host,
        kind,
        Weight.ERROR,
        "Docker does not run" if stopped else problem.message,
        why,
        fix or problem.hint,
    )


def _missing_tools(inventory: Inventory, facts: HostFacts) -> Iterator[HostFinding]:
    """Yield the tools that apply will install; those that it cannot are a requirement."""
    needed = (*preflight.REQUIRED_TOOLS, *methods.tools(inventory, facts.host, facts))
    absent = [tool for tool in needed if tool not in facts.tools]
    missing = tuple(tool for tool in dict.fromkeys(absent) if tool not in facts.incomplete_packages)
    if missing and inventory.packages == "install" and facts.package_manager == MANAGER:
        yield HostFinding(
            facts.host,
            "missing_tool",
            Weight.WARNING,
            f"it lacks {', '.join(missing)}",
            "the network needs them; apply installs their packages",
            f"provision apply {inventory.argument}",
        )


def _pending(inventory: Inventory, facts: HostFacts) -> Iterator[HostFinding]:
    if facts.in_transaction:
        yield HostFinding(
            facts.host,
            "change_pending",
            Weight.ERROR,
            "a change is pending, or is being rolled back",
            "apply refuses to change this host until that has ended",
            f"provision status {inventory.argument}; then confirm or recover",
        )


def _departed(inventory: Inventory, facts: HostFacts, ours: State) -> Iterator[HostFinding]:
    for line in departures.warnings(inventory, ours, {facts.host: facts}):
        yield HostFinding(
            facts.host,
            "leftover",
            Weight.WARNING,
            line.removeprefix(f"{facts.host}: "),
            "what has left the file still sends packets, and holds addresses",
            f"provision plan {inventory.argument}",
        )


def _conflict(conflict: Conflict) -> HostFinding:
    in_range = conflict.ref.kind == "network"
    return HostFinding(
        conflict.ref.host,
        "range_in_use" if in_range else "conflict",
        Weight.ERROR,
        conflict.message,
        "packets to that range go elsewhere, for example into a VPN"
        if in_range
        else "apply does not touch what it did not make, and refuses",
        conflict.command or "remove it, or choose another name or range",
    )


def examiner(session: Session) -> Callable[[Fleet, frozenset[str]], list[str]]:
    """A function that returns the errors that a change of these hosts would run into, as lines.

    `apply` tells the others by itself.
    """
    began_at = time.time()

    def examine_hosts(fleet: Fleet, hosts: frozenset[str]) -> list[str]:
        return [
            f"{finding}: {finding.why} (fix: {finding.fix})"
            for finding in (own_findings(session.inventory, fleet, began_at) if hosts else ())
            if finding.weight is Weight.ERROR and finding.host in hosts
            if finding.kind != "forwarding_off"  # apply itself turns it on
        ]

    return examine_hosts
