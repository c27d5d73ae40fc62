"""What is compared: a table of candidates, the inventory that each makes, and who stands beside
whom. Pure.

A candidate of a method that is not on the shelf is left out; a new one is one line of TABLE.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from provision import methods
from provision.model.errors import UsageError
from provision.model.inventory import Host
from provision.model.suggest import did_you_mean

LIMIT = "host"
"""The limit of all: processes of the hosts themselves."""
IPERF, ASK = 25201, 25202
PUBLISHED_IPERF, PUBLISHED_ASK = 25203, 25204
"""Ports at which the measurements' servers listen, and those of a host that lead to them: below
32768, where no connection of anybody begins."""
RANGE = IPv4Network("198.18.0.0/15")
"""RFC 2544 sets it apart for measuring networks: nobody else is there."""
SWITCH = "cmp-switch"
CONTAINERS = 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way between two hosts. `mark` is the name of the inventory that it makes.

    `method` None: Docker's default bridge with published ports. `alone`: it moves the NIC, so
    that nothing can be measured beside it; of those with one word in `claims` one stands at a time.
    `on_lan`: its containers have addresses of the hosts' own LAN.
    """

    name: str
    mark: str
    method: str | None
    options: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False
    claims: frozenset[str] = frozenset()
    on_lan: bool = False


_ONE = frozenset({"flannel"})
# A flannel of the user's own may be on these hosts, with etcd's usual ports.
_ETCD = {"etcd": {"client_port": 12379, "peer_port": 12380}}
TABLE = (
    Candidate("routes", "cmp-routes", "routes"),
    Candidate("ports", "cmp-ports", None),
    Candidate("vxlan", "cmp-vxlan", "vxlan"),
    Candidate("flannel-vxlan", "cmp-fl-vx", "flannel", {"backend": "vxlan", **_ETCD}, claims=_ONE),
    Candidate(
        "flannel-host-gw", "cmp-fl-gw", "flannel", {"backend": "host-gw", **_ETCD}, claims=_ONE
    ),
    Candidate("flannel-udp", "cmp-fl-udp", "flannel", {"backend": "udp", **_ETCD}, claims=_ONE),
    Candidate("ovs-gre", "cmp-ovs-gr", "ovs-gre", alone=True),
    Candidate("ovs-vxlan", "cmp-ovs-vx", "ovs-vxlan", alone=True),
    Candidate("pipework", "cmp-pipe", "pipework", {"bridge": "bri-cmp"}, alone=True, on_lan=True),
)


@dataclass(frozen=True, slots=True)
class Testbed:
    """Where candidates are put: hosts, a free range for each, and what of the LAN is free."""

    hosts: tuple[Host, ...]
    ranges: tuple[IPv4Network, ...]
    packages: str = "install"
    lan: IPv4Network | None = None
    pool: IPv4Network | None = None


def chosen(asked: str | None) -> tuple[tuple[Candidate, ...], dict[str, str]]:
    """The candidates that `--methods` names, or all that can be; and why others cannot.

    Raises UsageError for one that is named and unknown, or cannot be.
    """
    lacking = {one.name: why for one in TABLE if (why := _lacks(one))}
    if asked is None:
        return tuple(one for one in TABLE if one.name not in lacking), lacking
    names = [name.strip() for name in asked.split(",") if name.strip()]
    known = (LIMIT, *(one.name for one in TABLE))
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, "methods")
            raise UsageError(f"--methods: nothing to compare is named '{name}'", hint)
        if name in lacking:
            there = [one for one in known if one not in lacking]
            raise UsageError(f"--methods {name}: {lacking[name]}", f"there are {', '.join(there)}")
    if not names:
        raise UsageError("--methods names nothing", f"choose of {', '.join(known)}")
    return tuple(one for one in TABLE if one.name in names), {}


def _lacks(candidate: Candidate) -> str:
    if candidate.method is not None and candidate.method not in methods.names():
        return f"method {candidate.method} is not in this version"
    return ""


def turns(candidates: Iterable[Candidate]) -> tuple[tuple[Candidate, ...], ...]:
    """Those that can stand side by side, together: as few turns as first-fit finds."""
    groups: list[list[Candidate]] = []
    for one in candidates:
        group = next((g for g in groups if not any(_clash(one, other) for other in g)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return tuple(tuple(group) for group in groups)


def _clash(one: Candidate, other: Candidate) -> bool:
    return one.alone or other.alone or bool(one.claims & other.claims)


def free(taken: Iterable[IPv4Network]) -> tuple[IPv4Network, ...]:
    """Ranges that overlap none of `taken`, at least one for each candidate.

    Raises UsageError where there are too few.
    """
    used = tuple(taken)
    ranges = tuple(
        block for block in RANGE.subnets(new_prefix=19) if not any(block.overlaps(u) for u in used)
    )
    if len(ranges) < len(TABLE):
        raise UsageError(f"too little of {RANGE} is free on the hosts to compare in")
    return ranges


def text(candidate: Candidate, ground: Testbed, *, switching: bool = False) -> str:
    """The inventory of a candidate, as JSON, which is YAML.

    `switching`: under one name for all of them, so that one takes the place of another.
    """
    mark = SWITCH if switching else candidate.mark
    document: dict[str, Any] = {
        "name": mark,
        "packages": ground.packages,
        "hosts": {host.name: _host(host) for host in ground.hosts},
    }
    if candidate.method is not None:
        # Docker knows it by this name, and knows no inventories.
        block = ground.ranges[TABLE.index(candidate)]
        document["networks"] = {mark: _network(candidate, ground, block)}
    document["containers"] = {
        f"{mark}-{number}": _container(candidate, host.name, mark)
        for number, host in enumerate(ground.hosts[:CONTAINERS], 1)
    }
    return json.dumps(document, indent=1)


def _host(host: Host) -> dict[str, str]:
    nic = {"nic": host.nic} if host.nic else {}
    return {"address": str(host.address), **nic}


def _network(candidate: Candidate, ground: Testbed, block: IPv4Network) -> dict[str, Any]:
    if candidate.on_lan:
        where: dict[str, Any] = {"cidr": str(ground.lan), "pool": str(ground.pool)}
    else:
        # A /24 for each of up to 32 hosts, and smaller ones where there are more.
        size = max(24, block.prefixlen + (len(ground.hosts) - 1).bit_length())
        where = {"cidr": str(block), "subnet_size": size}
    return {"method": candidate.method, **where, **candidate.options}


def _container(candidate: Candidate, host: str, network: str) -> dict[str, Any]:
    if candidate.method is not None:
        return {"host": host, "network": network}
    iperf = f"{PUBLISHED_IPERF}:{IPERF}"
    ports = [iperf, f"{iperf}/udp", f"{PUBLISHED_ASK}:{ASK}"]
    return {"host": host, "network": "bridge", "ports": ports}
