"""The diagnosis of a red verify: what the failures share, and what explains them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from provision.checks import drift_text
from provision.checks.doctor.findings import HostFinding, Weight
from provision.checks.subjects import Check
from provision.engine.plan import Change
from provision.model.errors import HostError
from provision.model.inventory import Container, Inventory
from provision.model.text import count

LINES = 4
"""Lines of a diagnosis on a terminal; the line with the numbers follows them."""
_GROUPS = 3
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
class CheckedPair:
    """Two ends of checks that failed or passed, and their hosts."""

    source: str
    target: str
    source_host: str
    target_host: str
    network: str

    @property
    def crosses(self) -> bool:
        """True if the ends are on two hosts."""
        return self.source_host != self.target_host

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts of both ends."""
        return frozenset((self.source_host, self.target_host))


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Pairs that fail, and what they share; `of` is the number of all pairs that fail.

    `hosts` are those that the cause may be on, `checks` the names of the failed checks, and
    `pairs` stand for each other: one of them is enough to look at.
    """

    shared: str
    pairs: tuple[CheckedPair, ...]
    of: int
    checks: tuple[str, ...]
    hosts: tuple[str, ...]

    def __str__(self) -> str:
        checks = ", ".join(self.checks)
        if self.of == 1:
            (pair,) = self.pairs
            return f"One pair fails: {pair.source} → {pair.target} ({checks})"
        number = "All" if len(self.pairs) == self.of else f"{len(self.pairs):,} of"
        return f"{number} {count(self.of, 'pair')} that fail {self.shared} ({checks})"


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


def failure_groups(
    inventory: Inventory, checks: Iterable[Check], *, ignored: frozenset[str] = frozenset()
) -> Iterator[FailureGroup]:
    """Yield groups of failing pairs, by what explains most of them; hosts of `ignored` are told."""
    failed: dict[CheckedPair, dict[str, None]] = {}
    passed: dict[CheckedPair, None] = {}
    for check in checks:
        pair = _pair(inventory, check)
        if pair is None or check.skipped or pair.hosts & ignored:
            continue
        if check.ok:
            passed[pair] = None
        else:
            failed.setdefault(pair, {})[check.check] = None
    right = Counter(key for pair in passed.keys() - failed.keys() for key in _shared_keys(pair))
    rest = list(failed)
    for _ in range(_GROUPS):
        if not rest:
            return
        hits = Counter(key for pair in rest for key in _shared_keys(pair))
        best = max(hits, key=lambda key: _score(key, hits[key], right[key], len(rest)))
        members = tuple(pair for pair in rest if best in _shared_keys(pair))
        names = dict.fromkeys(name for pair in members for name in failed[pair])
        hosts = best.hosts or tuple(dict.fromkeys(h for p in members for h in sorted(p.hosts)))
        yield FailureGroup(best.text(members), members, len(failed), tuple(names), hosts)
        chosen = set(members)
        rest = [pair for pair in rest if pair not in chosen]


class _SharedKey(NamedTuple):
    """Something that pairs share: `names` are those of containers, hosts or a network.

    `form` is an index of _FORMS: of two that fit alike, the smaller one says more.
    """

    form: int
    names: tuple[str, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that the cause may be on; none if the pairs have to tell them."""
        return self.names if 1 <= self.form <= 6 else ()

    def text(self, pairs: tuple[CheckedPair, ...]) -> str:
        """The predicate of a sentence about these pairs."""
        host = ""
        if self.form == 0:
            first, name = pairs[0], self.names[0]
            host = first.source_host if first.source == name else first.target_host
        return _FORMS[self.form].format(*self.names, host=host)


_FORMS = (
    "have {0} (on {host}) at one end",
    "go from {0} to {1}",
    "are between {0} and {1}",
    "leave {0}",
    "go to {0}",
    "have {0} on their way",
    "have an end on {0}",
    "are in network {0}, between hosts",
    "are between hosts",
    "have nothing else in common",
)


def _shared_keys(pair: CheckedPair) -> list[_SharedKey]:
    """What a pair may share with others: its ends, direction, hosts and network."""
    source, target = pair.source_host, pair.target_host
    keys = [_SharedKey(0, (pair.source,)), _SharedKey(0, (pair.target,)), _SharedKey(9, ())]
    keys += [_SharedKey(6, (host,)) for host in pair.hosts]
    if pair.crosses:
        keys += [_SharedKey(1, (source, target)), _SharedKey(2, tuple(sorted(pair.hosts)))]
        keys += [_SharedKey(3, (source,)), _SharedKey(4, (target,)), _SharedKey(8, ())]
        keys += [_SharedKey(5, (host,)) for host in pair.hosts]
        keys += [_SharedKey(7, (pair.network,))] if pair.network else []
    return keys


def _score(
    key: _SharedKey, hits: int, misses: int, failed: int
) -> tuple[bool, float, int, int, tuple[str, ...]]:
    """The larger, the better a key tells the pairs that fail from those that pass."""
    share = hits / (hits + misses)
    # Everything that fails, and next to nothing that passes; else what fits best.
    return hits == failed and share > 0.8, share * hits, -misses, -key.form, key.names


def _pair(inventory: Inventory, check: Check) -> CheckedPair | None:
    """The pair of a check; None for one about a single host or container."""
    if check.on_host or check.source == check.target:
        return None
    source, target = _end(inventory, check.source), _end(inventory, check.target)
    if source is None or target is None:
        return None
    network = source[1].network if source[1] else ""
    return CheckedPair(check.source, check.target, source[0], target[0], network)


def _end(inventory: Inventory, name: str) -> tuple[str, Container | None] | None:
    """The host of an end, and its container; `web/eth1` is an interface of one."""
    container = inventory.members.get(name.partition("/")[0])
    if container is not None:
        return container.host, container
    return (name, None) if name in inventory.hosts else None
