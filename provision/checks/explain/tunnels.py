"""Causes in tunnels, in the forwarding database, and on the link between the hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from provision import methods
from provision.checks.explain.case import Case
from provision.checks.explain.model import HOST, Cause
from provision.checks.explain.sides import Side
from provision.facts.topology import TunnelEnd

_ANY = "00:00:00:00:00:00"


def sides(case: Case) -> Iterator[Side]:
    """Yield the ends that are on hosts of the inventory."""
    yield case.source_side
    if case.target_side is not None and case.target_side.host != case.source_side.host:
        yield case.target_side


def daemons(case: Case) -> Iterator[Cause]:
    """Yield units of provision that do not run, such as flanneld's."""
    for side in sides(case):
        units = case.of(side.host).units
        mark = f"provision-{case.inventory.name}-{case.network.name}-" if case.network else "\n"
        for unit, state in units.items():
            if unit.startswith(mark) and state != "active":
                yield _stopped(side.host, unit, state, certain=False)


def _stopped(host: str, unit: str, state: str, *, certain: bool) -> Cause:
    return Cause(
        host, "daemon_down", unit, f"{unit} of {host} does not run (its state is {state})",
        "provision", f"systemctl enable --now {unit}", certain=certain,
    )  # fmt: skip


def table_service(case: Case) -> str:
    """The service that fills the network's table; empty: none does."""
    method = methods.of(case.network) if case.network else None
    return method.table_service(case.inventory, case.network) if method and case.network else ""


def untold(case: Case, host: str) -> Cause | None:
    """The cause of an entry that is missing in a table which a service of `host` fills.

    It does not run there, or on the other host, which does not announce its part then.
    """
    service = table_service(case)
    for name in sorted((side.host for side in sides(case)), key=lambda name: name != host):
        state = case.of(name).units.get(service, "active")
        if service and state != "active":
            return _stopped(name, service, state, certain=True)
    return None


def _declared(case: Case) -> bool:
    return bool(case.network and methods.of(case.network).tunnel(case.network))


def ends(case: Case) -> Iterator[Cause]:
    """Yield ends of the tunnel that are missing, do not work, or do not fit each other."""
    if case.network is None or case.target_side is None or not _declared(case):
        return
    if case.source_side.host == case.target_side.host:
        return
    hosts = case.inventory.hosts
    both: list[tuple[Side, TunnelEnd | None, IPv4Address]] = []
    for side, far in ((case.source_side, case.target_side), (case.target_side, case.source_side)):
        both.append((side, _to(side, hosts[far.host].address), hosts[far.host].address))
    stopped = {cause.host for cause in daemons(case)}
    for side, end, peer in both:
        if end is None:
            if _optional(case) or side.host in stopped:
                continue
            yield _end_cause(case, side, f"tunnel to {peer}", f"has no tunnel to {peer}")
        elif end.error:
            yield _end_cause(case, side, f"{end.name}: {end.error}", f"has the tunnel {end.name}, "
                             f"which does not work: {end.error}")  # fmt: skip
    yield from _ports(case)
    (near, first, _), (far_side, second, _) = both
    if first and second and first.key != second.key:
        text = f"sends with the key {first.key or 0}, and {far_side.host} with {second.key or 0}"
        odd = _odd(case, near, first, far_side, second)
        yield _end_cause(case, odd, f"key {first.key or 0} and {second.key or 0}", text)


def _ports(case: Case) -> Iterator[Cause]:
    """Yield devices of the kernel that use another UDP port than the network's."""
    declared = methods.of(case.network).tunnel(case.network) if case.network else None
    for side in sides(case):
        device = side.tunnel.device if side.tunnel else ""
        link = case.of(side.host).space(HOST).link(device) or {}
        port = link.get("linkinfo", {}).get("info_data", {}).get("port", 0)
        if declared and declared.port and port and port != declared.port:
            text = f"has {device} at the UDP port {port}, and the network uses {declared.port}"
            yield _end_cause(case, side, f"UDP port {port} of {device}", text)


def _odd(case: Case, near: Side, first: TunnelEnd, far: Side, second: TunnelEnd) -> Side:
    """The side whose key differs from that of its other tunnels, else the far side."""
    keys = [e.key for e in near.topology.tunnels if e.kind == first.kind and e is not first]
    del case, second
    return near if keys and first.key not in keys else far


def _optional(case: Case) -> bool:
    declared = methods.of(case.network).tunnel(case.network) if case.network else None
    return bool(declared and declared.optional)


