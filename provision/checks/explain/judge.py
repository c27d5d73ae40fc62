"""From the evidence to the hops and one cause. Pure.

The probe is lost between the last point at which it was seen and the next. Each check below asks
for one way to lose it there, those that evidence proves first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from provision.checks.explain import (
    endpoints,
    firewall,
    links,
    lookups,
    mtu,
    nat,
    neighbors,
    nft_rules,
    routing,
    source_checks,
    switching,
    tunnels,
    wireguard,
)
from provision.checks.explain.case import Case
from provision.checks.explain.model import Cause, Hop, Point
from provision.checks.explain.words import by_hand, detail, gap_text, place_text

_L3 = ("send", "answer", "route", "encapsulate")
_ANNOTATIONS = ("nat_rule", "source_check")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the evidence says: whether the target answered, the hops, the cause, and notes."""

    reached: bool
    hops: tuple[Hop, ...]
    cause: Cause | None
    notes: tuple[str, ...]


def judgement(case: Case) -> Judgement:
    """The judgement of all evidence."""
    found = cause(case)
    return Judgement(reached(case, found), hops(case), found, notes(case))


def lookup_lines(case: Case, host: str) -> Callable[[Mapping[str, int]], list[str]]:
    """A function that gives the lines `LABEL PID NUMBER ARGUMENTS` for `ip route get`."""

    def lines(pids: Mapping[str, int]) -> list[str]:
        return [
            f"{point.space} {pids[point.space]} {number} {lookups.lookup(case, number)}"
            for number, point in enumerate(case.points)
            if point.host == host and lookups.lookup(case, number) and point.space in pids
        ]

    return lines


def hops(case: Case) -> tuple[Hop, ...]:
    """The points as hops, each seen or not seen."""
    return tuple(
        Hop(
            point.host,
            place_text(case, point),
            point.device,
            "reply" if point.reply else "request",
            bool(case.packets(point)) if case.watched(point) else None,
            detail(case, number),
            by_hand(case, point),
        )
        for number, point in enumerate(case.points)
    )


def reached(case: Case, cause: Cause | None) -> bool:
    """True if the target itself has answered, not another machine or a paused container."""
    noted = cause is None or (cause.kind in _ANNOTATIONS and case.arrived)
    return case.answered and noted


def notes(case: Case) -> tuple[str, ...]:
    """The observations that hosts could not make."""
    return tuple(
        f"{host}: {problem}"
        for host, evidence in case.evidence.items()
        for problem in dict.fromkeys(evidence.problems)
    )


def cause(case: Case) -> Cause | None:
    """The one cause of the loss; None if the probe was answered."""
    paused = next(endpoints.paused(case), None)
    if paused is not None:
        return paused
    if case.answered:
        stranger = None if case.arrived else next(nat.translations(case), None)
        return stranger or next(nat.masquerades(case), None)
    causes = list(_causes(case))
    certain = [entry for entry in causes if entry.certain]
    return (certain or causes or [_unknown(case)])[0]


def gap(case: Case) -> int:
    """The number of the first point that the probe did not come to."""
    number = case.last_seen + 1
    while number < len(case.points) and case.sealed(case.points[number]):
        number += 1
    if number >= len(case.points) or case.only_large:
        return number
    if case.points[number].step in _L3 and neighbors.unresolved(case, number):
        # The packet waits for ARP: follow the question for the MAC instead.
        address = neighbors.next_hop(case, number)
        while number < len(case.points) and not case.points[number].reply | (
            case.points[number].step == "route" and number > case.last_seen + 1
        ):
            point = case.points[number]
            asked = any(
                (arp.space, arp.device) == (point.space, point.device) and arp.target == address
                and (arp.direction == "out") == point.outgoing and arp.kind == "request"
                for arp in case.of(point.host).arps
            )  # fmt: skip
            if not asked:
                break
            number += 1
    return number


def _causes(case: Case) -> Iterator[Cause]:
    first = case.last_seen + 1
    rest = case.points[max(first - 1, 0) :]
    yield from nat.translations(case)
    yield from firewall.drops(case)
    crosses = any(point.step == "wire" for point in case.points)
    if crosses:
        yield from switching.daemons(case)
    yield from links.down(case, rest)
    yield from endpoints.addresses(case)
    yield from endpoints.listener(case)
    if case.only_large or _too_long(case):
        yield from mtu.too_small(case, first - 1)
        return
    if crosses:
        yield from tunnels.daemons(case)
        yield from tunnels.ends(case)
        yield from wireguard.peers(case)
    if first < len(case.points) and case.points[first].step in _L3:
        yield from routing.routed(case, first)
    yield from endpoints.sending(case)
    yield from links.ports(case, _segment(case, first))
    yield from switching.ports(case)
    last = case.points[max(first - 1, 0)] if first < len(case.points) else case.points[-1]
    following = case.points[first] if first < len(case.points) else None
    missed = case.points[max(gap(case) - 1, 0) : gap(case) + 1]  # ARP may be what was dropped
    around = (last, *([following] if following else []), *missed)
    yield from source_checks.bridge_rules(case, around)
    yield from nft_rules.untraced(case, around)
    yield from firewall.counted(case, last, following, missed)
    yield from tunnels.static_entries(case)
    yield from tunnels.forwards(case)
    yield from tunnels.misdirected(case)
    if first < len(case.points) and case.points[first].step in _L3:
        yield from neighbors.neighbors(case, first)
    for sender in _senders(case, first):
        # The frame may have left with the MAC of another machine.
        yield from routing.routed(case, sender)
        yield from neighbors.neighbors(case, sender)
    yield from neighbors.same_mac(case)
    yield from endpoints.ignored(case)
    yield from wireguard.handshakes(case)


def _senders(case: Case, first: int) -> Iterator[int]:
    """The points before a gap at which a MAC was chosen for the packet, or for its tunnel's."""
    inner = [n for n in range(first) if case.points[n].step in ("send", "answer", "route")]
    for number in range(inner[-1] if inner else first, first):
        if case.points[number].step in _L3:
            yield number


def _too_long(case: Case) -> bool:
    return any(number == 90 for number, _ in case.sent.errors)  # EMSGSIZE


def _segment(case: Case, first: int) -> Iterable[Point]:
    """The points from a gap to the next router: a frame passes them all, and so does ARP."""
    start = max(first - 1, 0)
    for number, point in enumerate(case.points[start:], start):
        if number > first and point.step in ("route", "answer"):
            return
        yield point


def _unknown(case: Case) -> Cause:
    number = gap(case)
    text = gap_text(case, number)
    wire = number < len(case.points) and case.points[number].step == "wire" and number > 0
    host = case.points[min(number, len(case.points) - 1)].host if case.points else ""
    return Cause(
        host, "underlay_down" if wire else "unknown", text[0], text[1], "unknown",
        by_hand(case, case.points[min(number, len(case.points) - 1)]), certain=False,
    )  # fmt: skip
