"""Causes between neighbours: a MAC that is wrong, unknown, or there twice. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from provision.checks.explain import lookups
from provision.checks.explain.case import Case
from provision.checks.explain.model import HOST, Cause, Point

_UNRESOLVED = ("FAILED", "INCOMPLETE")


def next_hop(case: Case, number: int) -> IPv4Address | None:
    """The neighbour to which the kernel sends the packet at a point of the path."""
    answer = lookups.result(case, number)
    if not answer.startswith("["):
        return None
    route = json.loads(answer)[0]
    _, target = lookups.addresses(case, number)
    gateway = route.get("gateway")
    return IPv4Address(gateway) if gateway else target


def neighbors(case: Case, number: int) -> Iterator[Cause]:
    """Yield a neighbour that is wrong or does not answer."""
    point, address = case.points[number], next_hop(case, number)
    if address is None:
        return
    device = _device(case, number)
    entry = case.space(point).neighbor(address, device)
    macs = _macs(case, address)
    state = ",".join(entry.get("state", ())) if entry else ""
    mac = str(entry.get("lladdr", "")) if entry else ""
    static = "PERMANENT" in state
    command = f"{point.enter}ip neigh del {address} dev {device}"
    if mac and macs and mac not in macs and not any(s in state for s in _UNRESOLVED):
        yield from _wrong_mac(case, point, address, mac, macs, command, static=static)
    elif entry is not None and any(s in state for s in (*_UNRESOLVED, "NOARP")) and not mac:
        yield from _unanswered(case, point, address, macs)


def _device(case: Case, number: int) -> str:
    """The device by which the kernel sends the packet at a point of the path."""
    route = json.loads(lookups.result(case, number))[0]
    return str(route.get("dev", case.points[number].device))


def _macs(case: Case, address: IPv4Address) -> dict[str, str]:
    """The MACs of the interfaces that have an address, on the hosts that were asked."""
    macs = {}
    for host, topology in case.topologies.items():
        names = {c.net: f"{c.name} on " for c in topology.namespace_owners()}
        for space in topology.namespaces.values():
            for link in space.links:
                if any(address == held.ip for held in link.addresses):
                    macs[link.mac] = f"{link.name} of {names.get(space.inode, '')}{host}"
    return macs


def _wrong_mac(
    case: Case, point: Point, address: IPv4Address, mac: str, macs: Mapping[str, str],
    command: str, *, static: bool,
) -> Iterator[Cause]:  # fmt: skip
    right = next(iter(macs))
    kind = "neighbor_failed" if static else "duplicate_address"
    text = (
        f"{point.location} has {mac} as the MAC of {address}, but {macs[right]}, which has this "
        f"address, has {right}"
    )
    if not static:
        text += ": another machine answers for it"
    yield Cause(
        point.host, kind, f"ip neigh {address} dev {point.device} lladdr {mac}", text,
        "a person", command, certain=static or _answers(case, address, mac),
    )  # fmt: skip


def _answers(case: Case, address: IPv4Address, mac: str) -> bool:
    return any(
        arp.sender == address and arp.mac == mac and arp.kind == "reply"
        for evidence in case.evidence.values()
        for arp in evidence.arps
    )


def _unanswered(
    case: Case, point: Point, address: IPv4Address, macs: Mapping[str, str]
) -> Iterator[Cause]:
    if not macs:
        owner = _expected_holder(case, address)
        if owner is not None:
            host, device = owner
            yield Cause(
                host, "address_missing", f"address {address} of {device}",
                f"no interface has the address {address}: {device} of {host} should", "provision",
                case.apply,
            )  # fmt: skip
            return
    yield Cause(
        point.host, "neighbor_failed", f"ip neigh {address} dev {point.device}",
        f"{point.location} asks for the MAC of {address} by ARP at {point.device}, and gets no "
        "answer", "a person", f"{point.enter}ip neigh show dev {point.device}",
        certain=False,
    )  # fmt: skip


def _expected_holder(case: Case, address: IPv4Address) -> tuple[str, str] | None:
    """The host and interface that should have an address that nobody has."""
    for side in (case.source_side, case.target_side):
        if side is None:
            continue
        host = case.inventory.hosts[side.host]
        if host.address == address:
            return side.host, side.nic[0]
        routes = side.end_space.space.routes
        if side.bridge and any(route.via == str(address) for route in routes):
            return side.host, side.bridge
    return None


def unresolved(case: Case, number: int) -> bool:
    """True if the packet at a point waits for the MAC of its next hop."""
    point, address = case.points[number], next_hop(case, number)
    entry = case.space(point).neighbor(address, _device(case, number)) if address else None
    return entry is not None and any(s in _UNRESOLVED for s in entry.get("state", ()))


def same_mac(case: Case) -> Iterator[Cause]:
    """Yield a MAC that two interfaces of the path have, on two hosts or containers."""
    holders: dict[str, Point] = {}
    for point in case.points:
        link = case.space(point).link(point.device)
        mac = str(link.get("address", "")) if link else ""
        if point.step not in ("send", "answer", "wire") or len(mac) != 17:
            continue
        first = holders.setdefault(mac, point)
        if (first.host, first.space, first.device) != (point.host, point.space, point.device):
            if first.space == point.space == HOST and first.host == point.host:
                continue
            yield Cause(
                point.host, "duplicate_mac", f"MAC {mac}",
                f"{first.device} of {first.location} and {point.device} of {point.location} both "
                f"have the MAC {mac}", "a person",
                f"ip link show dev {point.device}",
            )  # fmt: skip
