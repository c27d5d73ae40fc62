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


@dataclass(frozen=True, slots=True)
class Container(Resource):
    """A container with Docker's name `container`; an empty `command` is the image's own.

    `address` is the fixed one, None where Docker chooses; `live_address` is what it has now.
    `network` is Docker's name of it; empty when it was taken off its network by hand.
    """

    kind: ClassVar[str] = "container"
    probe: ClassVar[str] = """
need_docker
shared containers container
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
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        inspected = [json.loads(entry) for word, entry in lines if word == "container"]
        known = {entry["Id"] for entry in inspected}
        for entry in inspected:
            found = _container(entry, scope)
            yield Seen(found, ours=found.mark.split("/")[0] == scope.inventory)
        for entry in json.loads(dict(lines)["containers"]):
            # One of ours that is not inspected vanished in between.
            if entry["Id"] not in known and LABEL not in (entry["Labels"] or {}):
                yield Seen(_foreign(entry, scope), ours=False)


def _container(entry: dict[str, Any], scope: Scope) -> Container:
    settings, how, state = entry["Config"], entry["HostConfig"], entry["State"]
    labels = settings["Labels"] or {}
    # Docker calls its default network `default` before 28 when no --network was given.
    mode = "bridge" if how["NetworkMode"] == "default" else how["NetworkMode"]
    joined = (entry["NetworkSettings"]["Networks"] or {}).get(mode)
    endpoint = joined or {}
    own_command = labels.get(COMMAND_LABEL) != "image"
    return Container(
        host=scope.host,
        container=entry["Name"].removeprefix("/"),
        image=settings["Image"],
        command=tuple(settings["Cmd"] or ()) if own_command else (),
        network=mode if joined is not None else "",
        address=_address((endpoint.get("IPAMConfig") or {}).get("IPv4Address")),
        restart=how["RestartPolicy"]["Name"] or "no",
        mark=labels.get(LABEL, ""),
        status=state["Status"],
        live_address=_address(endpoint.get("IPAddress")),
        pid=int(state["Pid"]),
    )


def _foreign(entry: dict[str, Any], scope: Scope) -> Container:
    """One without our mark, of which only the name matters: it is in the way, or it is not."""
    name = min(entry["Names"] or [entry["Id"]], key=len).removeprefix("/")
    return Container(scope.host, name, entry["Image"], (), "", None, "", "", entry["State"])


def _address(text: str | None) -> IPv4Address | None:
    return IPv4Address(text) if text else None
