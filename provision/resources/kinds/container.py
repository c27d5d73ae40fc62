"""Kind `container`: a Docker container of an inventory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any, ClassVar

from provision.model.names import STASHED
from provision.resources.base import SECRET_PAIRS, Found, Origin, Ref, Resource, keyed_lines
from provision.resources.kinds.docker_network import LABEL
from provision.resources.lib import bridge_state, container_request
from provision.resources.lib import container_inspection as inspection
from provision.resources.lib.container_inspection import COMMAND_LABEL, ENV_LABEL, MAC_LABEL
from provision.resources.lib.docker0_link import Docker0Link, Docker0Links
from provision.resources.on_hosts import UNMARKED, Mark
from provision.resources.render import program_text
from provision.resources.steps import Run, Steps, Unless, sh

_DOCKER_ID = program_text("host/docker_id.sh", "host/docker_owner.sh")
# Sets $id to the id of the container `$1`: empty if there is none, or none of the inventory `$2`.
_OWNED_ID = (
    _DOCKER_ID
    + r"""
owned_id() {
  id=$(container_id "$1") || return
  [ -n "$id" ] || return 0
  is_owned container "$id" "$2" && return
  [ $? = 1 ] && id= && echo "@note container $1 was left: it is not of this inventory"
}
"""
)
# A container with the mark is left from an interrupted apply and only needs a start. The settings
# on stdin are for the program $3.
_RUN = (
    _DOCKER_ID
    + r"""
name=$1 mark=$2
id=$(container_id "$name") || exit
if [ -z "$id" ]; then id=$(perl -e "$3" "$name") || exit
elif [ "$(docker inspect --format '{{index .Config.Labels "provision"}}' "$id")" != "$mark" ]; then
  echo "a container $name exists that is not of this inventory" >&2; exit 1
fi
docker start "$id"
"""
)
_CREATE = program_text("host/container_create.pl")
# --volumes removes anonymous volumes; named ones stay.
_REMOVE = (
    _OWNED_ID
    + r"""
owned_id "$1" "$2" || exit
[ -z "$id" ] || docker rm --force --volumes "$id"
"""
)
# The restart policy is disabled first: Docker would start the stashed container at a reboot.
# `kill`, because `stop` would wait up to 10 s for each container.
_STASH = (
    _OWNED_ID
    + r"""
owned_id "$1" "$3" || exit
if [ -n "$id" ]; then docker rename "$id" "$2" || exit; else owned_id "$2" "$3" || exit; fi
[ -n "$id" ] || exit 0
docker update --restart no "$id" >/dev/null || exit
docker kill "$id" >/dev/null 2>&1
[ "$(docker inspect --format '{{.State.Running}}' "$id")" = false ]
"""
)
_UNSTASH = program_text("host/docker_id.sh", "host/docker_owner.sh", "host/container_unstash.sh")
# Arguments: container, inventory, then a docker command; the id is its last argument.
_DO = (
    _OWNED_ID
    + r"""
owned_id "$1" "$2" || exit
[ -n "$id" ] || { echo "no container $1 of this inventory" >&2; exit 1; }
shift 2
exec docker "$@" "$id"
"""
)
_IS_FOREIGN = (
    _DOCKER_ID
    + r"""
id=$(container_id "$1") && [ -n "$id" ] || exit 1
is_owned container "$id" "$2"
[ $? = 1 ]
"""
)


def is_foreign(container: str, inventory: str) -> Run:
    """Succeed if a container of this name lacks the label of the inventory."""
    return sh(_IS_FOREIGN, container, inventory)


@dataclass(frozen=True, slots=True)
class DockerContainer(Resource):
    """A container with Docker's name `container`; an empty `command` is the image's own.

    `network` is the name of a Docker network, `host`, `none` or `container:NAME`; empty if somebody
    disconnected the container. `address` is the fixed one, None if Docker chooses; `live_address`
    is the current one. `ports` have the form of `docker run --publish`, `volumes` that of
    `--volume`. `dns` are the DNS servers, empty for Docker's own choice. `status` and `restart` are
    Docker's. `pid` is the container's process on the host, 0 if it does not run. `lacks` names what
    the kernel lacks of its `link` to Docker's own default bridge.
    """

    kind: ClassVar[str] = "container"
    uses_dockerd: ClassVar[bool] = True
    probe: ClassVar[str] = """
