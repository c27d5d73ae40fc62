"""Kind `connection`: a container of an inventory on a Docker network besides its first.

Docker keeps the connection, and the kernel forgets the routing rules whenever the container ends.
Its claim, `/etc/provision/NAME/connections/CONTAINER/NETWORK`, tells that it is ours: a network to
which a person connects the container is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource, keyed_lines
from provision.resources.lib.docker_api import refuse_foreign_networks
from provision.resources.on_hosts import ETC
from provision.resources.render import program_text
from provision.resources.steps import Put, Run, Steps, remove_file, sh

_COMMON = ("host/docker_id.sh", "host/docker_owner.sh", "host/connection.sh")
_JOIN = program_text(*_COMMON, "host/connection_join.sh")
_LEAVE = program_text(*_COMMON, "host/connection_leave.sh")


@dataclass(frozen=True, slots=True)
class NetworkConnection(Resource):
    """The container `container` on the network `network`, in Docker `docker_network`.

    `address` is the fixed one. `peers` is the range of the network's other hosts, None if it is on
    the container's link. The default route is that of the network `default_route`. `lacks` is
    `container`, `connection`, `address` or `routes`. `live_address` is the current address.
    """

    kind: ClassVar[str] = "connection"
    uses_dockerd: ClassVar[bool] = True
    volatile: ClassVar[bool] = True
    only_where: ClassVar[tuple[str, ...]] = (f'{ETC}/"$name"/connections',)
    probe: ClassVar[str] = program_text(*_COMMON, "look/connection.sh")
    fingerprint: ClassVar[str] = rf"""
for claim in {ETC}/*/connections/*/*; do [ ! -f "$claim" ] || echo "$claim $(cat "$claim")"; done
"""

    container: str
    network: str
    docker_network: str
    address: IPv4Address | None
    peers: IPv4Network | None
    default_route: str
    inventory: str
    lacks: str = ""
    needs: tuple[Ref, ...] = field(default=(), compare=False)
    pid: int = field(default=0, compare=False)
    live_address: IPv4Address | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return f"{self.container}/{self.network}"

    def requires(self) -> tuple[Ref, ...]:
        # A parsed connection knows its network by name only; `docker0` is Docker's `bridge`.
        network = Ref(self.host, "docker_network", self.docker_network)
        needs = self.needs or (network, Ref(self.host, "docker0", "docker0"))
        return (Ref(self.host, "container", self.container), *needs)

    def is_foreign(self) -> None:
        return None  # the programs compare the label of the container whose id they use

    def create(self) -> Steps:
        return (*self._refusal, *self._created)

    @property
    def _created(self) -> Steps:
        # The claim is written first, so that what an interrupted apply leaves is known as ours.
        return (Put(self._claim, self._claim_text), self._join("apply"))

    @property
    def _refusal(self) -> Steps:
        return refuse_foreign_networks(self.inventory, self.docker_network)

    def restore(self) -> Steps:
        return (self._join("follow"),)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, NetworkConnection)
        if replace(current, lacks="") == self:
            return self.create()
        return (*self._refusal, current._leave, *self._created)

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if isinstance(before, NetworkConnection) and replace(before, lacks="") == self:
            return (self._leave,) if before.lacks == "connection" else ()
        return Resource.undo(self, before, ours=ours)

    def delete(self) -> Steps:
        return (self._leave, *remove_file(self._claim))

    def _join(self, mode: str) -> Run:
        return sh(_JOIN, *self._arguments, mode)

    @property
    def _leave(self) -> Run:
        return sh(_LEAVE, *self._arguments)

    @property
    def _arguments(self) -> tuple[str, ...]:
        end = (self.docker_network, str(self.address or "-"), str(self.peers or "-"))
        return (self.inventory, self.container, *end)

    @property
    def _claim_text(self) -> str:
        return " ".join((*self._arguments[2:], self.default_route)) + "\n"

    @property
    def _claim(self) -> str:
        return f"{ETC}/{self.inventory}/connections/{self.container}/{self.network}"

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        before = current if isinstance(current, NetworkConnection) else None
        if recreated:
            return f"{self.container} leaves {self.network} for a moment"
        if before is not None and replace(before, lacks="") != self:
            return f"{self.container} leaves {self.network} for a moment; it keeps running"
        return None

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        fields = [(key, *rest.split(" ")) for key, rest in lines if key in ("claim", "state")]
        states = {(row[1], row[2]): row[3:] for row in fields if row[0] == "state"}
        for _, container, network, docker_network, address, peers, default_route in (
            row for row in fields if row[0] == "claim"
        ):
            pid, live_address, lacks = states.get((container, network), ("0", "-", "container"))
            connection = NetworkConnection(
                origin.host,
                container,
                network,
                docker_network,
                None if address == "-" else IPv4Address(address),
                None if peers == "-" else IPv4Network(peers),
                default_route,
                origin.inventory,
                "" if lacks == "-" else lacks,
                pid=int(pid),
                live_address=None if live_address == "-" else IPv4Address(live_address),
            )
            yield Found(connection, ours=True)
