"""The ordered pairs that a verify checks: all of them, or a sample. Pure: the seed is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from provision.model.errors import UsageError

ALL_UP_TO = 50
"""Containers of which all pairs are checked by default."""
DEFAULT_OTHERS = 4
"""Random targets of each source in the default sample of more containers."""
MOST_OTHERS = 10_000

Member = TypeVar("Member", bound=Hashable)


@dataclass(frozen=True, slots=True)
class PairChoice:
    """The choice of --pairs.

    `others` is the number of random targets of each source, besides the ring in which each host is
    source and target once; None: all pairs. Equal seeds choose equal pairs of equal members.
    """

    others: int | None = None
    seed: int = 0

    def __str__(self) -> str:
        match self.others:
            case None:
                return "all"
            case 0:
                return "hosts"
            case others:
                return f"sample:{others}"

    @property
    def arguments(self) -> str:
        """The options that make the same choice again."""
        return f"--pairs {self} --seed {self.seed}" if self.others else f"--pairs {self}"

    def targets(
        self, members: Sequence[Member], host: Callable[[Member], str], name: str
    ) -> Mapping[Member, tuple[Member, ...]]:
        """The targets of each member, in the order of `members`; `name` is that of the group."""
        if self.others is None:
            return {source: tuple(m for m in members if m is not source) for source in members}
        following = dict(_ring(members, host))
        return {
            source: tuple(members[index] for index in sorted(chosen))
            for source, chosen in self._sampled(members, following, name)
        }

    def _sampled(
        self, members: Sequence[Member], following: Mapping[int, int], name: str
    ) -> Iterator[tuple[Member, set[int]]]:
        """Yield each source with the indices of its targets."""
        random, others = Random(f"{self.seed} {name}"), self.others or 0
        for index, source in enumerate(members):
            ring = {following[index]} if index in following else set()
            # Two more than needed, because the source and its target in the ring may be drawn.
            drawn = random.sample(range(len(members)), min(others + 2, len(members)))
            fresh = [number for number in drawn if number != index and number not in ring]
            yield source, ring | set(fresh[:others])

    def callers(self, candidates: Sequence[Member], neighbour: Member, name: str) -> list[Member]:
        """The callers of a published port: `neighbour`, and random ones of the others."""
        if self.others is None:
            return list(candidates)
        rest = [candidate for candidate in candidates if candidate != neighbour]
        random = Random(f"{self.seed} {name}")
        chosen = {neighbour, *random.sample(rest, min(self.others, len(rest)))}
        return [candidate for candidate in candidates if candidate in chosen]


ALL_PAIRS = PairChoice()


def _ring(members: Iterable[Member], host: Callable[[Member], str]) -> Iterator[tuple[int, int]]:
    """Yield indices of source and target: the first member of each host, and of the next host."""
    first: dict[str, int] = {}
    for index, member in enumerate(members):
        first.setdefault(host(member), index)
    ring = list(first.values())
    if len(ring) > 1:
        yield from zip(ring, (*ring[1:], ring[0]), strict=True)


def choice(text: str | None, seed: int | None, *, containers: int, fresh_seed: int) -> PairChoice:
    """The choice of the options --pairs and --seed, which may be missing. Raises UsageError.

    `containers` is the number of containers to verify. `fresh_seed` is used if no seed is given.
    """
    if text is None:
        others = None if containers <= ALL_UP_TO else DEFAULT_OTHERS
    else:
        others = _others(text)
    if seed is not None and text is not None and not others:
        raise UsageError(
            f"--seed {seed}: --pairs {text} draws no pairs",
            "leave it out, or use --pairs sample:K",
        )
    return PairChoice(others, (fresh_seed if seed is None else seed) if others else 0)


def _others(text: str) -> int | None:
    if text in ("all", "hosts"):
        return None if text == "all" else 0
    match = re.fullmatch(r"sample:([0-9]{1,5})", text)
    if match is None or not 1 <= int(match[1]) <= MOST_OTHERS:
        raise UsageError(
            f"--pairs {text}: no such choice of pairs",
            f"use all, hosts, or sample:K with K from 1 to {MOST_OTHERS:,}, such as sample:4",
        )
    return int(match[1])
