"""The probe of a host's facts, and the reading of its output. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

from provision.facts import docker_entry, firewall, network_defaults, nics, peer_routes, policy
from provision.facts.host import (
    AppliedFrom,
    HostFacts,
    KernelRoute,
    Link,
    PortListener,
)
from provision.facts.lines import KeyedLines
from provision.facts.peer_routes import Addresses, PeerRoutes
from provision.model.ipv4 import ipv4_network
from provision.resources.kinds.package import PACKAGES
from provision.resources.lib import nic_records, ovsdb
from provision.resources.lib.route_protocols import BOOT, REFUSALS
from provision.resources.lib.shared_json import made
from provision.resources.render import program_text

TOOLS = (*PACKAGES, "systemctl")
"""Commands that each snapshot looks for, besides those that only some methods need."""


def probe() -> str:
    """POSIX sh that prints what `parse` reads; `gather.script` sets its variables."""
    return program_text("look/host.sh", "look/nics.sh", "look/firewall.sh", "look/ports.sh")


def _not_forwarding(lines: KeyedLines) -> Iterator[str]:
    """The interfaces that do not forward although the host does, or did before our change."""
    yield from lines.every("unforwarding")
    yield from (name for name, value in lines.pairs("interface") if value == "0")


def parse(
    host: str, text: str, fleet: Addresses | None = None, address: IPv4Address | None = None
) -> HostFacts:
    """Read the output of `probe`. Raises ValueError or KeyError.

    `fleet` are the addresses of all hosts, `address` that of this one: its routes to the others are
    read.
    """
    lines = KeyedLines(text)
    docker = lines.decoded("docker_info", "{}")
    tools = frozenset(lines.every("tool"))
    # With `ip` both lines are there: a missing one is an error, not a host without interfaces.
    addresses = lines.decoded("addresses") if "ip" in tools else []
    routes = tuple(_kernel_routes(lines.decoded("routes") if "ip" in tools else []))
    ssh_from, ssh_to = _ssh_connection(lines.only("ssh", ""))
    return HostFacts(
        host=host,
        systemd=lines.only("systemd") == "yes",
        uid=int(lines.only("uid")),
        tools=tools,
        docker=version(str(docker.get("ServerVersion") or "")),
        docker_error=lines.only("docker-error", ""),
        live_restore=bool(docker.get("LiveRestoreEnabled")),
        rootless=_is_rootless(docker),
        links={link.name: link for link in map(_link, addresses)},
        peer_routes=_peer_routes(lines, fleet or Addresses(()), address),
        package_manager=lines.only("manager", ""),
        docker_candidate=version(lines.only("candidate", "")),
        incomplete_packages=dict(lines.pairs("without")),
        ssh_from=ssh_from,
        ssh_to=ssh_to,
        guard_files=lines.every("guard"),
        routes=tuple(route for route in routes if route.dev),
        routes_without_device=tuple(route for route in routes if not route.dev),
        architecture=lines.only("machine", ""),
        nics=nics.parse(lines, addresses, ovsdb.bridge_by_port(text)),
        bridged_nics=nic_records.parse_records(lines.every("was")),
        default_routes=nics.default_routes(lines),
        nics_in_containers=frozenset(lines.every("given")),
        ovs_nic_by_bridge=_ovs_nic_by_bridge(text),
        foreign_files=frozenset(lines.every("foreign")),
        not_forwarding=frozenset(_not_forwarding(lines)),
        networkd_files=dict(lines.pairs("networkd")),
        policy=policy.parse(lines),
        firewall=firewall.parse(lines),
        listeners=tuple(map(_listener, lines.every("listener"))),
        ip_settings={
            nic: (int(rp_filter), int(arp_ignore))
            for nic, rp_filter, arp_ignore in map(str.split, lines.every("ip_settings"))
        },
        # Podman adds fields of its own to the answer that it imitates.
        podman="BuildahVersion" in docker,
        nftables_backend=(docker.get("FirewallBackend") or {}).get("Driver", "").startswith("nft"),
        blocked_folders=frozenset(lines.every("blocked")),
        applied_from=_applied_from(lines.only("origin", "")),
        docker_containers=docker_entry.parse(lines.decoded("containers", "[]")),
        guests=frozenset(lines.every("guest")),
        docker0_isolates=network_defaults.isolates_docker0(lines.decoded("networks", "[]")),
        network_defaults=network_defaults.parse(lines),
        default_bridge="networks" not in lines or _has_default_bridge(lines.decoded("networks")),
    )


def version(text: str) -> tuple[int, ...]:
    """`28.5.2+dfsg1` → (28, 5, 2); nothing → ()."""
    # Distributions append their own version to it, and flanneld prints `v0.26.7`.
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _listener(line: str) -> PortListener:
    protocol, local, program = line.split(" ", 2)
    address, _, port = local.rpartition(":")
    return PortListener(protocol, address.partition("%")[0], int(port), program)


def _is_rootless(docker: Mapping[str, Any]) -> bool:
    return any("rootless" in str(option) for option in docker.get("SecurityOptions") or ())


def _has_default_bridge(networks: Iterable[Mapping[str, Any]]) -> bool:
    return any(network["Name"] == "bridge" for network in networks)


def _applied_from(text: str) -> AppliedFrom | None:
    """The record of an inventory file; None for a damaged one, which must not stop a command."""
    try:
        record = json.loads(text)
        return AppliedFrom(str(record["path"]), str(record["owner"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _ssh_connection(text: str) -> tuple[IPv4Address | None, IPv4Address | None]:
    """The addresses in `SSH_CONNECTION` (ssh(1)): that of the client, and the host's own."""
    client, _, server = (*text.split(" "), "", "")[:3]
    return _ipv4(client), _ipv4(server)


