"""The methods that `compare` measures, the inventory of each, and which can coexist. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Network
from typing import Any

from provision import methods
from provision.model.errors import UsageError
from provision.model.inventory import Host
from provision.model.suggest import did_you_mean

BASELINE = "host"
"""The name of the baseline: processes on the hosts themselves, without containers."""
# Below 32768, where ephemeral ports begin (net.ipv4.ip_local_port_range).
IPERF_PORT, ECHO_PORT = 25201, 25202
"""Ports of the servers."""
PUBLISHED_IPERF_PORT, PUBLISHED_ECHO_PORT = 25203, 25204
"""Ports of a host that are published to them."""
RANGE = IPv4Network("198.18.0.0/15")
"""Reserved by RFC 2544 for benchmarks of networks, so that no other network uses it."""
SWITCH_MARK = "cmp-switch"
CONTAINERS = 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A method to compare. `mark`: name of its inventory, of its network, and in its containers.

    `method` None: Docker's default bridge with published ports. `alone`: it moves the NIC, so no
    other candidate can be deployed at the same time. `on_lan`: its containers get addresses of the
    hosts' LAN. `sole`: what only one candidate can have at the same time, "" for nothing such.
    """

    name: str
    mark: str
    method: str | None
    options: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False
    on_lan: bool = False
    sole: str = ""


def _of_method(name: str) -> Iterator[Candidate]:
    method = methods.named(name)
    alone = method.takes_nic or method.on_hosts_lan
    # The variants of a method use the same ports, devices or firewall chains of a host.
    sole = method.sole or (name if len(method.variants) > 1 else "")
    for end, options in method.variants.items():
        full_name = f"{name}-{end}" if end else name
        mark, on_lan = _mark(full_name), method.on_hosts_lan
        yield Candidate(full_name, mark, name, options, alone, on_lan, sole)


def _mark(name: str) -> str:
    """An inventory's name of at most 10 characters."""
    mark = f"cmp-{name}"
    return mark if len(mark) <= _MARK_LENGTH else f"cmp-{sha256(name.encode()).hexdigest()[:6]}"


def _order(candidate: Candidate) -> tuple[bool, bool, bool, str]:
    """Rarely the only one of a group last; those that can only be there once after the others."""
    default = candidate.method == methods.DEFAULT
    return candidate.alone, bool(candidate.sole), not default, candidate.method or ""


_MARK_LENGTH = 10
_PORTS = Candidate("ports", "cmp-ports", None)
CANDIDATES = tuple(
    sorted([_PORTS, *(c for name in methods.names() for c in _of_method(name))], key=_order)
)
"""Every candidate: all variants of all methods, and published ports."""


@dataclass(frozen=True, slots=True)
class Site:
    """Hosts to deploy candidates on: a free range for each candidate, the LAN and a free part."""

    hosts: tuple[Host, ...]
    ranges: tuple[IPv4Network, ...]
    packages: str = "install"
    lan: IPv4Network | None = None
    pool: IPv4Network | None = None


def chosen(option: str | None) -> tuple[Candidate, ...]:
    """The candidates to compare by the value of `--methods`. Raises UsageError for another name."""
    if option is None:
        return CANDIDATES
    names = [name.strip() for name in option.split(",") if name.strip()]
    known = (BASELINE, *(candidate.name for candidate in CANDIDATES))
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, "methods")
            raise UsageError(f"--methods: no method to compare is named '{name}'", hint)
    if not names:
        raise UsageError("--methods is empty", f"use some of {', '.join(known)}")
    return tuple(candidate for candidate in CANDIDATES if candidate.name in names)


def groups(candidates: Iterable[Candidate]) -> tuple[tuple[Candidate, ...], ...]:
    """Group the candidates that can be deployed at the same time (first fit)."""
    result: list[list[Candidate]] = []
    for candidate in candidates:
        fitting = (group for group in result if not any(_clash(candidate, c) for c in group))
        group = next(fitting, None)
        if group is None:
            result.append([candidate])
        else:
            group.append(candidate)
    return tuple(tuple(group) for group in result)


def _clash(first: Candidate, second: Candidate) -> bool:
    return first.alone or second.alone or first.sole == second.sole != ""


def free_ranges(used: Iterable[IPv4Network]) -> tuple[IPv4Network, ...]:
    """Blocks of RANGE that overlap none of `used`, at least one for each candidate.

    Raises UsageError when there are too few.
    """
    in_use = tuple(used)
    ranges = tuple(
        block
        for block in RANGE.subnets(new_prefix=19)
        if not any(block.overlaps(network) for network in in_use)
    )
    if len(ranges) < len(CANDIDATES):
        raise UsageError(
            f"the hosts use too much of {RANGE}, which compare takes its test networks from",
            "remove routes and networks in it",
        )
    return ranges


def text(candidate: Candidate, site: Site, *, switching: bool = False) -> str:
    """The inventory of a candidate, as JSON, which is valid YAML.

    `switching`: with the same name for all candidates, so that applying one replaces another.
    """
    mark = SWITCH_MARK if switching else candidate.mark
    document: dict[str, Any] = {
        "name": mark,
        "packages": site.packages,
        "hosts": {host.name: _host(host) for host in site.hosts},
    }
    if candidate.method is not None:
        # Docker's networks have one name space on a host, so the mark is the network's name, too.
        block = site.ranges[CANDIDATES.index(candidate)]
        document["networks"] = {mark: _network(candidate, site, block)}
    document["containers"] = {
        f"{mark}-{number}": _container(candidate, host.name, mark)
        for number, host in enumerate(site.hosts[:CONTAINERS], 1)
    }
    return json.dumps(document, indent=1)


def _host(host: Host) -> dict[str, str]:
    nic = {"nic": host.nic} if host.nic else {}
    return {"address": str(host.address), **nic}


def _network(candidate: Candidate, site: Site, block: IPv4Network) -> dict[str, Any]:
    if candidate.on_lan:
        addresses: dict[str, Any] = {"cidr": str(site.lan), "pool": str(site.pool)}
    else:
        # A block is a /19: a /24 for each of up to 32 hosts, smaller subnets for more hosts.
        size = max(24, block.prefixlen + (len(site.hosts) - 1).bit_length())
        addresses = {"cidr": str(block), "subnet_size": size}
    return {"method": candidate.method, **addresses, **candidate.options}


def _container(candidate: Candidate, host: str, network: str) -> dict[str, Any]:
    if candidate.method is not None:
        return {"host": host, "network": network}
    iperf = f"{PUBLISHED_IPERF_PORT}:{IPERF_PORT}"
    ports = [iperf, f"{iperf}/udp", f"{PUBLISHED_ECHO_PORT}:{ECHO_PORT}"]
    return {"host": host, "network": "bridge", "ports": ports}
