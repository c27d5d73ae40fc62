"""The links, addresses, routes and ports that stand in the kernel for a bridge of Docker. Pure.

Docker lists a network and its containers from its own database, also after somebody has deleted the
bridge, its address or a port of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from provision.resources.lib.shared_json import decode
from provision.resources.on_hosts import Mark
from provision.resources.render import program_text
from provision.resources.steps import Run, sh

KEYS = ("addresses", "routes", "container", "nsid")
"""Keys of `look/shared.sh` that `BridgeLinks.parse` reads."""

_HEAL = program_text("host/docker_id.sh", "host/docker_owner.sh", "host/bridge_heal.sh")


@dataclass(frozen=True, slots=True)
class BridgeState:
    """`lacks` names what the kernel lacks of a bridge, separated by commas; empty: nothing.

    `restarted` are running containers without a veth pair, which Docker only makes at a start.
    """

    lacks: str = ""
    restarted: tuple[str, ...] = ()

    @property
    def disruption(self) -> str | None:
        """Describe what stops for a while when the bridge is healed; None: nothing."""
        match len(self.restarted):
            case 0:
                return None
            case 1:
                return f"container {self.restarted[0]} restarts"
            case _:
                return f"containers {', '.join(self.restarted)} restart"


def heal(bridge: str, network: str, address: str, subnet: IPv4Network | None, mark: Mark) -> Run:
    """Make what `BridgeLinks.bridge` says that the kernel lacks; `mark` is that of a new bridge."""
    return sh(_HEAL, bridge, network, address, str(subnet), mark.tag)


@dataclass(frozen=True, slots=True)
class BridgeLinks:
    """The host's interfaces and routes, and its running containers that carry a mark.

    `veths` are the interfaces that lead into a network namespace, by its number; `namespaces` are
    the numbers of containers' namespaces, by container id.
    """

    links: Mapping[str, Mapping[str, Any]]
    veths: Mapping[int, list[Mapping[str, Any]]]
    routes: tuple[Mapping[str, Any], ...]
    containers: tuple[Mapping[str, Any], ...]
    namespaces: Mapping[str, int]

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
        )

    def bridge(
        self, bridge: str, network: str, address: str, subnet: IPv4Network | None
    ) -> BridgeState:
        """The state of the bridge of Docker's network `network`.

        `address` is the gateway's with its prefix length. It is empty where Docker only uses the
        bridge: then its ports alone are compared.
        """
        lacks = list(self._lacks(bridge, address, subnet)) if address else []
        unplugged = dict(self._unplugged(bridge, network))
        lacks += [f"port of {container}" for container in sorted(unplugged)]
        restarted = tuple(name for name, has_veth in sorted(unplugged.items()) if not has_veth)
        return BridgeState(", ".join(lacks), restarted)

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


def _is_port(veth: Mapping[str, Any], bridge: str) -> bool:
    return veth.get("master") == bridge and "UP" in veth["flags"]
