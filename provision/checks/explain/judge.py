"""From the evidence to the hops and one cause. Pure.

The probe is lost between the last point at which it was seen and the next. Each check below asks
for one way to lose it there, those that evidence proves first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from provision.checks.explain import firewall, links, mtu, routing, tunnels
from provision.checks.explain.case import Case
from provision.checks.explain.ends import End
from provision.checks.explain.model import HOST, Cause, Hop, Point
from provision.checks.explain.words import by_hand, detail, gap_text, place_text
from provision.facts.topology import HostTopology
from provision.model.errors import HostError
from provision.model.inventory import Inventory

_L3 = ("send", "answer", "route", "encapsulate")
_ANNOTATIONS = ("nat_rule", "source_check")


def before(
    inventory: Inventory, source: End, target: End, topologies: Mapping[str, HostTopology],
    errors: Mapping[str, HostError],
) -> Cause | None:  # fmt: skip
    """The cause that is certain before anything is sent; None if the probe can be sent."""
    for end in (source, target):
        if end.host in errors and (end is source or end.container):
            error = errors[end.host]
            return Cause(
                end.host, "host_unreachable", end.host,
                f"{end.host} cannot be asked: {error.message}", "a person",
                error.hint or f"ssh {end.host}", certain=False,
            )  # fmt: skip
    for end in (source, target):
        known = end.container is not None and end.host in topologies
        if known and (reason := _not_running(inventory, end, topologies[end.host])):
            return reason
    return None


def _not_running(inventory: Inventory, end: End, topology: HostTopology) -> Cause | None:
    name, apply = end.name, f"provision apply {inventory.path.name}"
    if topology.docker_error:
        return Cause(
            end.host, "docker_down", "docker.service",
            f"Docker of {end.host} does not answer, so {name} does not run: "
            f"{topology.docker_error}", "a person", "systemctl start docker",
        )  # fmt: skip
    info = topology.containers.get(name)
    if info is None:
        return Cause(
            end.host, "drift", f"container {name}", f"{end.host} has no container {name}",
            "provision", apply,
        )  # fmt: skip
    if not info.net:
        return Cause(
            end.host, "container_stopped", f"container {name} ({info.status})",
            f"the container {name} on {end.host} does not run: its state is {info.status}",
            "a person", f"docker start {name}",
        )  # fmt: skip
    space = topology.namespaces[info.net]
    separate = info.net != topology.root.inode
    links_ = [link for link in space.links if link.name != "lo"]
    if separate and not space.addresses - {
        a for link in space.links if link.name == "lo" for a in (h.ip for h in link.addresses)
    }:
        if info.mode == "none" and not links_:
            return Cause(
                end.host, "address_missing", f"container {name}",
                f"{name} has the network mode none: it has no interface but lo", "provision",
                f"give {name} a network or interfaces in {inventory.path.name}",
            )  # fmt: skip
        return Cause(
            end.host, "address_missing", f"address of {name}",
            f"no interface of the container {name} on {end.host} has an IPv4 address", "a person",
            f"docker restart {name}",
        )  # fmt: skip
    return None


def without_address(inventory: Inventory, target: End) -> Cause:
    """The cause if the target has no address that the source can send to."""
    return Cause(
        target.host, "address_missing", target.name,
        f"{target.name} has no IPv4 address that a packet could be sent to", "a person",
        f"provision apply {inventory.path.name}", certain=False,
    )  # fmt: skip


def lookups(case: Case, host: str) -> Callable[[Mapping[str, int]], list[str]]:
    """A function that gives the lines `LABEL PID NUMBER ARGUMENTS` for `ip route get`."""

    def lines(pids: Mapping[str, int]) -> list[str]:
        return [
            f"{point.space} {pids[point.space]} {number} {routing.lookup(case, number)}"
            for number, point in enumerate(case.points)
            if point.host == host and routing.lookup(case, number) and point.space in pids
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


def stops(cause: Cause | None) -> bool:
    """True if the cause means that the target is not reached, although a packet arrived."""
    return cause is not None and cause.kind not in _ANNOTATIONS


def notes(case: Case) -> tuple[str, ...]:
    """The observations that hosts could not make."""
    return tuple(
        f"{host}: {problem}"
        for host, evidence in case.evidence.items()
        for problem in dict.fromkeys(evidence.problems)
    )


def cause(case: Case) -> Cause | None:
    """The one cause of the loss; None if the probe was answered."""
    paused = next(_paused(case), None)
    if paused is not None:
        return paused
    if case.answered:
        stranger = None if _arrived(case) else next(firewall.translations(case), None)
        return stranger or next(firewall.masquerades(case), None)
    causes = list(_causes(case))
    certain = [entry for entry in causes if entry.certain]
    return (certain or causes or [_unknown(case)])[0]


def _arrived(case: Case) -> bool:
    """True unless the target's sniffers show that something else has answered."""
    requests = [point for point in case.points if not point.reply]
    last = requests[-1] if case.target_side and requests else None
    return last is None or not case.watched(last) or bool(case.packets(last))


