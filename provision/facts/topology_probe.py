"""The look that finds how a host is wired, and what it printed, read. Pure.

One script asks for all of it, of everything that is there, ours or not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

from provision.facts.topology import (
    ContainerInfo,
    DnatRule,
    HostTopology,
    NamespaceLink,
    NamespaceRoute,
    NetNamespace,
)
from provision.model.errors import FactsError
from provision.resources.kinds.docker_network import BRIDGE_NAME, LABEL
from provision.resources.lib import docker_api
from provision.resources.script import BOUNDED

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


def parse(host: str, text: str) -> HostTopology:
    """What SCRIPT printed. Raises FactsError when a part of it is missing or cannot be read."""
    lines = [line.partition(" ")[::2] for line in text.splitlines()]
    if ("wired", "") not in lines:
        raise FactsError(host, "how its containers are wired cannot be seen")
    try:
        return _wiring(host, lines)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        message = f"how its containers are wired cannot be read: {error!r}"
        raise FactsError(host, message) from error


def _wiring(host: str, lines: list[tuple[str, str]]) -> HostTopology:
    words = [rest.split(" ") for word, rest in lines if word == "spaces"]
    lives = {who: tuple(map(int, numbers)) for who, *numbers in words}
    parts = [(word, *rest.partition(" ")[::2]) for word, rest in lines]
    links = {int(inode): json.loads(found) for word, inode, found in parts if word == "links"}
    routes = {int(inode): json.loads(found) for word, inode, found in parts if word == "routes"}
    spaces = {
        inode: NetNamespace(inode, tuple(_links(found)), tuple(_routes(routes.get(inode, ()))))
        for inode, found in links.items()
    }
    inspected = [json.loads(rest) for word, rest in lines if word == "container"]
    names = {entry["Id"]: entry["Name"].removeprefix("/") for entry in inspected}
    nat = tuple(rest for word, rest in lines if word == "nat")
    # Without a look at its namespace a container ended meanwhile.
    alive = {who: numbers for who, numbers in lives.items() if numbers[1] in spaces}
    lodgers = [_lodger(entry, names, alive.get(entry["Id"], (0,) * 4)) for entry in inspected]
    return HostTopology(
        host=host,
        root=spaces[lives["host"][1]],
        namespaces=spaces,
        containers={lodger.name: lodger for lodger in sorted(lodgers, key=lambda one: one.name)},
        bridges=dict(_bridges(json.loads(dict(lines)["networks"]))),
        nat=nat,
        dnat_rules=tuple(_translations(nat)),
        docker_error=dict(lines).get("undocked", ""),
    )


def _links(found: Iterable[dict[str, Any]]) -> Iterator[NamespaceLink]:
    for entry in found:
        if "ifname" not in entry:
            continue  # `ip -j` gives an empty mapping for what a filter left out
        yield NamespaceLink(
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


def _routes(found: Iterable[dict[str, Any]]) -> Iterator[NamespaceRoute]:
    for entry in found:
        for way in entry.get("nexthops") or (entry,):
            yield NamespaceRoute(entry["dst"], way.get("gateway", ""), way.get("dev", ""))


def _lodger(
    entry: dict[str, Any], names: Mapping[str, str], lives: tuple[int, ...]
) -> ContainerInfo:
    pid, net, mnt, processes = lives
    mode = entry["HostConfig"]["NetworkMode"]
    word, _, other = mode.partition(":")
    places = (entry["NetworkSettings"].get("Ports") or {}).items()
    return ContainerInfo(
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


def _translations(nat: Iterable[str]) -> Iterator[DnatRule]:
    for rule in nat:
        match = _RULE.match(rule)
        if match:
            yield DnatRule(
                ip=IPv4Address(match["ip"]) if match["ip"] else None,
                protocol=match["protocol"],
                port=int(match["port"]),
                to=IPv4Address(match["to"]),
                target=int(match["target"]),
                packets=int(match["packets"]),
                bytes=int(match["bytes"]),
            )
