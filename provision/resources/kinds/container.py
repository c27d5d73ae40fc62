"""Kind `container`: a running Docker container of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.kinds.docker_network import LABEL
from provision.resources.on_hosts import UNMARKED, Mark
from provision.resources.render import program_text
from provision.resources.steps import Run, Steps, Unless, sh

COMMAND_LABEL = "provision.command"
"""`image` when the container runs its image's own command, which inspection cannot tell."""
ENV_LABEL = "provision.env"
"""The names of the variables that we gave, as JSON: inspection mixes them with the image's."""
MAC_LABEL = "provision.mac"
"""The MAC address that was asked for; inspection shows one in any case."""
_ASIDE = re.compile(r"\.provision-[0-9a-f]+$")
"""How a container is called that a change has put aside: it is nobody's until the change ends."""

_DOCKER_ID = program_text("host/docker_id.sh")
_RUN = (
    _DOCKER_ID
    + r"""
name=$1 mark=$2; shift 2
id=$(container_id "$name") && [ -n "$id" ] || exec docker run "$@"
[ "$(docker inspect --format '{{index .Config.Labels "provision"}}' "$id")" = "$mark" ] &&
  docker start "$id"
"""
)
_REMOVE = (
    _DOCKER_ID
    + r"""
id=$(container_id "$1") || exit
[ -z "$id" ] || docker rm --force --volumes "$id"
"""
)
_STASH = (
    _DOCKER_ID
    + r"""
id=$(container_id "$1") || exit
if [ -n "$id" ]; then docker rename "$id" "$2" || exit; else id=$(container_id "$2") || exit; fi
[ -n "$id" ] || exit 0
docker update --restart no "$id" >/dev/null || exit
docker kill "$id" >/dev/null 2>&1
[ "$(docker inspect --format '{{.State.Running}}' "$id")" = false ]
"""
)
_UNSTASH = program_text("host/docker_id.sh", "host/container_unstash.sh")
_DO = _DOCKER_ID + '\nid=$(container_id "$1") && docker "$2" "$id"\n'


@dataclass(frozen=True, slots=True)
class DockerContainer(Resource):
    """A container with Docker's name `container`; an empty `command` is the image's own.

    `address` is the fixed one, None where Docker chooses; `live_address` is what it has now.
    `network` is Docker's name of it, `host`, `none`, or `container:NAME`; empty when the container
    was taken off its network by hand. `ports` are words of `docker run --publish`.
    """

    kind: ClassVar[str] = "container"
    uses_dockerd: ClassVar[bool] = True
    probe: ClassVar[str] = """
need_docker
shared containers container
"""
    # Which address Docker drew is its own affair; a fixed one is in IPAMConfig.
    fingerprint: ClassVar[str] = r"""
need_docker
docker ps --all --quiet --no-trunc --filter label=provision | xargs -r docker inspect --format '
{{.Name}} {{.Config.Image}} {{json .Config.Cmd}} {{json .Config.Env}} {{json .Config.Labels}}
{{.Name}} {{.State.Status}} {{.HostConfig.NetworkMode}} {{json .HostConfig.RestartPolicy}}
{{.Name}} {{json .HostConfig.Binds}} {{json .HostConfig.PortBindings}}
{{$name := .Name}}{{range $net, $how := .NetworkSettings.Networks}}
{{$name}} {{$net}} {{with $how.IPAMConfig}}{{.IPv4Address}}{{end}}
{{end}}' | grep . | sort
"""

    container: str
    image: str
    command: tuple[str, ...]
    network: str
    address: IPv4Address | None
    restart: str
    mark: Mark
    env: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    mac: str | None = None
    status: str = "running"
    needs: tuple[Ref, ...] = field(default=(), compare=False)
    live_address: IPv4Address | None = field(default=None, compare=False)
    pid: int = field(default=0, compare=False)

    @property
    def name(self) -> str:
        return self.container

    def requires(self) -> tuple[Ref, ...]:
        return self.needs or (
            self._place,
            Ref(self.host, "image", self.image),
            Ref(self.host, "image_archive", self.image),
        )

    @property
    def _place(self) -> Ref:
        """What its network is, as far as a resource of ours may be that."""
        word, _, name = self.network.partition(":")
        if word == "container":
            return Ref(self.host, "container", name)
        return Ref(self.host, *(("docker0",) * 2 if word == "bridge" else ("docker_network", word)))

    def create(self) -> Steps:
        run = ("--detach", "--pull", "never", "--name", self.container)
        words = (*run, *self._options(), "--", self.image, *self.command)
        return (_sh(_RUN, self.container, str(self.mark), *words),)

    def _options(self) -> Iterator[str]:
        yield from ("--network", self.network, "--restart", self.restart)
        if self.address:
            yield from ("--ip", str(self.address))
        if self.mac:
            yield from ("--mac-address", self.mac)
        for port in self.ports:
            yield from ("--publish", port)
        for volume in self.volumes:
            yield from ("--volume", volume)
        for variable in self.env:
            yield from ("--env", "=".join(variable))
        for label in self._labels().items():
            yield from ("--label", "=".join(label))
        if self.command[:1] == ("sleep",):
            # The first process of a container does not heed TERM unless it asks for it: a stop, or
            # a reboot of the host, would wait 10 s for it.
            yield from ("--stop-signal", "KILL")

    def _labels(self) -> dict[str, str]:
        labels = {LABEL: str(self.mark), COMMAND_LABEL: "own" if self.command else "image"}
        if self.env:
            labels[ENV_LABEL] = json.dumps([name for name, _ in self.env])
        if self.mac:
            labels[MAC_LABEL] = self.mac
        return labels

    def delete(self) -> Steps:
        return (_sh(_REMOVE, self.container),)

    def stash(self, txn: str) -> Steps:
        return (_sh(_STASH, self.container, self._aside(txn)),)

    def unstash(self, txn: str) -> Steps:
        address = ("--ip", str(self.address)) if self.address else ()
        how = (self.restart, self.status, self.network, *address)
        back = _sh(_UNSTASH, self.container, self._aside(txn), *how)
        return (Unless(back, self.create()),)

    def drop_stash(self, txn: str) -> Steps:
        return (_sh(_REMOVE, self._aside(txn)),)

    def _aside(self, txn: str) -> str:
        return f"{self.container}.provision-{txn}"

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, DockerContainer)
        if replace(current, status=self.status, restart=self.restart) != self:
            return None
        steps: list[Run] = []
        if current.restart != self.restart:
            steps.append(Run(("docker", "update", "--restart", self.restart, self.container)))
        if current.status != self.status:
            verbs = {"running": "start", "paused": "pause"}
            verb = "unpause" if current.status == "paused" else verbs.get(self.status, "kill")
            steps.append(_sh(_DO, self.container, verb))
        return tuple(steps)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        if not recreated:
            return None
        return f"container {self.container} stops and a new one starts"

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        inspected = [json.loads(entry) for word, entry in lines if word == "container"]
        known = {entry["Id"]: entry["Name"].removeprefix("/") for entry in inspected}
        for entry in inspected:
            found = _container(entry, known, scope)
            if _ASIDE.search(found.container):
                continue
            yield Found(found, ours=found.mark.inventory == scope.inventory)
        for entry in json.loads(dict(lines)["containers"]):
            # One of ours that is not inspected vanished in between.
            if entry["Id"] not in known and LABEL not in (entry["Labels"] or {}):
                yield Found(_foreign(entry, scope), ours=False)


