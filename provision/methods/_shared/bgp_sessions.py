"""The sessions of a BGP speaker as vtysh prints them: for `show`, and for `verify`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from provision.methods._shared.bgp_options import PORT, reflectors
from provision.model.inventory import Inventory, Network
from provision.model.text import count, listed

ESTABLISHED = "Established"


@dataclass(frozen=True, slots=True)
class BgpSession:
    """A session with a peer. `host` is empty for a router, and for a stranger.

    `up_s`: age of an established session in seconds. `received`: number of routes.
    """

    host: str
    address: str
    state: str
    up_s: int
    received: int


def partners(network: Network, host: str) -> tuple[str, ...]:
    """The hosts with which a host has a session: a reflector with all others."""
    known = reflectors(network)
    return tuple(h for h in (network.hosts if host in known else known) if h != host)


def parse(
    inventory: Inventory, network: Network, summary: Mapping[str, Any]
) -> tuple[BgpSession, ...]:
    """The sessions in the JSON of `show bgp … summary`, sorted by host."""
    names = {str(inventory.hosts[name].address): name for name in network.hosts}
    sessions = (
        _session(names.get(address, ""), address, peer)
        for address, peer in summary.get("peers", {}).items()
    )
    return tuple(sorted(sessions, key=lambda session: (session.host, session.address)))


def _session(host: str, address: str, peer: dict[str, Any]) -> BgpSession:
    state = str(peer["state"])
    age = int(peer.get("peerUptimeMsec", 0)) // 1000 if state == ESTABLISHED else 0
    return BgpSession(host, address, state, age, int(peer.get("pfxRcd", 0)))


def rejected_packets(network: Network, lines: Iterable[str]) -> int:
    """Packets that the kernel dropped because of their password, from lines of `rejected`."""
    key = f"rejected {network.name} "
    return sum(int(line.split()[2]) for line in lines if line.startswith(key))


def error(
    network: Network,
    host: str,
    sessions: tuple[BgpSession, ...],
    rejected: int,
    routers: tuple[str, ...] = (),
) -> str:
    """The hosts with which a host has no session, and peers that are neither host nor router."""
    up = {session.host for session in sessions if session.state == ESTABLISHED}
    missing = tuple(name for name in partners(network, host) if name not in up)
    errors = [f"none with {listed(missing)}: {_cause(network, rejected)}"] if missing else []
    strangers = [s.address for s in sessions if not s.host and s.address not in routers]
    if strangers:
        errors.append(f"one with {listed(tuple(strangers))}, which is no host of the network")
    return "; ".join(errors)


def _cause(network: Network, rejected: int) -> str:
    """The reason for which sessions are missing, as far as the host can tell it."""
    if rejected:
        packets = f"{count(rejected, 'packet')} came with another password, or with none"
        return f"{packets}: run apply for all hosts"
    password = ", and give all hosts the same password" if network.secrets else ""
    return f"let TCP port {PORT} through{password}"


def row(session: BgpSession) -> tuple[str, ...]:
    """The row of a session in the table of `show`: peer, state, age and number of routes."""
    age = f"{session.up_s} s" if session.state == ESTABLISHED else "-"
    return session.host or session.address, session.state, age, str(session.received)


def json_fields(session: BgpSession, received: str) -> dict[str, Any]:
    """The fields of a session in the JSON of `show --json`; `received`: the key of that number."""
    return {
        "host": session.host or None,
        "address": session.address,
        "state": session.state,
        "seconds": session.up_s,
        received: session.received,
    }
