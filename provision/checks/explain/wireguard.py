"""Causes in WireGuard devices: a peer that is missing, its address or its key, and no handshake.

Pure. Nobody can tell which encrypted packet holds the probe, so the state of the devices decides.
"""

from __future__ import annotations

from collections.abc import Iterator

from provision import methods
from provision.checks.explain.case import Case
from provision.checks.explain.model import Cause
from provision.checks.explain.sides import Side
from provision.resources.lib.wireguard_conf import DEAD_S


def peers(case: Case) -> Iterator[Cause]:
    """Yield what the devices of both hosts have of each other, and should not."""
    for near, far in _directions(case):
        assert case.network is not None and near.tunnel is not None
        end, device = near.tunnel.wireguard, near.tunnel.name
        subnet, address = case.network.subnets[far.host], case.inventory.hosts[far.host].address
        if end is None:
            continue
        peer = end.peer(subnet)
        other = far.tunnel.wireguard if far.tunnel else None
        if peer is None and near is case.target_side and other is not None:
            yield from _refused(case, near, far, other.public)
        if peer is None:
            text = f"has no peer for {subnet} of {far.host} ({address})"
            yield _cause(case, near, f"{device}: no peer for {subnet} ({address})", text)
            continue
        if other and other.public != peer.public:
            text = f"has the key {other.public}, and {near.host} expects {peer.public}"
            yield _cause(case, far, f"key {other.public} of {device}", text, certain=False)
        if _is_direct(case) and peer.endpoint not in (None, address):
            text = f"sends to {peer.endpoint} what is for {far.host}, whose address is {address}"
            name = f"{device}: endpoint {peer.endpoint}"
            # `apply` leaves the endpoint of a running device alone: WireGuard follows a peer.
            port = other.port if other else end.port
            fix = f"wg set {device} peer {peer.public} endpoint {address}:{port}"
            yield _cause(case, near, name, text, fix=fix, certain=False)


def _refused(case: Case, near: Side, far: Side, public: str) -> Iterator[Cause]:
    """Yield the peer whose packets the device decrypts, and drops because of their source."""
    assert near.tunnel is not None and near.tunnel.wireguard is not None and case.network
    device, subnet = near.tunnel.name, case.network.subnets[far.host]
    for peer in near.tunnel.wireguard.peers:
        if peer.public == public:
            allowed = ", ".join(map(str, peer.allowed)) or "none"
            yield Cause(
                near.host, "source_check", f"{device}: allowed-ips {allowed} of peer {public}",
                f"{near.host} drops packets from {case.source.name} by their source: {subnet} is "
                f"not among the allowed IPs of peer {far.host} on {device} ({allowed})",
                "a person", case.apply,
            )  # fmt: skip


def handshakes(case: Case) -> Iterator[Cause]:
    """Yield the pair of hosts that have no session, where nothing else explains it."""
    for near, far in _directions(case):
        assert case.network is not None and near.tunnel is not None
        end = near.tunnel.wireguard
        peer = end.peer(case.network.subnets[far.host]) if end else None
        if end is None or peer is None:
            continue
        if peer.handshake_s is None or peer.handshake_s > DEAD_S:
            age = "none yet" if peer.handshake_s is None else f"{peer.handshake_s} s ago"
            yield Cause(
                far.host, "tunnel_port_blocked", f"UDP port {end.port}",
                f"{near.host} and {far.host} have no session (the last handshake: {age}): "
                f"something on the way drops UDP packets for port {end.port}", "unknown",
                f"let UDP port {end.port} of {near.host} and {far.host} through", certain=False,
            )  # fmt: skip
            return


def _directions(case: Case) -> Iterator[tuple[Side, Side]]:
    """Both hosts of a path through WireGuard, each as the one that sends."""
    if case.target_side is None or case.source_side.host == case.target_side.host:
        return
    for near, far in ((case.source_side, case.target_side), (case.target_side, case.source_side)):
        if near.tunnel is not None and near.tunnel.wireguard is not None:
            yield near, far


def _is_direct(case: Case) -> bool:
    declared = methods.of(case.network).tunnel(case.network) if case.network else None
    return bool(declared and declared.direct)


def _cause(
    case: Case, side: Side, name: str, text: str, *, fix: str = "", certain: bool = True
) -> Cause:
    return Cause(
        side.host, "tunnel_device", name, f"{side.host} {text}", "a person", fix or case.apply,
        certain=certain,
    )  # fmt: skip
