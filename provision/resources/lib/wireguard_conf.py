"""The peers of a WireGuard device: rows of a table, and the file in which a host keeps them. Pure.

The file has the form of `wg syncconf`, but no secret: templates/host/wireguard_up.sh inserts those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from provision.model.ipv4 import ipv4_network
from provision.resources.on_hosts import ETC, Mark

PSK_MARK = "preshared"
_REPLACES = "# replaces "
RELAY = " through "
DEAD_S = 180
"""Seconds after which no data is accepted by a handshake (REJECT_AFTER_TIME of WireGuard)."""


@dataclass(frozen=True, slots=True, order=True)
class Peer:
    """A peer: the host of this name sends from the ranges `allowed`, and gets packets to them.

    `public` is its key. `endpoint` is ADDRESS:PORT; empty: it calls, and nobody calls it.
    `keepalive` is in seconds, 0: never. `preshared`: both hosts have a further secret key.
    `replaces` is the key that the host still uses, and which works until it uses `public`.
    """

    host: str
    public: str
    allowed: tuple[IPv4Network, ...]
    endpoint: str
    keepalive: int
    preshared: bool = False
    replaces: str = ""

    def __str__(self) -> str:
        allowed = ", ".join(map(str, self.allowed))
        endpoint = f"at {self.endpoint}" if self.endpoint else "calls"
        earlier = f", replaces {self.replaces}" if self.replaces else ""
        return f"{self.host} ({self.public}{earlier}) {endpoint}: {allowed}"


def stem(inventory: str, network: str) -> str:
    """The path of a network's files on a host, without the endings `.key`, `.conf` and `.psk`."""
    return f"{ETC}/{inventory}/wireguard/{network}"


def renewal_path(inventory: str, network: str) -> str:
    """The file with which a host is asked for another key (`provision rotate`)."""
    return f"{stem(inventory, network)}.renew"


def text(mark: Mark, port: int, peers: Iterable[Peer], relayed: Iterable[str] = ()) -> str:
    """The file of a device with these peers; `relayed` are remarks such as `h4 through h1`."""
    head = "".join(f"# {line}\n" for line in (mark.tag, *relayed))
    sections = "".join(f"\n{_section(peer)}" for peer in peers)
    return f"{head}[Interface]\nListenPort = {port}\n{sections}"


def _section(peer: Peer) -> str:
    lines = [f"# {peer.host}", "[Peer]", f"PublicKey = {peer.public}"]
    lines.append(f"AllowedIPs = {', '.join(map(str, peer.allowed))}")
    lines += [f"Endpoint = {peer.endpoint}"] if peer.endpoint else []
    lines += [f"PersistentKeepalive = {peer.keepalive}"] if peer.keepalive else []
    lines += [f"# {PSK_MARK}"] if peer.preshared else []
    lines += [f"{_REPLACES}{peer.replaces}"] if peer.replaces else []
    return "\n".join(lines) + "\n"


def relayed(config: str) -> tuple[str, ...]:
    """The remarks in a file on the hosts that others pass on."""
    head = config.partition("[Interface]")[0].splitlines()
    return tuple(line.removeprefix("# ") for line in head if RELAY in line)


def port(config: str) -> int:
    """The UDP port in a file; 0 if it names none."""
    values = (line.partition(" = ")[2] for line in config.splitlines() if "ListenPort" in line)
    return next((int(value) for value in values if value.isdecimal()), 0)


def peers(config: str) -> Iterator[Peer]:
    """Yield the peers in a file. Sections that nobody of provision has written are left out."""
    for paragraph in config.split("\n\n"):
        lines = paragraph.strip().splitlines()
        if len(lines) > 2 and lines[0].startswith("# ") and lines[1] == "[Peer]":
            keys = dict(line.split(" = ", 1) for line in lines if " = " in line)
            yield Peer(
                lines[0].removeprefix("# "),
                keys.get("PublicKey", ""),
                networks(keys.get("AllowedIPs", "")),
                keys.get("Endpoint", ""),
                int(keys.get("PersistentKeepalive", "0")),
                f"# {PSK_MARK}" in lines,
                "".join(line[len(_REPLACES) :] for line in lines if line.startswith(_REPLACES)),
            )


def networks(allowed: str) -> tuple[IPv4Network, ...]:
    """The ranges in a list of AllowedIPs, sorted; those of IPv6 are none of provision."""
    ranges = (entry.strip() for entry in allowed.split(",") if "." in entry)
    return tuple(sorted(map(ipv4_network, ranges)))
