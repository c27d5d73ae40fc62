"""Kind `shared_namespace`: a container of mode `container:NAME` lives where the other lives.

Docker binds the two once, when the second starts: restarting the first leaves the second in a
namespace without interfaces, and a restart of the daemon may leave it exited
(github.com/moby/moby/issues/50326).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.kinds.docker_network import LABEL
from provision.resources.on_hosts import Mark
from provision.resources.render import program_text
from provision.resources.steps import Steps, sh

_FOLLOW = program_text("host/follow_shared_namespace.sh")


@dataclass(frozen=True, slots=True)
class SharedNamespace(Resource):
    """`container` is in the network namespace in which `owner` is now."""

    kind: ClassVar[str] = "shared_namespace"
    uses_dockerd: ClassVar[bool] = True
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = """
need_docker
shared container netns
"""
    fingerprint: ClassVar[str] = ":"  # it lives and ends with the containers, which have theirs

    container: str
    owner: str
    inventory: str

    @property
    def name(self) -> str:
        return self.container

    def requires(self) -> tuple[Ref, ...]:
        return tuple(Ref(self.host, "container", name) for name in (self.container, self.owner))

    def create(self) -> Steps:
        return (sh(_FOLLOW, self.container, self.owner),)

    def delete(self) -> Steps:
        return ()  # it ends with its container

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        return None

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        inspected = [json.loads(entry) for word, entry in lines if word == "container"]
        spaces = dict(rest.split(" ") for word, rest in lines if word == "netns")
        by_id = {entry["Id"]: entry for entry in inspected}
        for entry in inspected:
            word, _, other = entry["HostConfig"]["NetworkMode"].partition(":")
            owner = by_id.get(other)
            if word != "container" or owner is None:
                continue
            own, others = (spaces.get(each["Id"]) for each in (entry, owner))
            if own is None or own != others:
                continue
            label = (entry["Config"]["Labels"] or {}).get(LABEL, "")
            owner_name = Mark.parse(label).inventory
            sharer, shared = (each["Name"].removeprefix("/") for each in (entry, owner))
            found = cls(scope.host, sharer, shared, owner_name)
            yield Found(found, ours=owner_name == scope.inventory)
