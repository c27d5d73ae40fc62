"""Kind `shared_namespace`: a container of mode `container:NAME` is in that container's namespace.

Docker joins the two namespaces only when the second container starts. A restart of the first one
leaves the second in a namespace without interfaces, and a restart of dockerd may leave it exited
(https://github.com/moby/moby/issues/50326). The follower then restarts the second container.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Ref, Resource, keyed_lines
from provision.resources.kinds import container
from provision.resources.kinds.docker_network import LABEL
from provision.resources.on_hosts import Mark
from provision.resources.render import program_text
from provision.resources.steps import Run, Steps, sh

_FOLLOW = program_text("host/follow_shared_namespace.sh")


@dataclass(frozen=True, slots=True)
class SharedNamespace(Resource):
    """`container` is in the current network namespace of the container `owner`."""

    kind: ClassVar[str] = "shared_namespace"
    uses_dockerd: ClassVar[bool] = True
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = """
need_docker
shared container netns
"""
    fingerprint: ClassVar[str] = ":"  # kind `container` covers both containers

    container: str
    owner: str
    inventory: str

    @property
    def name(self) -> str:
        return self.container

    def requires(self) -> tuple[Ref, ...]:
        return tuple(Ref(self.host, "container", name) for name in (self.container, self.owner))

    def is_foreign(self) -> Run:
        return container.is_foreign(self.container, self.inventory)

    def create(self) -> Steps:
        return (sh(_FOLLOW, self.container, self.owner),)

    def delete(self) -> Steps:
        return ()  # the namespace ends with its container

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        return None

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        inspected = [json.loads(rest) for key, rest in lines if key == "container"]
        inodes = dict(rest.split(" ") for key, rest in lines if key == "netns")
        by_id = {entry["Id"]: entry for entry in inspected}
        for entry in inspected:
            mode, _, owner_id = entry["HostConfig"]["NetworkMode"].partition(":")
            if mode != "container" or owner_id not in by_id:
                continue
            # The inode of /proc/PID/ns/net identifies a namespace.
            inode = inodes.get(entry["Id"])  # None: the container does not run
            if inode is not None and inode == inodes.get(owner_id):
                yield _shared(entry, by_id[owner_id], origin)


def _shared(entry: dict[str, Any], owner: dict[str, Any], origin: Origin) -> Found:
    mark = Mark.parse((entry["Config"]["Labels"] or {}).get(LABEL, ""))
    container, owner_name = (each["Name"].removeprefix("/") for each in (entry, owner))
    shared = SharedNamespace(origin.host, container, owner_name, mark.inventory)
    return Found(shared, ours=mark.inventory == origin.inventory)
