"""Kind `docker_network`: a Docker bridge network of our own on one host."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, ClassVar

from provision.resource import Resource, Run, Scope, Seen, Steps, rebuilt

LABEL = "provision"
"""Label key of everything that we make in Docker; its value is `<inventory>/<network>`."""

BRIDGE_NAME = "com.docker.network.bridge.name"
MTU = "com.docker.network.driver.mtu"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
TRUSTED = "com.docker.network.bridge.trusted_host_interfaces"
GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv4"
OPTIONS = (BRIDGE_NAME, MTU, MASQUERADE, TRUSTED, GATEWAY_MODE)
"""Options that we set or leave out on purpose; others (a default of the daemon) are not ours."""


@dataclass(frozen=True, slots=True)
class DockerNetwork(Resource):
    """A network with one IPv4 subnet; `options` are sorted pairs of Docker's own option names.

    `guests` are containers on it without our mark.
    """

    kind: ClassVar[str] = "docker_network"
    probe: ClassVar[str] = r"""
need_docker
networks() {
  inspect '{{json .}}' network $(docker network ls --quiet --no-trunc --filter driver=bridge)
}
twice networks
echo "ours $(docker ps --all --no-trunc --quiet --filter label=provision | tr '\n' ' ')"
"""

    network: str
    subnet: IPv4Network | None
    gateway: IPv4Address | None
    options: tuple[tuple[str, str], ...]
    mark: str
    guests: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.network

    def create(self) -> Steps:
        options = [word for pair in self.options for word in ("--opt", "=".join(pair))]
        where = ("--subnet", str(self.subnet), "--gateway", str(self.gateway))
        mark = ("--label", f"{LABEL}={self.mark}")
        make = ("docker", "network", "create", "--driver", "bridge", *where, *mark)
        return (Run((*make, *options, "--", self.network)),)

    def delete(self) -> Steps:
        return (Run(("docker", "network", "rm", "--", self.network)),)

    def disruption(self, found: Resource | None, *, anew: bool) -> str | None:  # noqa: ARG002
        return f"every container on {self.network} is re-created" if anew else None

    def objection(self, after: Resource | None) -> str | None:
        if not self.guests or not rebuilt(self, after):
            return None
        return (
            f"network {self.network} holds containers that are not ours: {', '.join(self.guests)}"
        )

    @classmethod
    def parse(cls, text: str, scope: Scope) -> Iterable[Seen]:
        lines = text.splitlines()
        ours = set(lines.pop().removeprefix("ours").split())
        for line in lines:
            entry = json.loads(line)
            mark = (entry.get("Labels") or {}).get(LABEL, "")
            yield Seen(_network(entry, mark, ours, scope), mark.split("/")[0] == scope.inventory)


def _network(entry: dict[str, Any], mark: str, ours: set[str], scope: Scope) -> DockerNetwork:
    pools = (entry.get("IPAM") or {}).get("Config") or [{}]
    options = (entry.get("Options") or {}).items()
    guests = (entry.get("Containers") or {}).items()
    return DockerNetwork(
        scope.host,
        entry["Name"],
        _version_4(IPv4Network, pools[0].get("Subnet")),
        _version_4(IPv4Address, pools[0].get("Gateway")),
        tuple(sorted((key, value) for key, value in options if key in OPTIONS)),
        mark,
        tuple(sorted(guest["Name"] for name, guest in guests if name not in ours)),
    )


def _version_4(kind: Any, text: str | None) -> Any:
    return None if not text or ":" in text else kind(text)
