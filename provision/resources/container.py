"""Kind `container`: a running Docker container of ours."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any, ClassVar

from provision.resource import Ref, Resource, Run, Scope, Seen, Steps
from provision.resources.docker_network import LABEL

COMMAND_LABEL = "provision.command"
"""`image` when the container runs its image's own command, which inspection cannot tell."""

_FIELDS = {
    "name": ".Name",
    "labels": ".Config.Labels",
    "image": ".Config.Image",
    "command": ".Config.Cmd",
    "restart": ".HostConfig.RestartPolicy.Name",
    "mode": ".HostConfig.NetworkMode",
    "networks": ".NetworkSettings.Networks",
    "status": ".State.Status",
    "pid": ".State.Pid",
}
_FORMAT = "{" + ",".join(f'"{key}":{{{{json {path}}}}}' for key, path in _FIELDS.items()) + "}"


@dataclass(frozen=True, slots=True)
class Container(Resource):
    """A container with Docker's name `container`; an empty `command` is the image's own.

    `address` is the fixed one, None where Docker chooses; `live_address` is what it has now.
    `network` is Docker's name of it; empty when it was taken off its network by hand.
    """

    kind: ClassVar[str] = "container"
    probe: ClassVar[str] = rf"""
need_docker
containers() {{ inspect '{_FORMAT}' container $(docker ps --all --quiet --no-trunc); }}
twice containers
"""

    container: str
    image: str
    command: tuple[str, ...]
    network: str
    address: IPv4Address | None
    restart: str
    mark: str
    status: str = "running"
    needs: tuple[Ref, ...] = field(default=(), compare=False)
    live_address: IPv4Address | None = field(default=None, compare=False)
    pid: int = field(default=0, compare=False)

    @property
    def name(self) -> str:
        return self.container

    def requires(self) -> tuple[Ref, ...]:
        on_docker0 = self.network == "bridge"
        return self.needs or (
            Ref(self.host, *(("docker0",) * 2 if on_docker0 else ("docker_network", self.network))),
            Ref(self.host, "image", self.image),
            Ref(self.host, "image_archive", self.image),
        )

    def create(self) -> Steps:
        labels = {LABEL: self.mark, COMMAND_LABEL: "own" if self.command else "image"}
        words = [word for pair in labels.items() for word in ("--label", "=".join(pair))]
        address = ("--ip", str(self.address)) if self.address else ()
        how = ("--network", self.network, *address, "--restart", self.restart)
        run = ("docker", "run", "--detach", "--pull", "never", "--name", self.container)
        return (Run((*run, *how, *words, "--", self.image, *self.command)),)

    def delete(self) -> Steps:
        return (Run(("docker", "rm", "--force", "--volumes", "--", self.container)),)

    def update(self, found: Resource) -> Steps | None:
        assert isinstance(found, Container)
        if replace(found, status=self.status, restart=self.restart) != self:
            return None
        steps: list[Run] = []
        if found.restart != self.restart:
            steps.append(Run(("docker", "update", "--restart", self.restart, self.container)))
        if found.status != self.status:
            verb = "unpause" if found.status == "paused" else "start"
            steps.append(Run(("docker", verb, self.container)))
        return tuple(steps)

    def disruption(self, found: Resource | None, *, anew: bool) -> str | None:  # noqa: ARG002
        if not anew:
            return None
        return f"container {self.container} stops and a new one starts"

    @classmethod
    def parse(cls, text: str, scope: Scope) -> Iterable[Seen]:
        for line in text.splitlines():
            found = _container(json.loads(line), scope)
            yield Seen(found, ours=found.mark.split("/")[0] == scope.inventory)


def _container(entry: dict[str, Any], scope: Scope) -> Container:
    labels = entry["labels"] or {}
    # Docker calls its default network `default` before 28 when no --network was given.
    mode = "bridge" if entry["mode"] == "default" else entry["mode"]
    joined = (entry["networks"] or {}).get(mode)
    endpoint = joined or {}
    own_command = labels.get(COMMAND_LABEL) != "image"
    return Container(
        host=scope.host,
        container=entry["name"].removeprefix("/"),
        image=entry["image"],
        command=tuple(entry["command"] or ()) if own_command else (),
        network=mode if joined is not None else "",
        address=_address((endpoint.get("IPAMConfig") or {}).get("IPv4Address")),
        restart=entry["restart"] or "no",
        mark=labels.get(LABEL, ""),
        status=entry["status"],
        live_address=_address(endpoint.get("IPAddress")),
        pid=int(entry["pid"]),
    )


def _address(text: str | None) -> IPv4Address | None:
    return IPv4Address(text) if text else None