need_docker
shared containers networks {keys}
""".format(keys=" ".join(bridge_state.KEYS))
    # Without the address that Docker chose, which may change at a restart; a fixed one is in
    # IPAMConfig. The guard keeps this text in files and may print it, so it has the container's id
    # instead of the values of its variables: Docker cannot change those of a container.
    fingerprint: ClassVar[str] = r"""
need_docker
docker ps --all --quiet --no-trunc --filter label=provision | xargs -r docker inspect --format '
{{.Name}} {{.Config.Image}} {{json .Config.Cmd}} {{json .Config.Labels}}
{{.Name}} {{if index .Config.Labels "provision.env"}}{{.Id}}{{end}}
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
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False, metadata=SECRET_PAIRS)
    volumes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    mac: str | None = None
    dns: tuple[str, ...] = field(default=(), repr=False)
    status: str = "running"
    needs: tuple[Ref, ...] = field(default=(), compare=False)
    live_address: IPv4Address | None = field(default=None, compare=False)
    pid: int = field(default=0, compare=False)
    lacks: str = ""
    link: Docker0Link | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.container

    def requires(self) -> tuple[Ref, ...]:
        # A parsed container knows only its network and image by name.
        return self.needs or (
            self._network_ref,
            Ref(self.host, "image", self.image),
            Ref(self.host, "image_archive", self.image),
        )

    @property
    def _network_ref(self) -> Ref:
        """The resource that provides the container's network, if the inventory has one."""
        network, _, container = self.network.partition(":")
        if network == "container":
            return Ref(self.host, "container", container)
        if network == "bridge":
            return Ref(self.host, "docker0", "docker0")
        return Ref(self.host, "docker_network", network)

    def is_foreign(self) -> None:
        return None  # the programs compare the label of the container whose id they use

    def create(self) -> Steps:
        settings = container_request.body(
            image=self.image,
            command=self.command,
            env=self.env,
            labels=self._labels(),
            # The kernel ignores TERM for PID 1 of a namespace unless it has a handler, and `sleep`
            # has none: `docker stop` and a reboot of the host would wait 10 s.
            stop_signal="KILL" if self.command[:1] == ("sleep",) else None,
            network=self.network,
            address=self.address,
            mac=self.mac,
            restart=self.restart,
            ports=self.ports,
            volumes=self.volumes,
            dns=self.dns,
        )
        return (replace(sh(_RUN, self.container, str(self.mark), _CREATE), stdin=settings),)

    def _labels(self) -> dict[str, str]:
        labels = {LABEL: str(self.mark), COMMAND_LABEL: "own" if self.command else "image"}
        if self.env:
            labels[ENV_LABEL] = json.dumps([name for name, _ in self.env])
        if self.mac:
            labels[MAC_LABEL] = self.mac
        return labels

    def delete(self) -> Steps:
        return (sh(_REMOVE, self.container, self.mark.inventory),)

    def stash(self, txn: str) -> Steps:
        return (sh(_STASH, self.container, self._stashed_name(txn), self.mark.inventory),)

    def unstash(self, txn: str) -> Steps:
        address = ("--ip", str(self.address)) if self.address else ()
        state = (self.restart, self.status, self.network, *address)
        names = (self.container, self._stashed_name(txn), self.mark.inventory)
        restored = sh(_UNSTASH, *names, *state)
        # The host keeps these steps in a file, which must not hold the values of variables.
        return (restored,) if self.env else (Unless(restored, self.create()),)

    def drop_stash(self, txn: str) -> Steps:
        return (sh(_REMOVE, self._stashed_name(txn), self.mark.inventory),)

    def _stashed_name(self, txn: str) -> str:
        return f"{self.container}.provision-{txn}"

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, DockerContainer)
        # Docker cannot change the other fields of an existing container.
        if replace(current, status=self.status, restart=self.restart, lacks=self.lacks) != self:
            return None
        steps = list(current.link.heal()) if current.link else []
        if current.restart != self.restart:
            steps.append(self._do("update", "--restart", self.restart))
        if current.status != self.status:
            steps.append(self._do(self._verb_after(current.status)))
        return tuple(steps)

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if not isinstance(before, DockerContainer) or before.link is None or not before.lacks:
            return Resource.undo(self, before, ours=ours)
        restored = replace(before, lacks="")
        steps = restored.update(self)
        if steps is None:
            steps = Resource.undo(self, restored, ours=ours)
        return (*steps, *before.link.undo())

    def _do(self, *command: str) -> Run:
        return sh(_DO, self.container, self.mark.inventory, *command)

    def _verb_after(self, status: str) -> str:
        """The docker command that leads from `status` towards the wanted status."""
        if status == "paused":
            return "unpause"
        return {"running": "start", "paused": "pause"}.get(self.status, "kill")

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        if recreated:
            return f"container {self.container} stops and a new one starts"
        link = current.link if isinstance(current, DockerContainer) else None
        return f"container {self.container} restarts" if link and link.restarts else None

    def _is_on_docker0(self, origin: Origin) -> bool:
        """True for a container of ours on Docker's default bridge, where that is Docker's own."""
        # A network of the inventory that has taken over docker0 is the mark's.
        ours = self.mark == Mark(origin.inventory, "bridge")
        return ours and (self.network, self.status) == ("bridge", "running")

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        inspected = [json.loads(rest) for key, rest in lines if key == "container"]
        names = {entry["Id"]: entry["Name"].removeprefix("/") for entry in inspected}
        links: Docker0Links | None = None
        for entry in inspected:
            container = _container(entry, names, origin)
            if container._is_on_docker0(origin):
                links = links or Docker0Links(lines)
                if link := links.of(entry):
                    container = replace(container, lacks=link.lacks, link=link)
            if not STASHED.search(container.container):
                yield Found(container, ours=container.mark.inventory == origin.inventory)
        for entry in json.loads(dict(lines)["containers"]):
            # A labelled container that was not inspected ended between the two requests.
            if entry["Id"] not in names and LABEL not in (entry["Labels"] or {}):
                yield Found(_foreign(entry, origin), ours=False)


