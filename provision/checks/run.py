"""The checks, run by pytest in this process, and their verdicts."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import pytest

from provision.checks import gather, junit_text, test_access, test_lan, test_methods, test_network
from provision.checks.diagnosis import DiagnosedCause, Diagnosis, diagnose
from provision.checks.doctor.examine import asking, examine_again
from provision.checks.doctor.findings import HostFinding
from provision.checks.doctor.probe import DoctorFacts
from provision.checks.failure_groups import failure_groups
from provision.checks.gather import Evidence
from provision.checks.judge import Judge
from provision.checks.lan_probe import LanEndpoint
from provision.checks.pair_choice import ALL_PAIRS, PairChoice
from provision.checks.probe import CALL_BYTES
from provision.checks.subjects import Check
from provision.checks.traced import packet_causes, with_packet_causes
from provision.engine import strangers
from provision.engine.fleet import Fleet, Session
from provision.engine.plan import Change
from provision.model.errors import ExitStatus, HostError, ProvisionError, UsageError, VerifyError
from provision.model.grouping import grouped
from provision.model.inventory import Container, Inventory
from provision.model.text import count


@dataclass(frozen=True, slots=True)
class PairSample:
    """The number of ordered pairs of containers that `choice` has chosen, of all."""

    choice: PairChoice
    chosen: int
    every: int


@dataclass(frozen=True, slots=True)
class HostRow:
    """A host as reports show it: versions of its programs, and its containers' addresses."""

    name: str
    address: str
    docker: str = ""
    kernel: str = ""
    system: str = ""
    containers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verify."""

    inventory: Inventory
    containers: tuple[Container, ...]
    drift: tuple[Change, ...]
    checks: tuple[Check, ...]
    errors: tuple[HostError, ...]
    seconds: float
    total: int = 0
    """The number of checks to judge; more than `checks` has if the run was interrupted."""
    interrupted: bool = False
    junit: str = ""
    """The results as JUnit XML, if they were asked for."""
    sample: PairSample | None = None
    """The sample that was checked; None: all pairs."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """The address of each container that runs with one."""
    lans: Mapping[str, tuple[LanEndpoint, ...]] = field(default_factory=dict)
    """Interfaces on the hosts' LAN that were checked, by network."""
    hosts: tuple[HostRow, ...] = ()
    diagnosis: Diagnosis = field(default_factory=Diagnosis)
    """What the failures share, and what explains them."""

    @property
    def ok(self) -> bool:
        """True if every check was judged and none failed; a skipped one has neither failed."""
        failed = self.errors or self.drift or not all(c.ok or c.skipped for c in self.checks)
        return not failed and not self.interrupted

    @property
    def exit_status(self) -> ExitStatus:
        """0, 7 for a failed check or drift, 4 for a host that did not answer, 130 interrupted."""
        if self.interrupted:
            return ExitStatus.INTERRUPTED
        if self.errors:
            return ExitStatus.HOST
        return ExitStatus.OK if self.ok else ExitStatus.VERIFY


def run_checks(
    session: Session,
    hosts: tuple[str, ...],
    *,
    junit: bool,
    expression: str | None,
    choice: PairChoice = ALL_PAIRS,
    versions: bool = False,
    follow: bool = False,
    everyone: bool = False,
) -> Verification:
    """Gather evidence on the hosts of the chosen pairs, and judge it.

    `expression` is that of pytest's `-k`; raises UsageError if it is malformed or matches no check.
    `junit`: also make the JUnit XML. `versions`: also ask for the kernels and systems, and keep
    what was measured. `everyone`: also check containers on the networks that no file declares.
    `follow`: also follow a packet of one pair of each group of failures. After
    Ctrl-C, the result has the checks judged until then.
    """
    begin = time.monotonic()
    containers = tuple(c for c in session.inventory.members.values() if c.host in hosts)
    result = Verification(session.inventory, containers, (), (), (), 0, interrupted=True)
    result = replace(result, sample=_sample(session.inventory, containers, choice))
    try:
        questions = asking(session) if versions else session
        questions = strangers.asking(questions) if everyone else questions
        evidence = gather.evidence(questions, hosts, choice)
        result = _judged(result, evidence, junit=junit, expression=expression)
        if versions:
            result = replace(result, checks=tuple(_measured(evidence, c) for c in result.checks))
        if not result.ok and not result.interrupted:
            result = replace(result, diagnosis=_diagnosis(session, result, evidence, follow=follow))
    except KeyboardInterrupt:
        # Also while the failures of judged checks are explained: what follows is missing.
        result = replace(result, interrupted=True)
    if result.interrupted:
        result = as_interrupted(result, junit=junit)
    return replace(result, seconds=time.monotonic() - begin)


def as_interrupted(result: Verification, *, junit: bool) -> Verification:
    """The result of a verify that was interrupted; its JUnit XML says so, too."""
    text = junit_text.interrupted(result.junit, interruption(result)) if junit else ""
    return replace(result, interrupted=True, junit=text)


def _measured(evidence: Evidence, check: Check) -> Check:
    """The check with the round trip time, size or source that its answer tells."""
    answer = evidence.answers.get((check.check, check.source, check.target))
    if answer is None or not check.ok:
        return check
    text = answer.text.replace("same ", f"{count(CALL_BYTES, 'byte')} unchanged, seen from ")
    return replace(check, measured=text)


