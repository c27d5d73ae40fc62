"""The probe of a host's topology, and the reading of its output. Pure.

One script reads every namespace, container and NAT rule of the host, ours or not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from shlex import quote
from typing import Any

from provision.facts import tunnel_probe
from provision.facts.lines import KeyedLines
from provision.facts.topology import (
    ContainerInfo,
    DnatRule,
    HostTopology,
    NamespaceLink,
    NamespaceRoute,
    NetNamespace,
)
from provision.model.errors import FactsError
from provision.model.reading import reading, require_types
from provision.resources.kinds.docker_network import LABEL
from provision.resources.lib import docker_api
from provision.resources.lib.network_options import BRIDGE_NAME
from provision.resources.on_hosts import Mark
from provision.resources.render import program_text


def script() -> str:
    """A script that prints lines `KEY …`; the last, `wired`, says that it came to its end."""
    program = f"docker_program={quote(docker_api.namespaces_program())}\n"
    return program + program_text("look/bounded.sh", "look/topology.sh")


# Rules of Docker's chain in `iptables -t nat -v -S`; `-c` gives packets and bytes. `! -i BRIDGE` is
# missing where dockerd runs with userland-proxy off: containers then use the rule, too.
_RULE = re.compile(
    r"-A DOCKER (?:-d (?P<ip>[0-9.]+)/32 )?(?:! -d \S+ )?(?:! -i (?P<bridge>\S+) )?"
    r"-p (?P<protocol>tcp|udp) -m \S+ --dport (?P<port>\d+) -c (?P<packets>\d+) (?P<bytes>\d+)"
    r" -j DNAT --to-destination (?P<to>[0-9.]+):(?P<target>\d+)"
)


# A rule of Docker's table docker-bridges, as `nft list` prints it. `iifname` is missing as above.
_NFT_RULE = re.compile(
    r'(?:iifname != "(?P<bridge>[^"]+)" )?(?:ip daddr (?P<ip>[0-9.]+) )?(?:ip daddr != \S+ )?'
    r"(?P<protocol>tcp|udp) dport (?P<port>\d+) counter packets (?P<packets>\d+)"
    r" bytes (?P<bytes>\d+) dnat to (?P<to>[0-9.]+):(?P<target>\d+)"
)


def parse(host: str, text: str) -> HostTopology:
    """Read the output of `script`. Raises FactsError when a part of it is missing or malformed."""
    lines = KeyedLines(text)
    if "wired" not in lines:
        raise FactsError(host, "the script that reads its topology did not finish")
    with reading(host, "topology", text):
        topology = _topology(host, lines)
        require_types(topology)
        return topology


@dataclass(frozen=True, slots=True)
class _Process:
    """The first process of a container and the inodes of its namespaces; 0 while there is none."""

    pid: int = 0
    net: int = 0
    mnt: int = 0
    processes: int = 0


def _topology(host: str, lines: KeyedLines) -> HostTopology:
    processes = dict(map(_process, lines.every("spaces")))
    namespaces = _namespaces(lines)
    inspected = list(map(json.loads, lines.every("container")))
    names = {entry["Id"]: entry["Name"].removeprefix("/") for entry in inspected}
    nat = lines.every("nat")
    # A container whose namespace was not read ended in the meantime.
    running = {key: process for key, process in processes.items() if process.net in namespaces}
    containers = [
        _container(entry, names, running.get(entry["Id"], _Process())) for entry in inspected
    ]
    inode = processes["host"].net
    namespaces[inode] = tunnel_probe.with_ovs_ports(namespaces[inode], lines)
    return HostTopology(
        host=host,
        root=namespaces[inode],
        namespaces=namespaces,
        containers={c.name: c for c in sorted(containers, key=lambda c: c.name)},
        bridges=dict(_bridges(lines.decoded("networks"))),
        nat=nat,
        dnat_rules=(*_dnat_rules(_RULE, nat), *_dnat_rules(_NFT_RULE, lines.every("docker_dnat"))),
        docker_error=lines.only("undocked", ""),
        tunnels=tuple(tunnel_probe.tunnels(_root_links(inode, lines), namespaces[inode], lines)),
        vlans=tunnel_probe.vlans(lines),
        ovs_error=tunnel_probe.ovs_error(lines),
    )


def _root_links(inode: int, lines: KeyedLines) -> list[dict[str, Any]]:
    """The host's own interfaces as `ip -d` prints them."""
    texts = dict(line.partition(" ")[::2] for line in lines.every("links"))
    return [entry for entry in json.loads(texts[str(inode)]) if "ifname" in entry]


