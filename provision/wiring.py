"""How a host is wired: links, bridges, the namespaces of its containers, its NAT rules. Pure.

One script asks for all of it, of everything that is there, ours or not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

from provision import docker_api
from provision.errors import FactsError
from provision.resources.docker_network import BRIDGE_NAME, LABEL
from provision.script import BOUNDED

SCRIPT = rf"""{BOUNDED}
look() {{ # the inode of a network namespace, and the words that enter it
  inode=$1; shift
  found=$(printf 'address show\nroute show table main\n' | bounded "$@" ip -j -d -batch -) ||
    return 1
  printf '%s\n' "$found" | sed "1s/^/links $inode /;2s/^/routes $inode /"
}}
inode() {{ readlink "/proc/1/ns/$1" | tr -dc 0-9; }}
undocked='Docker is not installed'
if command -v docker >/dev/null 2>&1; then
  undocked="Docker's daemon does not answer"
  command -v perl >/dev/null 2>&1 || undocked='perl is missing, which asks Docker'
  answers=$(bounded {docker_api.SPACES}) && undocked=
fi
if [ -n "$undocked" ]; then
  answers="networks []
spaces host 1 $(inode net) $(inode mnt) $(inode pid)"
  echo "undocked $undocked"
fi
printf '%s\n' "$answers"
printf '%s\n' "$answers" | sed -n 's/^spaces //p' | {{
  seen=' '
  while read -r _ pid net _ _; do
    case $seen in *" $net "*) continue ;; esac
    seen="$seen$net "
    # A container may end meanwhile; all else that goes wrong is an error.
    look "$net" nsenter -t "$pid" -n || [ ! -e "/proc/$pid" ] || exit 1
  done
}} || exit 1
if command -v iptables >/dev/null 2>&1; then
  nat=$(bounded iptables -w 30 -t nat -v -S) || exit 1
  printf '%s\n' "$nat" | sed 's/^/nat /'