def _to(side: Side, peer: IPv4Address) -> TunnelEnd | None:
    """The host's end of the tunnel to a peer."""
    tunnel = side.tunnel
    if tunnel is None or tunnel.device:
        return tunnel
    ports = [e for e in side.topology.tunnels if e.bridge == tunnel.bridge and not e.device]
    return next((end for end in ports if peer in end.remotes), None)


def _end_cause(case: Case, side: Side, name: str, text: str) -> Cause:
    return Cause(
        side.host, "tunnel_device", name, f"{side.host} {text}", "a person", case.apply
    )  # fmt: skip


def forwards(case: Case) -> Iterator[Cause]:
    """Yield entries of the forwarding database that are missing or lead to another host."""
    if case.network is None or case.target_side is None:
        return
    hosts = case.inventory.hosts
    pairs = ((case.source_side, case.target_side), (case.target_side, case.source_side))
    for side, far in pairs if case.source_side.host != case.target_side.host else ():
        tunnel, peer = side.tunnel, hosts[far.host].address
        if tunnel is None or tunnel.kind != "vxlan" or not tunnel.device:
            continue
        lines = [line for line in case.of(side.host).space(HOST).fdb if "dst" in line.split()]
        entries = [line.split() for line in lines if f"dev {tunnel.device} " in f"{line} "]
        mac = _far_mac(case, side, far, tunnel)
        exact = [e for e in entries if e[0] == mac and "dst" in e]
        floods = [e for e in entries if e[0] == _ANY]
        chosen = exact or floods
        remotes = [e[e.index("dst") + 1] for e in chosen]
        if str(peer) in remotes:
            continue
        if stopped := untold(case, side.host):
            yield stopped
            continue
        wrong = f"leads to {', '.join(remotes)}" if exact else "is missing"
        service = table_service(case)
        wrong += f"; {service} fills it" if service else ""
        yield Cause(
            side.host, "fdb", f"bridge fdb {mac if exact else _ANY} dev {tunnel.device}",
            f"{side.host} does not send frames for {far.host} to {peer}: the entry of "
            f"{mac if exact else _ANY} in the forwarding database of {tunnel.device} {wrong}",
            "FRR" if service else "a person" if exact else "provision",
            # Whose FRR is in the way, only the sessions tell.
            f"provision verify {case.inventory.argument} -k sessions" if service else case.apply,
        )  # fmt: skip


def _far_mac(case: Case, side: Side, far: Side, tunnel: TunnelEnd) -> str:
    """The destination MAC of frames in the tunnel: that of the container, or of the far device."""
    assert case.network is not None
    if methods.of(case.network).single_l2(case.network):
        return far.link.mac if far.link else ""
    end = far.tunnel
    link = far.topology.root.link(end.device) if end else None
    del side, tunnel
    return link.mac if link else ""


def static_entries(case: Case) -> Iterator[Cause]:
    """Yield static entries of a bridge that send the frames of an end to another port."""
    for side in (case.source_side, case.target_side):
        if side is None or side.link is None or side.host_end is None:
            continue
        for line in case.of(side.host).space(HOST).fdb:
            fields = line.split()
            device = fields[fields.index("dev") + 1] if "dev" in fields else ""
            fixed = "static" in fields or "permanent" in fields
            if fields[0] == side.link.mac and fixed and device != side.host_end.name:
                yield Cause(
                    side.host, "fdb", f"bridge fdb {line}",
                    f"bridge {side.bridge} of {side.host} sends frames for {side.link.mac} to "
                    f"{device}, not to {side.host_end.name}", "a person",
                    f"bridge fdb del {fields[0]} dev {device} master",
                )  # fmt: skip


def misdirected(case: Case) -> Iterator[Cause]:
    """Yield tunnels whose packets leave for another host than the target's."""
    if case.target_side is None or case.source_side.host == case.target_side.host:
        return
    hosts = case.inventory.hosts
    path_ends = {hosts[side.host].address for side in (case.source_side, case.target_side)}
    for host in (case.source_side.host, case.target_side.host):
        remotes = {
            packet.outer[1] for packet in case.of(host).packets
            if packet.tunnel != "plain" and packet.space == HOST and packet.direction == "out"
        }  # fmt: skip
        # A frame to a MAC that no bridge has learned goes to all hosts: also to the right one.
        if remotes and not remotes & path_ends:
            wrong = min(remotes)
            yield Cause(
                host, "tunnel_device", f"tunnel to {wrong}",
                f"{host} sends the packet in a tunnel to {wrong}, where no host of this path is",
                "a person", case.apply,
            )  # fmt: skip
            return