def _paused(case: Case) -> Iterator[Cause]:
    for end in (case.target, case.source):
        topology = case.topologies.get(end.host)
        info = topology.containers.get(end.name) if topology and end.container else None
        if info is not None and info.status == "paused":
            yield Cause(
                end.host, "container_paused", f"container {end.name}",
                f"the container {end.name} on {end.host} is paused: its kernel answers pings, its "
                "programs do not", "a person", f"docker unpause {end.name}",
            )  # fmt: skip


def gap(case: Case) -> int:
    """The number of the first point that the probe did not come to."""
    number = case.last_seen + 1
    if number >= len(case.points) or case.only_large:
        return number
    if case.points[number].step in _L3 and links.unresolved(case, number):
        # The packet waits for ARP: follow the question for the MAC instead.
        address = links.next_hop(case, number)
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
    yield from firewall.drops(case)
    yield from links.down(case, rest)
    yield from _addresses(case)
    yield from _listener(case)
    yield from firewall.translations(case)
    if case.only_large or _too_long(case):
        yield from mtu.too_small(case, first - 1)
        return
    crosses = any(point.step == "wire" for point in case.points)
    if crosses:
        yield from tunnels.daemons(case)
        yield from tunnels.ends(case)
    if first < len(case.points) and case.points[first].step in _L3:
        yield from routing.routed(case, first)
    yield from _sending(case)
    yield from links.ports(case, _segment(case, first))
    if first < len(case.points):
        yield from firewall.counted(case, case.points[max(first - 1, 0)], case.points[first])
    else:
        yield from firewall.counted(case, case.points[-1], None)
    yield from tunnels.static_entries(case)
    yield from tunnels.forwards(case)
    yield from tunnels.misdirected(case)
    if first < len(case.points) and case.points[first].step in _L3:
        yield from links.neighbors(case, first)
    for sender in _senders(case, first):
        # The frame may have left with the MAC of another machine.
        yield from routing.routed(case, sender)
        yield from links.neighbors(case, sender)
    yield from links.same_mac(case)
    yield from _ignored(case)


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


def _listener(case: Case) -> Iterator[Cause]:
    if case.probe.protocol == "icmp" or not case.sent.refused or case.target_side is None:
        return
    side = case.target_side
    name = side.end_space.label.removeprefix("+") if side.end_space.label != HOST else side.host
    port = case.inner_port
    enter = "" if side.end_space.label == HOST else f"nsenter -t {side.end_space.pid} -n "
    if case.of(side.host).space(side.end_space.label).listeners:
        return
    yield Cause(
        side.host, "no_listener", f"{case.probe.protocol}/{port} of {name}",
        f"the packet arrives, and no program of {name} listens at its "
        f"{case.probe.protocol} port {port}",
        "a person", f"{enter}ss -lntup",
    )  # fmt: skip


def _sending(case: Case) -> Iterator[Cause]:
    """Yield what the kernel of the source said when the probe was sent."""
    if case.last_seen >= 0 or not case.points:
        return
    point = case.points[0]
    for number, text in case.sent.errors:
        if number == 1:  # EPERM: netfilter's OUTPUT dropped it
            kind = "container_firewall" if point.space != HOST else "firewall_rule"
            counted = list(firewall.counted(case, point, None))
            yield from counted
            if not counted:
                yield Cause(
                    point.host, kind, "chain OUTPUT",
                    f"a rule of the chain OUTPUT of {point.space.removeprefix('+')} refuses the "
                    f"probe ({text})", "a person", "iptables -S OUTPUT", certain=False,
                )  # fmt: skip


def _ignored(case: Case) -> Iterator[Cause]:
    side = case.target_side
    if side is None or case.probe.protocol != "icmp":
        return
    sysctls = case.of(side.host).space(side.end_space.label).sysctls
    if sysctls.get("net/ipv4/icmp_echo_ignore_all") == "1":
        name = "net.ipv4.icmp_echo_ignore_all"
        inside = side.end_space.label != HOST
        yield Cause(
            side.host, "container_firewall" if inside else "firewall_rule", f"{name} = 1",
            f"{side.end_space.label.removeprefix('+')} answers no ping: {name} is 1", "a person",
            f"sysctl -w {name}=0",
        )  # fmt: skip


def _addresses(case: Case) -> Iterator[Cause]:
    """Yield hosts on the way that lack the address by which their peers reach them."""
    for side in tunnels.sides(case):
        host = case.inventory.hosts[side.host]
        if host.address not in side.topology.root.addresses:
            yield Cause(
                side.host, "address_missing", f"address {host.address} of {side.nic[0]}",
                f"no interface of {side.host} has its address {host.address}", "a person",
                f"ip address add {host.address} dev {side.nic[0]}",
            )  # fmt: skip


def _unknown(case: Case) -> Cause:
    number = gap(case)
    text = gap_text(case, number)
    wire = number < len(case.points) and case.points[number].step == "wire" and number > 0
    host = case.points[min(number, len(case.points) - 1)].host if case.points else ""
    return Cause(
        host, "underlay_down" if wire else "unknown", text[0], text[1], "unknown",
        by_hand(case, case.points[min(number, len(case.points) - 1)]), certain=False,
    )  # fmt: skip
