"""The WireGuard devices of one host as `wg` prints them: for `show`, and for checks of `verify`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from shlex import quote
from typing import Any

import provision.methods.wireguard.device as device
import provision.methods.wireguard.peers as peers
from provision.facts.host import HostFacts
from provision.methods import Row
from provision.methods._shared.status_tables import of_network
from provision.methods.wireguard.options import options
from provision.model.inventory import Inventory, Network
from provision.model.text import listed
from provision.resources.lib import wireguard_conf as conf

COLUMNS = ("peer", "endpoint", "subnets", "handshake", "received", "sent")
_HANDSHAKE_TRIES = 60

# The first handshake may come late: the peer was not ready, and WireGuard asks again after 5 s.
# Without the secrets, which `wg show … dump` prints, too.
_SCRIPT = """
tries=0
while [ "$tries" -lt {tries} ]; do
  wg show {device} latest-handshakes 2>/dev/null | grep -q '[^0-9]0$' || break
  sleep 0.1; tries=$((tries + 1))
done
date '+now %s'
wg show {device} dump 2>&1 | perl -F'\\t' -lane '
  print "wireguard {network} ", join " ", $#F == 7 ? @F[0, 2 .. 6] : $#F == 3 ? "up" : "error $_"'
"""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A peer of a device. `host` is empty for a key that no host of the inventory has.

    `handshake_s`: age of the last handshake in seconds; None: there was none. Traffic is in bytes.
    """

    host: str
    public: str
    endpoint: str
    allowed: tuple[IPv4Network, ...]
    handshake_s: int | None
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """The device of a network on one host. `error`: why there is no answer; empty if there is."""

    host: str
    network: str
    peers: tuple[PeerStatus, ...]
    error: str


def script(inventory: Inventory, networks: Iterable[Network], *, wait: bool) -> str:
    """A script that prints the peers of each device, and the time.

    With `wait`, it waits up to 6 s for a first handshake with each peer.
    """
    return "".join(
        _SCRIPT.format(
            device=quote(device.name(inventory, network)),
            network=network.name,
            tries=_HANDSHAKE_TRIES if wait and options(network).keepalive else 0,
        )
        for network in networks
    ) + "".join(
        f"sed 's/^/conf {network.name} /' {conf.stem(inventory.name, network.name)}.conf\n"
        for network in networks
    )


def parse(host: str, networks: Iterable[Network], text: str) -> tuple[DeviceStatus, ...]:
    """The status of each network, from the output of `script` on one host."""
    return tuple(_status(host, network.name, text.splitlines()) for network in networks)


def _status(host: str, network: str, lines: list[str]) -> DeviceStatus:
    key, head = f"wireguard {network} ", f"conf {network} "
    rows = [line.removeprefix(key) for line in lines if line.startswith(key)]
    # An empty line of the file may have lost the blank before it.
    config = "\n".join(line[len(head) :] for line in lines if f"{line} ".startswith(head))
    names = {peer.public: peer.host for peer in conf.peers(config)}
    now = next((int(line[4:]) for line in lines if line.startswith("now ")), 0)
    errors = [row.removeprefix("error ") for row in rows if row.startswith("error ")]
    error = errors[0] if errors else "" if "up" in rows else "no answer"
    return DeviceStatus(
        host,
        network,
        tuple(_peer(row, names, now) for row in rows if len(row.split(" ")) == 6),
        error,
    )


def _peer(row: str, names: dict[str, str], now: int) -> PeerStatus:
    public, endpoint, allowed, handshake, received, sent = row.split(" ")
    return PeerStatus(
        names.get(public, ""),
        public,
        "" if endpoint == "(none)" else endpoint,
        conf.networks(allowed),
        max(now - int(handshake), 0) if int(handshake) else None,
        int(received),
        int(sent),
    )


def handshake_error(
    inventory: Inventory, network: Network, facts: HostFacts, statuses: tuple[DeviceStatus, ...]
) -> str:
    """The peers with which the host has no session."""
    status = of_network(statuses, network)
    if status.error:
        return status.error
    # Without keepalive packets, hosts that send nothing to each other have no session.
    if options(network).keepalive == 0:
        return ""
    limit = conf.DEAD_S + options(network).keepalive
    dead = [
        f"none with {peer.host or peer.public}"
        if peer.handshake_s is None
        else f"the last one with {peer.host or peer.public} is {peer.handshake_s} s old"
        for peer in status.peers
        if peer.handshake_s is None or peer.handshake_s > limit
    ]
    hint = f"let UDP port {options(network).port} of both hosts through"
    return f"{listed(tuple(dead))}: {hint}" if dead else ""


def peers_error(
    inventory: Inventory, network: Network, facts: HostFacts, statuses: tuple[DeviceStatus, ...]
) -> str:
    """The peers that the device has and the inventory does not, and subnets of the wrong peer."""
    status = of_network(statuses, network)
    if status.error:
        return status.error
    wanted = {
        peer: tuple(sorted(subnets)) for peer, subnets in peers.parts(network, facts.host).items()
    }
    strangers = [
        f"a peer {p.public} that is no host of the network" for p in status.peers if not p.host
    ]
    present = {peer.host: peer.allowed for peer in status.peers if peer.host}
    missing = [f"no peer {peer}" for peer in wanted if peer not in present]
    wrong = [
        f"{peer} may send from {listed(tuple(map(str, allowed))) or 'nothing'}, not from "
        f"{listed(tuple(map(str, wanted.get(peer, ())))) or 'anything'}"
        for peer, allowed in present.items()
        if allowed != wanted.get(peer)
    ]
    return "; ".join((*strangers, *missing, *wrong))


def rows(status: DeviceStatus) -> Iterator[Row]:
    """The rows of the table of `show`, without the host and the network."""
    for peer in status.peers:
        yield (
            peer.host or peer.public,
            peer.endpoint or "-",
            ", ".join(map(str, peer.allowed)),
            "never" if peer.handshake_s is None else f"{peer.handshake_s} s ago",
            str(peer.received),
            str(peer.sent),
        )


def json_fields(status: DeviceStatus) -> dict[str, Any]:
    """The fields of a status in the JSON of `show --json`."""
    return {
        "peers": [
            {
                "host": peer.host or None,
                "public_key": peer.public,
                "endpoint": peer.endpoint or None,
                "subnets": [str(subnet) for subnet in peer.allowed],
                "handshake_seconds": peer.handshake_s,
                "received": peer.received,
                "sent": peer.sent,
            }
            for peer in status.peers
        ],
    }