def _container(entry: dict[str, Any], names: Mapping[str, str], origin: Origin) -> DockerContainer:
    """An inspected container; `names` are the names of all inspected ones by id."""
    labels = entry["Config"]["Labels"] or {}
    network, endpoint = inspection.network(entry, names)
    fixed_address = (endpoint.get("IPAMConfig") or {}).get("IPv4Address")
    return DockerContainer(
        host=origin.host,
        container=entry["Name"].removeprefix("/"),
        image=entry["Config"]["Image"],
        command=inspection.command(entry),
        network=network,
        address=inspection.address(fixed_address),
        restart=entry["HostConfig"]["RestartPolicy"]["Name"] or "no",
        mark=Mark.parse(labels.get(LABEL, "")),
        env=inspection.environment(entry),
        volumes=tuple(sorted(entry["HostConfig"]["Binds"] or ())),
        ports=inspection.ports(entry),
        mac=labels.get(MAC_LABEL),
        dns=tuple(entry["HostConfig"].get("Dns") or ()),
        status=entry["State"]["Status"],
        live_address=inspection.address(endpoint.get("IPAddress")),
        pid=int(entry["State"]["Pid"]),
    )


def _foreign(entry: dict[str, Any], origin: Origin) -> DockerContainer:
    """A container without a label: only its name matters, which it may take from one of ours."""
    # A container that others link to has names such as /web/db besides its own, the shortest.
    name = min(entry["Names"] or [entry["Id"]], key=len).removeprefix("/")
    return DockerContainer(
        origin.host, name, entry["Image"], (), "", None, "", UNMARKED, entry["State"]
    )
