"""Causes of lost large packets: an interface whose MTU is too small, or too large. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.explain.case import Case
from provision.checks.explain.model import Cause, Point

_OVERHEADS = {"vxlan": 50, "gre": 42, "udp": 28}
"""Bytes that each tunnel adds to a packet."""
_LONGEST = 9000


def largest(case: Case) -> int:
    """The size of a probe that fills a packet of the source, at most 9000; 0 if it is unknown.

    A host sends packets of its NIC's MTU to a container, whose network may have a tunnel between
    others. It learns the smaller size by ICMP, as every sender does: that loss is no fault.
    """
    side, far = case.source_side, case.target_side
    device = side.link or side.topology.root.link(next((p.device for p in case.points), ""))
    bridge = far.topology.root.link(far.bridge) if far and far.link and not side.link else None
    sizes = [link.mtu for link in (device, bridge) if link] if device else [0]
    return min(*sizes, _LONGEST)


def too_small(case: Case, number: int) -> Iterator[Cause]:
    """Yield the interface whose MTU is less than the packets that were lost at a point."""
    side = case.source_side
    bridge = side.topology.root.link(side.bridge) if side.link else None
    far = case.target_side.link if case.target_side else None
    raised = side.link is not None and (far is None or side.link.mtu > far.mtu)
    if raised and side.link is not None and bridge is not None and side.link.mtu > bridge.mtu:
        yield _mtu(case, case.points[0], side.link.mtu, bridge.mtu)
    for point in case.points[max(number, 0) :]:
        link = case.space(point).link(point.device)
        mtu = int(link["mtu"]) if link else 0
        if mtu and mtu < case.large + _overhead(case, point):
            yield _mtu(case, point, mtu, case.large + _overhead(case, point))


def _overhead(case: Case, point: Point) -> int:
    tunnels = {p.tunnel.partition(":")[0] for p in case.of(point.host).at(point)}
    return max((_OVERHEADS.get(tunnel, 0) for tunnel in tunnels), default=0)


def _mtu(case: Case, point: Point, mtu: int, right: int) -> Cause:
    relation = "more than its bridge's" if mtu > right else "less than"
    return Cause(
        point.host, "mtu", f"mtu {mtu} of {point.device}",
        f"small packets arrive, and those of size {case.large} are lost: {point.device} of "
        f"{point.location} has the MTU {mtu}, {relation} {right}", "a person",
        point.enter + f"ip link set dev {point.device} mtu {right}",
    )  # fmt: skip