def _sh(text: str, *words: str) -> Run:
    return sh(text, *words)


def _container(entry: dict[str, Any], known: Mapping[str, str], scope: Origin) -> DockerContainer:
    """One that carries our label; `known` are the names of all such, by id."""
    settings, how, state = entry["Config"], entry["HostConfig"], entry["State"]
    labels = settings["Labels"] or {}
    # Docker calls its default network `default` before 28 when no --network was given.
    mode = "bridge" if how["NetworkMode"] == "default" else how["NetworkMode"]
    word, _, shared = mode.partition(":")
    joined = (entry["NetworkSettings"]["Networks"] or {}).get(mode)
    if word == "container":
        # Docker keeps the other's id; one that is re-created has another, and is no longer shared.
        mode, joined = f"container:{known.get(shared, shared)}", {}
    endpoint = joined or {}
    variables = dict(pair.partition("=")[::2] for pair in settings["Env"] or ())
    own_command = labels.get(COMMAND_LABEL) != "image"
    return DockerContainer(
        host=scope.host,
        container=entry["Name"].removeprefix("/"),
        image=settings["Image"],
        command=tuple(settings["Cmd"] or ()) if own_command else (),
        network=mode if joined is not None else "",
        address=_address((endpoint.get("IPAMConfig") or {}).get("IPv4Address")),
        restart=how["RestartPolicy"]["Name"] or "no",
        mark=Mark.parse(labels.get(LABEL, "")),
        env=tuple(
            (name, variables.get(name, "")) for name in json.loads(labels.get(ENV_LABEL, "[]"))
        ),
        volumes=tuple(sorted(how["Binds"] or ())),
        ports=tuple(sorted(_ports(how["PortBindings"] or {}))),
        mac=labels.get(MAC_LABEL),
        status=state["Status"],
        live_address=_address(endpoint.get("IPAddress")),
        pid=int(state["Pid"]),
    )


def _ports(bindings: dict[str, list[dict[str, str]]]) -> Iterator[str]:
    """PortBindings of the API as words of `docker run --publish`."""
    for target, places in bindings.items():
        for place in places:
            ip = place["HostIp"]
            at = f"{ip}:" if ip not in ("", "0.0.0.0") else ""
            yield f"{at}{place['HostPort']}:{target}"


def _foreign(entry: dict[str, Any], scope: Origin) -> DockerContainer:
    """One without our mark, of which only the name matters: it is in the way, or it is not."""
    name = min(entry["Names"] or [entry["Id"]], key=len).removeprefix("/")
    return DockerContainer(
        scope.host, name, entry["Image"], (), "", None, "", UNMARKED, entry["State"]
    )


def _address(text: str | None) -> IPv4Address | None:
    return IPv4Address(text) if text else None
