"""The words of an explanation, for people at a terminal of 80 columns. Pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from ipaddress import IPv4Address

from provision.checks.explain import lookups
from provision.checks.explain.case import Case
from provision.checks.explain.model import HOST, Explanation, Hop, Point
from provision.model.text import count

_SEEN_TEXTS = {True: "seen", False: "NOT SEEN", None: "not watched"}
_WIDTH = 80


def place_text(case: Case, point: Point) -> str:
    """The place of a point: the container, or the host's part that the device belongs to."""
    if point.space != HOST:
        return point.space.removeprefix("+")
    link = case.link(point)
    if link is not None and link.master:
        return f"port of {link.master}"
    return "host"


def detail(case: Case, number: int) -> str:
    """What happens to the packet before it is at a point."""
    point = case.points[number]
    parts = [_step(case, number)]
    packets = case.packets(point)
    tunnels = {packet.tunnel for packet in packets} - {"plain"}
    parts += [f"in {tunnel}" for tunnel in sorted(tunnels)]
    parts += _rules(case, number)
    if packets and packets[0].inner != _inner_before(case, number):
        source, target = packets[0].inner
        parts.append(f"{source} → {target}")
    return ", ".join(part for part in parts if part)


def _inner_before(case: Case, number: int) -> tuple[IPv4Address, IPv4Address] | None:
    """The addresses of the packet at the point before, of the same direction."""
    before = case.points[number - 1] if number else None
    if before is None or before.reply != case.points[number].reply:
        return None
    packets = case.packets(before)
    return packets[0].inner if packets else None


def _step(case: Case, number: int) -> str:
    point = case.points[number]
    if point.step in ("route", "send", "answer", "encapsulate"):
        answer = lookups.result(case, number)
        if answer.startswith("["):
            route = json.loads(answer)[0]
            gateway = f" via {route['gateway']}" if route.get("gateway") else ""
            return f"route {route.get('dst')}{gateway} dev {route.get('dev')}"
        if answer:
            return f"no route: {answer.removeprefix('RTNETLINK answers: ').strip()}"
    texts = {
        "veth": "other end of the veth pair",
        "bridge": "by the bridge",
        "wire": "from the other host",
        "decapsulate": "unpacked from the tunnel",
        "receive": "received",
        "macvlan": "macvlan",
    }
    return texts.get(point.step, point.step)


def _rules(case: Case, number: int) -> list[str]:
    """The rules that accepted the packet when the host forwarded it."""
    point = case.points[number]
    if point.step != "route" or point.space != HOST:
        return []
    source, target = (str(a) for a in lookups.addresses(case, number))
    texts = []
    for verdict in case.of(point.host).verdicts:
        packet = verdict.packet
        same = (packet.get("SRC"), packet.get("DST")) == (source, target)
        if same and verdict.table == "filter" and verdict.verdict == "ACCEPT":
            texts.append(f"{verdict.chain} accepts")
    return list(dict.fromkeys(texts))


def by_hand(case: Case, point: Point) -> str:
    """The command by which a person sees the packets of a point."""
    match = f"{case.probe.protocol}"
    if case.probe.port:
        match += f" port {case.probe.port}"
    tcpdump = f"tcpdump -nei {point.device} {match}"
    packets = case.of(point.host).at(point)
    if any(packet.tunnel != "plain" for packet in packets):
        tcpdump = f"tcpdump -nei {point.device} udp or proto 47"
    if point.space == HOST:
        return tcpdump
    name = point.space.removeprefix("+")
    return f"nsenter -t $(docker inspect -f '{{{{.State.Pid}}}}' {name}) -n {tcpdump}"


def point_name(point: Point) -> str:
    """A short name of a point."""
    container = "" if point.space == HOST else f"{point.space.removeprefix('+')} "
    return f"{point.host} {container}{point.device}"


def gap_text(case: Case, number: int) -> tuple[str, str]:
    """The two points between which the probe was lost, short and as a sentence."""
    packet = "answer" if number < len(case.points) and case.points[number].reply else "probe"
    if number == 0:
        name = point_name(case.points[0]) if case.points else case.source.name
        return name, f"the probe did not leave {name}; the evidence does not show why"
    last = case.points[number - 1]
    if number >= len(case.points):
        return point_name(last), (
            f"the answer came to {point_name(last)}, and {case.source.name} did not get it"
        )
    after = case.points[number]
    unseen = "" if case.watched(after) else f" ({after.host} could not be watched)"
    return f"{point_name(last)} → {point_name(after)}", (
        f"the {packet} was last seen at {point_name(last)}, and did not come to "
        f"{point_name(after)}{unseen}; the evidence does not show why"
    )


def headline(explanation: Explanation) -> str:
    """The ends, the probe and the verdict in one line."""
    verdict = "reached" if explanation.reached else "NOT reached"
    return (
        f"{explanation.source} → {explanation.target} by {explanation.probe}: {verdict} "
        f"({explanation.seconds:.1f} s)"
    )


def lines(explanation: Explanation) -> Iterator[str]:
    """The explanation as text."""
    yield headline(explanation)
    request = [hop for hop in explanation.hops if hop.direction == "request"]
    reply = [hop for hop in explanation.hops if hop.direction == "reply"]
    if request:
        yield from ("The probe:", *_hops(request))
    # A probe that did not arrive has no answer whose devices could say anything.
    if reply and (not request or request[-1].seen or any(hop.seen for hop in reply)):
        yield from ("Its answer:", *_hops(reply))
    for host, error in explanation.errors.items():
        yield f"{host} could not be asked: {error.message}"
    for note in explanation.notes:
        yield from _wrapped(note, "Note: ")
    yield from _cause(explanation)


def _hops(hops: list[Hop]) -> Iterator[str]:
    """Each hop, but of those behind the last that was seen only the first."""
    last = max((number for number, hop in enumerate(hops) if hop.seen), default=-1)
    for hop in hops[: last + 2]:
        yield from _hop(hop)
    rest = len(hops) - last - 2
    if rest > 0:
        yield f"  {'':<11} and {count(rest, 'device')} after it"


def _hop(hop: Hop) -> Iterator[str]:
    if hop.place.startswith("port of "):
        name = f"{hop.host} {hop.device} ({hop.place})"
    else:
        name = f"{hop.host} {hop.place} {hop.device}".replace(" host ", " ")
    yield from _wrapped(f"{name}: {hop.detail}", f"  {_SEEN_TEXTS[hop.seen]:<11} ")


def _cause(explanation: Explanation) -> Iterator[str]:
    cause = explanation.cause
    if cause is None:
        return
    title = "Cause: " if not explanation.reached else "Note: "
    yield from _wrapped(cause.text, title if cause.certain else "Perhaps: ")
    yield f"  kind {cause.kind} on {cause.host}, owner: {cause.owner}"
    # Commands are not wrapped: a reader copies them.
    if cause.object not in cause.text:
        yield f"  object: {cause.object}"
    yield f"  fix: {cause.fix}"


def _wrapped(text: str, head: str) -> list[str]:
    indent = " " * len(head)
    return textwrap.wrap(
        text, _WIDTH, initial_indent=head, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
