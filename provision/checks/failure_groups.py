"""Groups of failing pairs, by what they share: a container, a direction, a host. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from provision.checks.subjects import Check
from provision.model.inventory import Container, Inventory
from provision.model.text import count

_GROUPS = 3


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

    `hosts` are those that the cause may be on. `failures` are the first failed check of each name:
    the pairs stand for each other, so one of them is enough to look at.
    """

    shared: str
    pairs: tuple[CheckedPair, ...]
    of: int
    failures: tuple[Check, ...]
    hosts: tuple[str, ...]

    @property
    def checks(self) -> tuple[str, ...]:
        """The names of the failed checks."""
        return tuple(failure.check for failure in self.failures)

    def __str__(self) -> str:
        checks = ", ".join(self.checks)
        if self.of == 1:
            (pair,) = self.pairs
            return f"One pair fails: {pair.source} → {pair.target} ({checks})"
        number = "All" if len(self.pairs) == self.of else f"{len(self.pairs):,} of"
        return f"{number} {count(self.of, 'pair')} that fail {self.shared} ({checks})"


def failure_groups(
    inventory: Inventory, checks: Iterable[Check], *, ignored: frozenset[str] = frozenset()
) -> Iterator[FailureGroup]:
    """Yield groups of failing pairs, by what explains most of them; hosts of `ignored` are told."""
    failed: dict[CheckedPair, dict[str, Check]] = {}
    passed: dict[CheckedPair, None] = {}
    for check in checks:
        pair = _pair(inventory, check)
        if pair is None or check.skipped or pair.hosts & ignored:
            continue
        if check.ok:
            passed[pair] = None
        else:
            failed.setdefault(pair, {}).setdefault(check.check, check)
    right = Counter(key for pair in passed.keys() - failed.keys() for key in _shared_keys(pair))
    rest = list(failed)
    for _ in range(_GROUPS):
        if not rest:
            return
        hits = Counter(key for pair in rest for key in _shared_keys(pair))
        best = max(hits, key=lambda key: _score(key, hits[key], right[key], len(rest)))
        members = tuple(pair for pair in rest if best in _shared_keys(pair))
        failures: dict[str, Check] = {}
        for name, check in (each for pair in members for each in failed[pair].items()):
            failures.setdefault(name, check)
        hosts = best.hosts or tuple(dict.fromkeys(h for p in members for h in sorted(p.hosts)))
        text, firsts = best.text(members), tuple(failures.values())
        yield FailureGroup(text, members, len(failed), firsts, hosts)
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
    if check.on_host or check.end_keys[0] == check.end_keys[1]:
        return None
    source = _end(inventory, check.source, is_host="from" in check.host_ends)
    target = _end(inventory, check.target, is_host="to" in check.host_ends)
    if source is None or target is None:
        return None
    network = source[1].network if source[1] else ""
    return CheckedPair(check.source, check.target, source[0], target[0], network)


def _end(inventory: Inventory, name: str, *, is_host: bool) -> tuple[str, Container | None] | None:
    """The host of an end, and its container; `web/eth1` is an interface of one."""
    container = None if is_host else inventory.members.get(name.partition("/")[0])
    if container is not None:
        return container.host, container
    return (name, None) if name in inventory.hosts else None
