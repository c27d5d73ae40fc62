"""The links, addresses, routes and ports that stand in the kernel for a network of Docker. Pure.

Docker lists a network and its containers from its own database, also after somebody has deleted the
bridge, its address or a port of it, or the interface of a container.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from provision.resources.lib.shared_json import decode
from provision.resources.on_hosts import Mark
from provision.resources.render import program_text
from provision.resources.steps import Run, Steps, sh

KEYS = ("addresses", "routes", "container", "nsid", "local", "onlink")
"""Keys of `look/shared.sh` that `BridgeLinks.parse` reads."""

_RUNTIMES = ("", "runc", "io.containerd.runc.v2")
"""Runtimes whose containers use the interface as Docker makes it: gVisor takes its address away."""
_HEAL = program_text("host/docker_id.sh", "host/docker_owner.sh", "host/bridge_heal.sh")


_RESTORE = program_text("host/networkd_link.sh", "host/bridge_restore.sh")


@dataclass(frozen=True, slots=True)
class BridgeState:
    """`lacks` names what the kernel lacks of a network, separated by commas; empty: nothing.

    `restarted` are running containers that lack an interface or its address, which Docker only
    makes at a start.
    """

    lacks: str = ""
    restarted: tuple[str, ...] = ()

    @property
    def disruption(self) -> str | None:
        """Describe what stops for a while when the network is healed; None: nothing."""
        match len(self.restarted):
            case 0:
                return None
            case 1:
                return f"container {self.restarted[0]} restarts"
            case _:
                return f"containers {', '.join(self.restarted)} restart"


def heal(
    bridge: str,
    network: str,
    address: str,
    subnet: IPv4Network | None,
    mark: Mark | None,
    restarted: tuple[str, ...] = (),
) -> Run:
    """Make what `BridgeLinks` says that the kernel lacks, and restart these containers.

    An empty `bridge`: the driver has none. `mark` is that of a new bridge; None: Docker's own.
    """
    tag = mark.tag if mark else "-"
    return sh(_HEAL, bridge, network, address, str(subnet), tag, *restarted)


def restore(bridge: str, address: str = "", subnet: object = "", *, anew: bool = False) -> Run:
    """Give a bridge back what a network manager has taken; an empty `address`: only its ports.

    `anew`: the manager deletes the bridge and makes it anew.
    """
    return sh(_RESTORE, bridge, address, str(subnet), "anew" if anew else "-")


def without_address(address: str, lacks: str) -> Steps:
    """Take the address away from docker0 that `heal` has added, if `lacks` named it.

    The fingerprint has the addresses of docker0.
    """
    if not address or not {f"address {address}", "interface docker0"} & set(lacks.split(", ")):
        return ()
    return (sh('ip -4 address delete "$1" dev docker0 2>/dev/null || :', address),)


@dataclass(frozen=True, slots=True)
class BridgeLinks:
    """The host's interfaces and routes, and its running containers that carry a mark.

    `veths` are the interfaces that lead into a network namespace, by its number; `namespaces` are
    the numbers of containers' namespaces, by container id. `local` are the addresses in them, and
    `onlink` the ranges to which routes without a gateway lead.
    """

    links: Mapping[str, Mapping[str, Any]]
    veths: Mapping[int, list[Mapping[str, Any]]]
    routes: tuple[Mapping[str, Any], ...]
    containers: tuple[Mapping[str, Any], ...]
    namespaces: Mapping[str, int]
    local: Mapping[str, tuple[IPv4Address, ...]]
    onlink: Mapping[str, tuple[IPv4Network, ...]]

    @classmethod
    def parse(cls, lines: list[tuple[str, str]]) -> BridgeLinks | None:
        """Read the lines of `KEYS`; None where the host did not tell its interfaces."""
        answers = dict(lines)
        if not {"addresses", "routes"} <= answers.keys():
            return None
        containers = (json.loads(rest) for key, rest in lines if key == "container")
        numbers = (rest.split(" ") for key, rest in lines if key == "nsid")
        links = decode(answers["addresses"])
        veths: dict[int, list[Mapping[str, Any]]] = {}
        for link in links:
            if "link_netnsid" in link:
                veths.setdefault(link["link_netnsid"], []).append(link)
        return cls(
            {link["ifname"]: link for link in links},
            veths,
            tuple(decode(answers["routes"])),
            tuple(entry for entry in containers if entry["State"]["Status"] == "running"),
            {container: int(number) for container, number in numbers},
            {name: tuple(map(IPv4Address, rest)) for name, *rest in _fields(lines, "local")},
            {name: tuple(map(IPv4Network, rest)) for name, *rest in _fields(lines, "onlink")},
        )

    def bridge(
        self, bridge: str, network: str, address: str, subnet: IPv4Network | None, only: str = ""
    ) -> BridgeState:
        """The state of the bridge of Docker's network `network`, and of its containers.

        `address` is the gateway's with its prefix length. It is empty where Docker only uses the
        bridge: then its ports alone are compared. `only`: the one container to compare.
        """
        lacks = list(self._lacks(bridge, address, subnet)) if address else []
        unplugged = {n: veth for n, veth in self._unplugged(bridge, network) if only in ("", n)}
        lacks += [f"port of {container}" for container in sorted(unplugged)]
        # A container without its veth pair has no interface either: that is said once.
        inside = {n: part for n, part in self._inside(network) if only in ("", n)}
        inside = {name: part for name, part in inside.items() if unplugged.get(name, True)}
        lacks += [f"{part} in {name}" for name, part in sorted(inside.items())]
        without_veth = {name for name, has_veth in unplugged.items() if not has_veth}
        return BridgeState(", ".join(lacks), tuple(sorted(without_veth | inside.keys())))

    def containers_on(self, network: str) -> BridgeState:
        """The state of the containers of a network whose driver has no bridge."""
        inside = sorted(self._inside(network))
        lacks = ", ".join(f"{part} in {name}" for name, part in inside)
        return BridgeState(lacks, tuple(name for name, _ in inside))

    def _lacks(self, bridge: str, address: str, subnet: IPv4Network | None) -> Iterator[str]:
        link = self.links.get(bridge)
        if link is None:
            yield f"interface {bridge}"
            return
        is_up = "UP" in link["flags"]
        if not is_up:
            yield f"flag UP of {bridge}"
        entries = link.get("addr_info", ())
        if address not in {f"{entry.get('local')}/{entry.get('prefixlen')}" for entry in entries}:
            yield f"address {address}"
        # The kernel has this route while the interface is up and has the address.
        elif is_up and not self._has_route(bridge, subnet):
            yield f"route to {subnet}"

    def _has_route(self, bridge: str, subnet: IPv4Network | None) -> bool:
        return any(
            (entry.get("dst"), entry.get("dev")) == (str(subnet), bridge) for entry in self.routes
        )

    def _inside(self, network: str) -> Iterator[tuple[str, str]]:
        """Yield each running container that lacks its address, or whose interface is down."""
        for entry in self.containers:
            endpoint = (entry["NetworkSettings"]["Networks"] or {}).get(network) or {}
            local, onlink = self.local.get(entry["Id"]), self.onlink.get(entry["Id"])
            runtime = entry.get("HostConfig", {}).get("Runtime") or ""
            if not endpoint.get("IPAddress") or not local or onlink is None:
                continue  # a namespace has at least 127.0.0.1, unless it has just ended
            address, name = IPv4Address(endpoint["IPAddress"]), str(entry["Name"])
            if runtime not in _RUNTIMES:
                continue
            if address not in local:
                yield name.removeprefix("/"), f"address {address}"
            elif not any(address in subnet for subnet in onlink):
                yield name.removeprefix("/"), f"link with {address}"

    def _unplugged(self, bridge: str, network: str) -> Iterator[tuple[str, bool]]:
        """Yield each running container that is no port of its bridge; True: it has a veth pair."""
        for entry in self.containers:
            endpoint = (entry["NetworkSettings"]["Networks"] or {}).get(network)
            number = self.namespaces.get(entry["Id"])
            if not endpoint or not endpoint.get("EndpointID") or number is None:
                continue
            veths = self.veths.get(number, ())
            if not any(_is_port(veth, bridge) for veth in veths):
                free = any(veth.get("master", bridge) == bridge for veth in veths)
                yield str(entry["Name"]).removeprefix("/"), free


def _fields(lines: list[tuple[str, str]], key: str) -> Iterator[list[str]]:
    return (rest.split() for line_key, rest in lines if line_key == key)


def _is_port(veth: Mapping[str, Any], bridge: str) -> bool:
    return veth.get("master") == bridge and "UP" in veth["flags"]
