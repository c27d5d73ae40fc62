"""Kind `docker_network`: a Docker bridge network of our own on one host."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Ref, Resource, is_rebuilt
from provision.resources.lib.docker_api import RUNNING
from provision.resources.on_hosts import Mark
from provision.resources.render import program_text
from provision.resources.steps import Run, Steps

LABEL = "provision"
"""Label key of everything that we make in Docker; its value is `<inventory>/<network>`."""

BRIDGE_NAME = "com.docker.network.bridge.name"
MTU = "com.docker.network.driver.mtu"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
TRUSTED = "com.docker.network.bridge.trusted_host_interfaces"
GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv4"
INHIBIT = "com.docker.network.bridge.inhibit_ipv4"
OPTIONS = (BRIDGE_NAME, MTU, MASQUERADE, TRUSTED, GATEWAY_MODE, INHIBIT)
"""Options that we set or leave out on purpose; others (a default of the daemon) are not ours."""


_DOCKER_ID = program_text("host/docker_id.sh")
_CREATE = (
    _DOCKER_ID
    + r"""
name=$1 mark=$2 subnet=$3; shift 3
id=$(network_id "$name") && [ -n "$id" ] || exec docker network create "$@"
shown='{{index .Labels "provision"}} {{range .IPAM.Config}}{{.Subnet}}{{end}}'
[ "$(docker network inspect --format "$shown" "$id")" = "$mark $subnet" ]
"""
)
_REMOVE = (
    _DOCKER_ID
    + r"""
id=$(network_id "$1") || exit
[ -z "$id" ] || docker network rm "$id"
"""
)


@dataclass(frozen=True, slots=True)
class DockerNetwork(Resource):
    """A network with one IPv4 subnet; `options` are sorted pairs of Docker's own option names.

    Docker hands out addresses of `part` only, where there is one. `guests` are containers on it
    without our mark; `ssh`: we come from its range.
    """

    kind: ClassVar[str] = "docker_network"
    uses_dockerd: ClassVar[bool] = True
    probe: ClassVar[str] = """
need_docker
shared networks containers
"""
    fingerprint: ClassVar[str] = r"""
need_docker
docker network ls --quiet --no-trunc --filter label=provision |
  xargs -r docker network inspect --format '
{{.Name}} {{.Driver}} {{json .IPAM.Config}} {{json .Options}} {{json .Labels}}' | grep . | sort
"""

    network: str
    subnet: IPv4Network | None
    gateway: IPv4Address | None
    options: tuple[tuple[str, str], ...]
    mark: Mark
    part: IPv4Network | None = None
    guests: tuple[str, ...] = field(default=(), compare=False)
    ssh: bool = field(default=False, compare=False, repr=False)
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.network

    def touches_ssh(self, current: Resource | None) -> bool:  # noqa: ARG002
        return self.ssh

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def create(self) -> Steps:
        options = [word for pair in self.options for word in ("--opt", "=".join(pair))]
        where = ("--subnet", str(self.subnet), "--gateway", str(self.gateway))
        part = ("--ip-range", str(self.part)) if self.part else ()
        mark = ("--label", f"{LABEL}={self.mark}")
        words = ("--driver", "bridge", *where, *part, *mark, *options, "--", self.network)
        known = (self.network, str(self.mark), str(self.subnet))
        return (Run(("sh", "-c", _CREATE, "sh", *known, *words)),)

    def delete(self) -> Steps:
        return (Run(("sh", "-c", _REMOVE, "sh", self.network)),)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        return f"every container on {self.network} is re-created" if recreated else None

    def blocking_reason(self, after: Resource | None) -> str | None:
        if not self.guests or not is_rebuilt(self, after):
            return None
        return (
            f"network {self.network} holds containers that are not ours: {', '.join(self.guests)}"
        )

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        answers = dict(line.partition(" ")[::2] for line in text.splitlines())
        guests = _guests(json.loads(answers["containers"]))
        for entry in json.loads(answers["networks"]):
            if entry["Driver"] == "bridge":
                mark = Mark.parse((entry.get("Labels") or {}).get(LABEL, ""))
                found = _network(entry, mark, guests.get(entry["Name"], ()), scope)
                yield Found(found, mark.inventory == scope.inventory)


def _guests(containers: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Names of running containers without our mark, by network."""
    found: dict[str, list[str]] = {}
    for entry in containers:
        if entry["State"] in RUNNING and LABEL not in (entry["Labels"] or {}):
            for network in entry["NetworkSettings"]["Networks"] or {}:
                found.setdefault(network, []).append(min(entry["Names"]).removeprefix("/"))
    return {network: tuple(sorted(names)) for network, names in found.items()}


def _network(
    entry: dict[str, Any], mark: Mark, guests: tuple[str, ...], scope: Origin
) -> DockerNetwork:
    pools = (entry.get("IPAM") or {}).get("Config") or [{}]
    options = (entry.get("Options") or {}).items()
    return DockerNetwork(
        scope.host,
        entry["Name"],
        _version_4(IPv4Network, pools[0].get("Subnet")),
        _version_4(IPv4Address, pools[0].get("Gateway")),
        tuple(sorted((key, value) for key, value in options if key in OPTIONS)),
        mark,
        _version_4(IPv4Network, pools[0].get("IPRange")),
        guests,
    )


def _version_4(kind: Any, text: str | None) -> Any:
    return None if not text or ":" in text else kind(text)