def _diagnosis(
    session: Session, result: Verification, evidence: Evidence, *, follow: bool
) -> Diagnosis:
    """Group the failures, follow a packet of each group, and ask the doctor meanwhile."""
    lost = frozenset(error.host for error in result.errors)
    groups = tuple(failure_groups(session.inventory, result.checks, ignored=lost))
    snapshots = evidence.fleet.snapshots
    fleet = Fleet({host: each for host, each in snapshots.items() if host not in lost})
    causes: list[DiagnosedCause] = []

    def follow_packets() -> None:
        causes.extend(packet_causes(session, groups, evidence.after) if follow else ())

    session.say("Asking the hosts what explains the failures")
    hosts = tuple(session.inventory.hosts)
    findings: tuple[HostFinding, ...] = ()
    # A busy or slow host must not hold up the watch of a packet: it is asked when that has ended.
    paths = [group.pairs[0].hosts for group in groups] if follow else []
    last = frozenset[str]().union(*paths)
    # The results stay what they are where the doctor cannot judge the hosts.
    with suppress(ProvisionError):
        findings = examine_again(session, hosts, fleet, follow_packets, last=last).findings
    diagnosis = diagnose(
        session.inventory, result.checks, result.drift, result.errors, findings, groups
    )
    return with_packet_causes(diagnosis, causes)


def _sample(
    inventory: Inventory, containers: tuple[Container, ...], choice: PairChoice
) -> PairSample | None:
    if choice == ALL_PAIRS:
        return None
    chosen = len(gather.pairs(inventory, containers, choice))
    sizes = Counter(gather.segment(inventory, container) for container in containers)
    every = sum(size * (size - 1) for name, size in sizes.items() if name)
    return PairSample(choice, chosen, every) if chosen < every else None


def interruption(result: Verification) -> str:
    """The words for an interrupted verify: the number of checks judged, and of all."""
    if not result.total:
        return "interrupted before the first check"
    return f"interrupted after {len(result.checks):,} of {count(result.total, 'check')}"


def _judged(
    result: Verification, evidence: Evidence, *, junit: bool, expression: str | None
) -> Verification:
    """The result with the verdicts on this evidence, as far as pytest came."""
    test_methods.define(evidence.inventory)
    judge = Judge(evidence, expression, junit=junit)
    lan = (test_lan,) if evidence.lan_probes else ()
    access = (test_access,) if evidence.access_probes else ()
    modules = (test_network, test_methods, *lan, *access)
    status: int = pytest.ExitCode.INTERRUPTED
    with TemporaryDirectory() as folder, _own_environment():
        file = Path(folder, "junit.xml") if junit else None
        # pytest handles the interruption of a check; outside of its session it raises.
        with suppress(KeyboardInterrupt):
            status = pytest.main(_arguments(modules, file), plugins=[judge])
        text = file.read_text(encoding="utf-8") if file and file.exists() else ""
    _require_match(status, expression, modules)
    return replace(
        result,
        inventory=evidence.inventory,
        containers=evidence.containers,
        drift=tuple(change for each in evidence.drift.values() for change in each.changes),
        checks=tuple(judge.checks),
        errors=tuple(evidence.errors.values()),
        addresses={
            name: str(end.address) for name, end in evidence.endpoints.items() if end.address
        },
        lans=_lans(evidence),
        hosts=tuple(_host_rows(evidence)),
        total=judge.total,
        interrupted=status == pytest.ExitCode.INTERRUPTED,
        junit=text,
    )


def _host_rows(evidence: Evidence) -> Iterator[HostRow]:
    for host in evidence.hosts:
        facts = evidence.facts.get(host)
        answer = facts.of(DoctorFacts) if facts else DoctorFacts()
        addresses = (
            (name, str(end.address or ""))
            for name, end in evidence.endpoints.items()
            if end.host == host
        )
        docker = ".".join(map(str, facts.docker)) if facts else ""
        address = str(evidence.inventory.hosts[host].address)
        yield HostRow(host, address, docker, answer.kernel, answer.system, tuple(addresses))


def _lans(evidence: Evidence) -> dict[str, tuple[LanEndpoint, ...]]:
    sources = dict.fromkeys(probe.source for probe in evidence.lan_probes)
    by_network = grouped(sources, lambda endpoint: endpoint.network)
    return {network: tuple(endpoints) for network, endpoints in by_network.items()}


# Our own report is printed: pytest must neither print nor leave a cache beside the inventory, and
# `-c /dev/null` keeps it from reading a pyproject.toml or pytest.ini of the user.
_QUIET = (
    "-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:logging",
    "-c", os.devnull, "--rootdir", str(Path(__file__).parent),
)  # fmt: skip


def _arguments(modules: tuple[ModuleType, ...], junit: Path | None) -> list[str]:
    arguments = [*(str(module.__file__) for module in modules), *_QUIET]
    if junit:
        arguments += ["--junitxml", str(junit.resolve()), "-o", "junit_suite_name=provision"]
    return arguments


# Options and plug-ins that the user has given to pytest are for tests of the user.
_OF_USERS = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


@contextmanager
def _own_environment() -> Iterator[None]:
    """Keep pytest from the options and plug-ins of the environment, and from installed plug-ins."""
    variables = dict.fromkeys(_OF_USERS, "") | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    originals = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, original in originals.items():
            if original is None:
                del os.environ[name]
            else:
                os.environ[name] = original


def _require_match(status: int, expression: str | None, modules: tuple[ModuleType, ...]) -> None:
    if status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        raise VerifyError("the checks did not come to their end: pytest has failed, not a check")
    if status == pytest.ExitCode.NO_TESTS_COLLECTED and expression:
        names = [name for module in modules for name in vars(module) if name.startswith("test_")]
        checks = ", ".join(name.removeprefix("test_") for name in names)
        raise UsageError(f"-k {expression} matches no check", f"checks: {checks}")