fi
echo wired
"""
"""Prints a line for each thing; the last says that nothing is missing."""

_RULE = re.compile(
    r"-A DOCKER (?:-d (?P<ip>[0-9.]+)/32 )?(?:! -d \S+ )?(?:! -i (?P<bridge>\S+) )?"
    r"-p (?P<protocol>tcp|udp) -m \S+ --dport (?P<port>\d+) -c (?P<packets>\d+) (?P<bytes>\d+)"
    r" -j DNAT --to-destination (?P<to>[0-9.]+):(?P<target>\d+)"
)


@dataclass(frozen=True, slots=True)
class Link:
    """An interface in one namespace; `peer` is the index of a veth's other end."""

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    master: str
    peer: int
    addresses: tuple[IPv4Interface, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table; `dst` is `default` or a range, `via` empty on the link."""

    dst: str
    via: str
    dev: str


@dataclass(frozen=True, slots=True)
class Space:
    """A network namespace, named by its inode."""

    inode: int
    links: tuple[Link, ...]
    routes: tuple[Route, ...]

    @property
    def addresses(self) -> frozenset[IPv4Address]:
        """Every address that an interface in it holds."""
        return frozenset(own.ip for link in self.links for own in link.addresses)

    def link(self, name: str) -> Link | None:
        """The interface of this name."""
        return next((link for link in self.links if link.name == name), None)


@dataclass(frozen=True, slots=True)
class Lodger:
    """A container, ours or not; without a process its inodes are 0.

    `mode` is Docker's own word, with `container:` the other's name; `published` are pairs of a
    place on the host (`0.0.0.0:8080`) and a port inside (`80/tcp`).
    """

    name: str
    mark: str
    image: str
    status: str
    mode: str
    pid: int
    net: int
    mnt: int
    processes: int
    published: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Translation:
    """A DNAT rule of Docker's, and how much took it; `ip` is None where every address counts."""

    ip: IPv4Address | None
    protocol: str
    port: int
    to: IPv4Address
    target: int
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Wiring:
    """One host; `bridges` gives the Linux bridge of each of Docker's networks.

    `undocked` says why Docker told nothing: then only the host's own links, routes and rules are
    known.
    """

    host: str
    root: Space
    spaces: Mapping[int, Space]
    containers: Mapping[str, Lodger]
    bridges: Mapping[str, str]
    nat: tuple[str, ...]
    translations: tuple[Translation, ...]
    undocked: str = ""

    def outer(self, link: Link) -> Link | None:
        """The host's end of a container's veth."""
        return next(
            (
                other
                for other in self.root.links
                if link.kind == other.kind == "veth"
                and other.index == link.peer
                and other.peer == link.index
            ),
            None,
        )

    def inner(self, outer: Link) -> tuple[Lodger, Link] | None:
        """The container that owns the other end of a host's veth, and that end."""
        for lodger in self.owners():
            for link in self.spaces[lodger.net].links:
                if self.outer(link) == outer:
                    return lodger, link
        return None

    def owners(self) -> Iterator[Lodger]:
        """Running containers that have a network namespace of their own."""
        for lodger in self.containers.values():
            apart = lodger.net and lodger.net != self.root.inode
            if apart and not lodger.mode.startswith("container:"):
                yield lodger

    def ports(self, bridge: str) -> tuple[Link, ...]:
        """The interfaces that are ports of a bridge."""
        return tuple(link for link in self.root.links if link.master == bridge)


def parse(host: str, text: str) -> Wiring:
    """What SCRIPT printed. Raises FactsError when a part of it is missing or cannot be read."""
    lines = [line.partition(" ")[::2] for line in text.splitlines()]
    if ("wired", "") not in lines:
        raise FactsError(host, "how its containers are wired cannot be seen")
    try:
        return _wiring(host, lines)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        message = f"how its containers are wired cannot be read: {error!r}"
        raise FactsError(host, message) from error


def _wiring(host: str, lines: list[tuple[str, str]]) -> Wiring:
    words = [rest.split(" ") for word, rest in lines if word == "spaces"]
    lives = {who: tuple(map(int, numbers)) for who, *numbers in words}
    parts = [(word, *rest.partition(" ")[::2]) for word, rest in lines]
    links = {int(inode): json.loads(found) for word, inode, found in parts if word == "links"}
    routes = {int(inode): json.loads(found) for word, inode, found in parts if word == "routes"}
    spaces = {
        inode: Space(inode, tuple(_links(found)), tuple(_routes(routes.get(inode, ()))))
        for inode, found in links.items()
    }
    inspected = [json.loads(rest) for word, rest in lines if word == "container"]
    names = {entry["Id"]: entry["Name"].removeprefix("/") for entry in inspected}
    nat = tuple(rest for word, rest in lines if word == "nat")
    # Without a look at its namespace a container ended meanwhile.
    alive = {who: numbers for who, numbers in lives.items() if numbers[1] in spaces}
    lodgers = [_lodger(entry, names, alive.get(entry["Id"], (0,) * 4)) for entry in inspected]
    return Wiring(
        host=host,
        root=spaces[lives["host"][1]],
        spaces=spaces,
        containers={lodger.name: lodger for lodger in sorted(lodgers, key=lambda one: one.name)},
        bridges=dict(_bridges(json.loads(dict(lines)["networks"]))),
        nat=nat,
        translations=tuple(_translations(nat)),
        undocked=dict(lines).get("undocked", ""),
    )


def _links(found: Iterable[dict[str, Any]]) -> Iterator[Link]:
    for entry in found:
        if "ifname" not in entry:
            continue  # `ip -j` gives an empty mapping for what a filter left out
        yield Link(
            index=int(entry["ifindex"]),
            name=entry["ifname"],
            kind=entry.get("linkinfo", {}).get("info_kind", ""),
            mac=entry.get("address", ""),
            mtu=int(entry["mtu"]),
            up="UP" in entry["flags"],
            master=entry.get("master", ""),
            peer=int(entry.get("link_index", 0)),
            addresses=tuple(
                IPv4Interface(f"{info['local']}/{info['prefixlen']}")
                for info in entry.get("addr_info", ())
                if info.get("family") == "inet"
            ),
        )


def _routes(found: Iterable[dict[str, Any]]) -> Iterator[Route]:
    for entry in found:
        for way in entry.get("nexthops") or (entry,):
            yield Route(entry["dst"], way.get("gateway", ""), way.get("dev", ""))


def _lodger(entry: dict[str, Any], names: Mapping[str, str], lives: tuple[int, ...]) -> Lodger:
    pid, net, mnt, processes = lives
    mode = entry["HostConfig"]["NetworkMode"]
    word, _, other = mode.partition(":")
    places = (entry["NetworkSettings"].get("Ports") or {}).items()
    return Lodger(
        name=entry["Name"].removeprefix("/"),
        mark=(entry["Config"]["Labels"] or {}).get(LABEL, ""),
        image=entry["Config"]["Image"],
        status=entry["State"]["Status"],
        # Docker calls its default bridge `default` where nobody chose one.
        mode={"default": "bridge"}.get(
            mode, f"container:{names.get(other, other)}" if word == "container" else mode
        ),
        pid=pid,
        net=net,
        mnt=mnt,
        processes=processes,
        published=tuple(
            (f"{place['HostIp'] or '0.0.0.0'}:{place['HostPort']}", inside)
            for inside, at in sorted(places)
            for place in at or ()
            if ":" not in place["HostIp"]
        ),
    )


def _bridges(networks: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Docker names a bridge itself when no option does: `br-` and 12 digits of the id."""
    for entry in networks:
        if entry["Driver"] == "bridge":
            chosen = (entry["Options"] or {}).get(BRIDGE_NAME)
            yield entry["Name"], chosen or f"br-{entry['Id'][:12]}"


def _translations(nat: Iterable[str]) -> Iterator[Translation]:
    for rule in nat:
        match = _RULE.match(rule)
        if match:
            yield Translation(
                ip=IPv4Address(match["ip"]) if match["ip"] else None,
                protocol=match["protocol"],
                port=int(match["port"]),
                to=IPv4Address(match["to"]),
                target=int(match["target"]),
                packets=int(match["packets"]),
                bytes=int(match["bytes"]),
            )
