"""The diagnosis of a red verify: what the failures share, and what explains them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from provision.checks import drift_text
from provision.checks.doctor.findings import HostFinding, Weight
from provision.checks.failure_groups import FailureGroup, failure_groups
from provision.checks.subjects import Check
from provision.engine.plan import Change
from provision.model.errors import HostError
from provision.model.inventory import Inventory

LINES = 4
"""Lines of a diagnosis on a terminal; the line with the numbers follows them."""
_EXPLAINING = (
    "link_down",
    "no_carrier",
    "docker_down",
    "forwarding_off",
    "firewall_rule",
    "mtu_differs",
    "duplicate_mac",
    "duplicate_machine_id",
    "iptables_two_backends",
    "docker_firewall",
    "range_in_use",
    "change_pending",
)
"""Kinds of findings that explain lost packets, the most telling first."""
_SAME_DRIFT: Mapping[str, tuple[str, ...]] = {
    "forwarding_off": ("sysctl",),
    "mtu_differs": (
        "docker_network",
        "docker0",
        "vxlan",
        "ovs_veth",
        "container",
        "systemd_unit",
    ),
}
"""Findings that say what differences of these kinds say, too."""
_BLINDING = ("link_down", "docker_down")
"""Findings of which all differences of their host are a consequence."""
REMEMBERS = "it remembers a path MTU"
"""The words of `checks/call.pl` for a path MTU that the kernel still keeps."""


@dataclass(frozen=True, slots=True)
class DiagnosedCause:
    """Something that explains failures: a sentence about a host, and a command that mends it.

    `kind` is one of the doctor's or of `explain`, `silent` for a host that does not answer, or
    `drift` for differences from the inventory. `certain` is False for a guess.
    """

    host: str
    text: str
    fix: str = ""
    kind: str = ""
    certain: bool = True

    def __str__(self) -> str:
        fix = f" → {self.fix}" if self.fix else ""
        return f"{self.host}: {self.text}{fix}"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the failures share, and what explains them, the most telling first."""

    groups: tuple[FailureGroup, ...] = ()
    causes: tuple[DiagnosedCause, ...] = ()

    def lines(self, inventory: str) -> Iterator[str]:
        """At most LINES lines: what is shared, then the causes."""
        groups = [str(group) for group in self.groups[: LINES - min(len(self.causes), 2)]]
        room = LINES - len(groups)
        causes = [str(cause) for cause in self.causes]
        yield from groups
        if len(causes) <= room:
            yield from causes
            return
        yield from causes[: room - 1]
        rest = len(causes) - room + 1
        yield f"and {rest} more: `provision doctor {inventory}` and `provision plan {inventory}`"


def diagnose(
    inventory: Inventory,
    checks: Iterable[Check],
    drift: Iterable[Change],
    errors: Iterable[HostError],
    findings: Iterable[HostFinding],
    groups: tuple[FailureGroup, ...] | None = None,
) -> Diagnosis:
    """The diagnosis of these results; `findings` are the doctor's, `groups` those of the checks."""
    checks, lost = tuple(checks), {error.host: error for error in errors}
    if groups is None:
        groups = tuple(failure_groups(inventory, checks, ignored=frozenset(lost)))
    suspects = [host for group in groups for host in group.hosts]

    def order(host: str) -> int:
        return suspects.index(host) if host in suspects else len(suspects)

    silent = [
        DiagnosedCause(host, f"no answer: {error.message}", kind="silent")
        for host, error in lost.items()
    ]
    explained = [each for each in findings if _explains(each)]
    explained.sort(key=lambda each: (order(each.host), _EXPLAINING.index(each.kind)))
    hidden = {(each.host, kind) for each in explained for kind in _SAME_DRIFT.get(each.kind, ())}
    blind = {each.host for each in explained if each.kind in _BLINDING}
    # A smaller NIC makes all hosts differ: the size of packets is that of the smallest.
    smaller = any(each.kind == "mtu_differs" for each in explained)
    changes = [
        change
        for change in sorted(drift, key=lambda each: (order(each.ref.host), drift_text.rank(each)))
        if (change.ref.host, change.ref.kind) not in hidden and change.ref.host not in blind
        if not (smaller and change.ref.kind in _SAME_DRIFT["mtu_differs"])
    ]
    causes = [DiagnosedCause(each.host, each.text, each.fix, each.kind) for each in explained]
    causes += remembered_mtus(inventory, checks)
    causes += _differences(changes, inventory.argument)
    return Diagnosis(groups, (*silent, *causes))


def remembered_mtus(inventory: Inventory, checks: Iterable[Check]) -> Iterator[DiagnosedCause]:
    """Yield one cause for each host of a container that remembers a smaller path MTU."""
    hosts: dict[str, DiagnosedCause] = {}
    for check in checks:
        container = inventory.members.get(check.source)
        if not check.ok and container is not None and REMEMBERS in check.detail:
            memory = check.detail[check.detail.index(REMEMBERS) :].rstrip(")")
            pid = f"$(docker inspect -f '{{{{.State.Pid}}}}' {container.own_name})"
            cause = DiagnosedCause(
                container.host,
                f"{container.name} {memory.removeprefix('it ')}",
                f"nsenter -t {pid} -n ip route flush cache",
                "mtu_remembered",
            )
            hosts.setdefault(container.host, cause)
    yield from hosts.values()


def _explains(finding: HostFinding) -> bool:
    return finding.weight is Weight.ERROR and finding.kind in _EXPLAINING


def _differences(changes: list[Change], inventory: str) -> Iterator[DiagnosedCause]:
    """Yield one cause for each host: what differs there, the most telling first."""
    by_host: dict[str, list[str]] = {}
    for change in changes:
        by_host.setdefault(change.ref.host, []).append(drift_text.describe(change))
    for host, texts in by_host.items():
        rest = f" and {len(texts) - 2} more" if len(texts) > 2 else ""
        yield DiagnosedCause(
            host, f"{'; '.join(texts[:2])}{rest}", f"provision apply {inventory}", "drift"
        )
