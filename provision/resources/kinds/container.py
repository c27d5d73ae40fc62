"""Kind `container`: a Docker container of an inventory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any, ClassVar

from provision.model.inventory import ContainerSetting
from provision.model.names import STASHED
from provision.resources.base import SECRET_PAIRS, Found, Origin, Ref, Resource, keyed_lines
from provision.resources.kinds.docker_network import LABEL
from provision.resources.lib import bridge_state, container_request, container_settings
from provision.resources.lib import container_inspection as inspection
from provision.resources.lib import container_programs as programs
from provision.resources.lib.container_inspection import COMMAND_LABEL, ENV_LABEL, MAC_LABEL
from provision.resources.lib.docker0_link import Docker0Link, Docker0Links
from provision.resources.lib.docker_api import docker_name, refuse_foreign_networks
from provision.resources.on_hosts import UNMARKED, Mark
from provision.resources.rows import ROWS
from provision.resources.steps import Run, Steps, Unless, sh


def is_foreign(container: str, inventory: str) -> Run:
    """Succeed if a container of this name lacks the label of the inventory."""
    return sh(programs.IS_FOREIGN, container, inventory)


@dataclass(frozen=True, slots=True)
class FurtherEnd:
    """The end of a container in a Docker network besides the first; None: Docker's address."""

    network: Ref
    address: IPv4Address | None

    @property
    def arguments(self) -> tuple[str, str]:
        """Docker's name of the network, and the address or `-`."""
        return docker_name(self.network), str(self.address or "-")


@dataclass(frozen=True, slots=True)
class DockerContainer(Resource):
    """A container with Docker's name `container`; an empty `command` is the image's own.

    `network` is the name of a Docker network, `host`, `none` or `container:NAME`; empty if somebody
    disconnected the container. `address` is the fixed one, None if Docker chooses; `live_address`
    is the current one. `mac` is the inventory's, or another one that a running container has
    instead. `ports` have the form of `docker run --publish`, `volumes` that of `--volume`. `dns`
    are the DNS servers, empty for Docker's own choice. `status` and `restart` are Docker's,
    `settings` those of the inventory. `pid` is the container's process on the host, 0 if it does
    not run. `lacks` names what the kernel lacks of its `link` to Docker's own default bridge.
    `predecessors` are created before it. `further` are the networks, besides the first, to which a
    new one is connected before it starts (kind `connection` has them from then on).
    """

    kind: ClassVar[str] = "container"
    uses_dockerd: ClassVar[bool] = True
    probe: ClassVar[str] = """
need_docker
shared containers networks {keys}
""".format(keys=" ".join(bridge_state.KEYS))
    fingerprint: ClassVar[str] = ":"  # that of docker_network has the containers

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
    settings: tuple[ContainerSetting, ...] = field(default=(), repr=False, metadata=ROWS)
    predecessors: tuple[Ref, ...] = field(default=(), repr=False, compare=False)
    further: tuple[FurtherEnd, ...] = field(default=(), repr=False, compare=False)

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

    def after(self) -> tuple[Ref, ...]:
        return (*self.predecessors, *(end.network for end in self.further))

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
        request = container_request.body(
            image=self.image,
            command=self.command,
            env=self.env,
            labels=self._labels(),
            # The kernel ignores TERM for PID 1 of a namespace unless it has a handler, and `sleep`
            # has none: `docker stop` and a reboot of the host would wait 10 s.
            stop_signal="KILL" if self.command[:1] == ("sleep",) else None,
            network=self.network,
            address=self.address,
            has_default_route=bool(self.further),
            mac=self.mac,
            restart=self.restart,
            ports=self.ports,
            volumes=self.volumes,
            dns=self.dns,
            settings=self.settings,
        )
        ends = [text for end in self.further for text in end.arguments]
        run = sh(programs.RUN, self.container, str(self.mark), programs.CREATE, *ends)
        networks = (self.network, *ends[::2])
        refused = refuse_foreign_networks(self.mark.inventory, *networks)
        return (*refused, replace(run, stdin=request))

    def _labels(self) -> dict[str, str]:
        labels = {LABEL: str(self.mark), COMMAND_LABEL: "own" if self.command else "image"}
        if self.env:
            labels[ENV_LABEL] = json.dumps([name for name, _ in self.env])
        if self.mac:
            labels[MAC_LABEL] = self.mac
        if self.settings:
            keys = [setting.key for setting in self.settings]
            labels[container_settings.SETTINGS_LABEL] = json.dumps(keys)
        return labels

    def delete(self) -> Steps:
        return (sh(programs.REMOVE, self.container, self.mark.inventory),)

    def stash(self, txn: str) -> Steps:
        return (sh(programs.STASH, self.container, self._stashed_name(txn), self.mark.inventory),)

    def unstash(self, txn: str) -> Steps:
        state = (self.restart, self.status, *self._end)
        names = (self.container, self._stashed_name(txn), self.mark.inventory)
        restored = sh(programs.UNSTASH, *names, *state)
        # The host keeps these steps in a file, which must not hold the values of variables.
        return (restored,) if self.env else (Unless(restored, self.create()),)

    @property
    def _end(self) -> tuple[str, str, str, str]:
        """What a program needs to connect the container to its network."""
        connect = programs.CONNECT if self.mac else ""
        return self.network, str(self.address or "-"), self.mac or "-", connect

    def drop_stash(self, txn: str) -> Steps:
        return (sh(programs.REMOVE, self._stashed_name(txn), self.mark.inventory),)

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
            steps.append(self._to_status(current.status))
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
        return sh(programs.DO, self.container, self.mark.inventory, *command)

    def _to_status(self, status: str) -> Run:
        """The docker command that leads from `status` towards the wanted status."""
        if status == "paused":
            return self._do("unpause")
        if self.status == "running":
            return sh(programs.START, self.container, self.mark.inventory, *self._end)
        return self._do("pause" if self.status == "paused" else "kill")

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
        restart=inspection.restart(entry),
        mark=Mark.parse(labels.get(LABEL, "")),
        env=inspection.environment(entry),
        volumes=tuple(sorted(entry["HostConfig"]["Binds"] or ())),
        ports=inspection.ports(entry),
        mac=inspection.mac(entry, endpoint),
        dns=tuple(entry["HostConfig"].get("Dns") or ()),
        status=entry["State"]["Status"],
        live_address=inspection.address(endpoint.get("IPAddress")),
        pid=int(entry["State"]["Pid"]),
        settings=container_settings.read(entry),
    )


def _foreign(entry: dict[str, Any], origin: Origin) -> DockerContainer:
    """A container without a label: only its name matters, which it may take from one of ours."""
    # A container that others link to has names such as /web/db besides its own, the shortest.
    name = min(entry["Names"] or [entry["Id"]], key=len).removeprefix("/")
    return DockerContainer(
        origin.host, name, entry["Image"], (), "", None, "", UNMARKED, entry["State"]
    )