def _ipv4(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def _ovs_nic_by_bridge(text: str) -> dict[str, str]:
    return {
        row["name"]: row["external_ids"][ovsdb.NIC_KEY]
        for row in ovsdb.bridges(text)
        if ovsdb.NIC_KEY in row["external_ids"]
    }


def _link(entry: Mapping[str, Any]) -> Link:
    addresses = (
        IPv4Interface(f"{info['local']}/{info['prefixlen']}")
        for info in entry.get("addr_info", ())
        if info["family"] == "inet"
    )
    altnames = tuple(map(str, entry.get("altnames", ())))
    up = "UP" in entry.get("flags", ("UP",))
    return Link(entry["ifname"], int(entry["mtu"]), tuple(addresses), altnames, up)


def _decoded(texts: Iterable[str]) -> list[Any]:
    """The JSON values of many short texts, by one call: calls cost more than the values."""
    values: list[Any] = json.loads(f"[{','.join(texts)}]")
    return values


def _peer_routes(lines: KeyedLines, fleet: Addresses, address: IPv4Address | None) -> PeerRoutes:
    """The routes to the peers: the kernel's answers, if the host had to ask it."""
    answers = lines.every("way")
    if answers or "ways" in lines:
        return peer_routes.by_kernel(_decoded(answers))
    return fleet.routes(address, lines.decoded("every_route", "[]"))


def _kernel_routes(entries: Iterable[Mapping[str, Any]]) -> Iterator[KernelRoute]:
    return (route for entry in entries if (route := made(entry, _kernel_route)))


def _kernel_route(entry: Mapping[str, Any]) -> KernelRoute | None:
    # A multipath route has `nexthops` instead of `dev`.
    refusal = REFUSALS.get(str(entry.get("type")), "")
    if entry["dst"] == "default" or not (refusal or "dev" in entry or "nexthops" in entry):
        return None
    network = ipv4_network(entry["dst"])
    number, via = int(entry.get("protocol", BOOT)), str(entry.get("gateway", ""))
    dev = "" if refusal else str(entry.get("dev", ""))
    return KernelRoute(network, dev, number, str(network), via, refusal)