def _process(text: str) -> tuple[str, _Process]:
    container, *numbers = text.split(" ")
    return container, _Process(*map(int, numbers))


def _namespaces(lines: KeyedLines) -> dict[int, NetNamespace]:
    links = [line.partition(" ")[::2] for line in lines.every("links")]
    routes = dict(line.partition(" ")[::2] for line in lines.every("routes"))
    return {
        int(inode): NetNamespace(
            int(inode),
            tuple(_links(json.loads(text))),
            tuple(_routes(json.loads(routes.get(inode, "[]")))),
        )
        for inode, text in links
    }


def _links(entries: Iterable[dict[str, Any]]) -> Iterator[NamespaceLink]:
    for entry in entries:
        if "ifname" not in entry:
            continue  # `ip -j` prints an empty object for an interface that a filter left out
        yield NamespaceLink(
            index=int(entry["ifindex"]),
            name=entry["ifname"],
            kind=entry.get("linkinfo", {}).get("info_kind", ""),
            mac=entry.get("address", ""),
            mtu=int(entry["mtu"]),
            up="UP" in entry["flags"],
            master=entry.get("master", ""),
            # `ip` prints the ifindex of a veth's peer that is in another namespace; for a peer in
            # the same one it prints the name, as `link`.
            peer=int(entry.get("link_index", 0)),
            addresses=tuple(
                IPv4Interface(f"{info['local']}/{info['prefixlen']}")
                for info in entry.get("addr_info", ())
                if info.get("family") == "inet"
            ),
            carrier="NO-CARRIER" not in entry["flags"],
            lower=entry.get("link") or "",
        )


def _routes(entries: Iterable[dict[str, Any]]) -> Iterator[NamespaceRoute]:
    for entry in entries:
        # A multipath route has gateways and devices in `nexthops` alone.
        for hop in entry.get("nexthops") or (entry,):
            _require_range(entry["dst"])
            yield NamespaceRoute(entry["dst"], hop.get("gateway", ""), hop.get("dev", ""))


@lru_cache(maxsize=4096)
def _require_range(destination: str) -> None:
    """Raise ValueError unless a drawing can tell which addresses an IPv4 route is for.

    Remembered: all hosts of a fleet have routes to the same ranges.
    """
    if destination != "default" and ":" not in destination:
        IPv4Network(destination, strict=False)


def _container(entry: dict[str, Any], names: Mapping[str, str], process: _Process) -> ContainerInfo:
    return ContainerInfo(
        name=entry["Name"].removeprefix("/"),
        mark=Mark.parse((entry["Config"]["Labels"] or {}).get(LABEL, "")),
        image=entry["Config"]["Image"],
        status=entry["State"]["Status"],
        mode=_mode(entry["HostConfig"]["NetworkMode"], names),
        pid=process.pid,
        net=process.net,
        mnt=process.mnt,
        processes=process.processes,
        published=tuple(_published(entry["NetworkSettings"].get("Ports") or {})),
        labels=entry["Config"]["Labels"] or {},
    )


def _mode(mode: str, names: Mapping[str, str]) -> str:
    """The network mode, with a container's name for its id."""
    kind, _, container = mode.partition(":")
    if kind == "container":
        return f"container:{names.get(container, container)}"
    # Docker writes `default` where `docker run` had no --network: that is the default bridge.
    return "bridge" if mode == "default" else mode


def _published(ports: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for inside, bindings in sorted(ports.items()):
        for binding in bindings or ():  # null for a port that the image exposes, unpublished
            if ":" not in binding["HostIp"]:
                yield f"{binding['HostIp'] or '0.0.0.0'}:{binding['HostPort']}", inside


def _bridges(networks: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for entry in networks:
        if entry["Driver"] == "bridge":
            option = (entry["Options"] or {}).get(BRIDGE_NAME)
            # Docker names a bridge after the first 12 digits of the network's id otherwise.
            yield entry["Name"], option or f"br-{entry['Id'][:12]}"


def _dnat_rules(pattern: re.Pattern[str], rules: Iterable[str]) -> Iterator[DnatRule]:
    for rule in rules:
        match = pattern.match(rule)
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
