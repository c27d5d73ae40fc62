"""Kind `guest`: the connection of a container that others made to a Docker network of ours.

Its claim, `/etc/provision/NAME/guests/GUEST`, tells the network and how the container is found. Its
record, `/var/lib/provision/guests/NAME/GUEST`, has the id of the container that we connected, and
the network: only that one is disconnected again. Others may connect the guest themselves; then
there is no record.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource, keyed_lines
from provision.resources.kinds.dns_records import live_folder, reread
from provision.resources.lib.docker_api import refuse_foreign_networks
from provision.resources.on_hosts import ETC, VAR, Mark, service_name
from provision.resources.render import program_text
from provision.resources.steps import Put, Run, Steps, partial_path, remove_file, sh

_COMMON = ("host/docker_id.sh", "host/guest.sh")
_CONNECT = program_text(*_COMMON, "host/guest_connect.sh")
_DISCONNECT = program_text(*_COMMON, "host/guest_disconnect.sh")
_TELL = program_text(*_COMMON, "host/guest_names.sh")
_CLAIM = "claim"
"""`lacks` of a guest that we have connected, if its claim was deleted."""


@dataclass(frozen=True, slots=True)
class GuestConnection(Resource):
    """The guest `guest` on the Docker network `network`.

    `found_by` is `container NAME` or `label KEY=VALUE`. `address` is the fixed one. `peers` is the
    range of the network's other hosts, None if it is on the guest's link. `lacks` is `connection`,
    `address`, `routes`, or `names` where the DNS server's file does not have the guest's address.
    It is `claim` where the record alone tells that we have connected the guest.
    `container` is the id of the container, empty if there is none now, which is not a difference:
    the follower connects it when it starts. In a network with names, a guest without a fixed
    address is connected at `proposed`, if that is free, and its host answers `dns_names` with the
    address that it has.
    """

    kind: ClassVar[str] = "guest"
    uses_dockerd: ClassVar[bool] = True
    volatile: ClassVar[bool] = True
    only_where: ClassVar[tuple[str, ...]] = (
        f'{ETC}/"$name"/guests',
        f'{VAR}/guests/"$name"',
    )
    probe: ClassVar[str] = program_text(*_COMMON, "look/guest.sh")
    fingerprint: ClassVar[str] = rf"""
for claim in {ETC}/*/guests/*; do [ ! -f "$claim" ] || echo "$claim $(cat "$claim")"; done
"""

    guest: str
    network: str
    found_by: str
    address: IPv4Address | None
    peers: IPv4Network | None
    inventory: str
    lacks: str = ""
    proposed: IPv4Address | None = None
    dns_names: tuple[str, ...] = ()
    needs: tuple[Ref, ...] = field(default=(), compare=False)
    container: str = field(default="", compare=False)
    pid: int = field(default=0, compare=False)
    live_address: IPv4Address | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.guest

    def requires(self) -> tuple[Ref, ...]:
        # A parsed connection knows its network by name only; `docker0` is Docker's `bridge`.
        network = Ref(self.host, "docker_network", self.network)
        return self.needs or (network, Ref(self.host, "docker0", "docker0"))

    def is_foreign(self) -> None:
        return None  # the programs compare the id of the container with the record

    def create(self) -> Steps:
        return (*self._refusal, *self._created)

    @property
    def _refusal(self) -> Steps:
        return refuse_foreign_networks(self.inventory, self.network)

    @property
    def _created(self) -> Steps:
        # The claim is written first, so that what an interrupted apply leaves is known as ours.
        return (Put(self._claim, self._claim_text), self._connect("apply"), *self._tell)

    def restore(self) -> Steps:
        return (self._connect("follow"), *self._tell)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, GuestConnection)
        if current.lacks == _CLAIM and current.network == self.network:
            return self.create()
        told = (self._live, self.dns_names)
        forget = () if (current._live, current.dns_names) == told else current._forget
        left = () if self._keeps(current) else (current._disconnect, *remove_file(current._record))
        return (*self._refusal, *left, *forget, *self._created)

    def _keeps(self, current: GuestConnection) -> bool:
        """True if the connection can stay: without a fixed address, a guest keeps any."""
        address = current.address if self.address is None else self.address
        kept = replace(
            self, address=address, proposed=current.proposed, dns_names=current.dns_names
        )
        return replace(current, lacks="") == kept

    def delete(self) -> Steps:
        return (
            self._disconnect,
            *remove_file(self._record),
            *self._forget,
            *remove_file(self._claim),
        )

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        return (self._connect("apply"),) if self.lacks == _CLAIM else self.create()

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if not isinstance(before, GuestConnection) or before.lacks != _CLAIM:
            return Resource.undo(self, before, ours=ours)
        steps = () if before.network == self.network else self.delete()
        again = (before._connect("apply"),) if steps else ()
        return (*(steps or self._forget), *again, *remove_file(self._claim))

    def _connect(self, mode: str) -> Run:
        proposed = (str(self.proposed),) if self.proposed else ()
        return sh(_CONNECT, *self._arguments, mode, *proposed)

    @property
    def _tell(self) -> Steps:
        """Let the host's DNS server answer the names with the address of now."""
        if not self.dns_names:
            return ()
        network, selector, text, *_ = self._arguments
        head = f"# {Mark(self.inventory, self.network).tag}"
        service = service_name(self.inventory, self.network, "dns")
        return (sh(_TELL, network, selector, text, self._live, service, head, *self.dns_names),)

    @property
    def _forget(self) -> Steps:
        if not self.dns_names:
            return ()
        # A run that was cut off leaves the copy that guest_names.sh makes.
        return (
            Run(("rm", "-f", "--", partial_path(f"{self._live}.copy"))),
            *remove_file(self._live),
            reread(service_name(self.inventory, self.network, "dns")),
        )

    @property
    def _live(self) -> str:
        return f"{live_folder(self.inventory, self.network)}/{self.guest}"

    @property
    def _disconnect(self) -> Run:
        return sh(_DISCONNECT, *self._arguments)

    @property
    def _arguments(self) -> tuple[str, ...]:
        address, peers = str(self.address or "-"), str(self.peers or "-")
        selector, _, text = self.found_by.partition(" ")
        return (self.network, selector, text, address, peers, self._record)

    @property
    def _claim_text(self) -> str:
        network, selector, text, address, peers, _ = self._arguments
        # The text of a label may have spaces, so it comes last.
        names = (
            f"names {' '.join((str(self.proposed), *self.dns_names))}\n" if self.dns_names else ""
        )
        return f"{network} {selector} {address} {peers} {text}\n{names}"

    @property
    def _claim(self) -> str:
        return f"{ETC}/{self.inventory}/guests/{self.guest}"

    @property
    def _record(self) -> str:
        return f"{VAR}/guests/{self.inventory}/{self.guest}"

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        before = current if isinstance(current, GuestConnection) else None
        lost = before or self
        if lost.lacks == _CLAIM:
            return f"guest {self.guest} is ours, damaged: its claim {self._claim} was deleted"
        moved = before is not None and not self._keeps(before)
        if recreated or moved:
            return f"{self.guest} leaves {self.network} for a moment; it keeps running"
        return None

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        states = {
            guest: rest
            for key, line in lines
            if key == "state"
            for guest, _, rest in (line.partition(" "),)
        }
        names = {
            guest: rest.split()
            for key, line in lines
            if key == "names"
            for guest, _, rest in (line.partition(" "),)
        }
        for key, line in lines:
            if key == "claim":
                guest = line.partition(" ")[0]
                connection = _connection(line, states, origin)
                yield Found(_with_names(connection, names.get(guest, [])), ours=True)
            elif key == "lost":
                yield Found(_recorded(line, origin), ours=True)


def _recorded(line: str, origin: Origin) -> GuestConnection:
    """A guest without a claim, by the container that we have connected to the network."""
    guest, network, container = line.split(" ")
    found_by = f"container {container}"
    return GuestConnection(
        origin.host, guest, network, found_by, None, None, origin.inventory, _CLAIM
    )


def _with_names(connection: GuestConnection, fields: list[str]) -> GuestConnection:
    """A connection with the second line of its claim: the proposed address, and the names."""
    if not fields:
        return connection
    proposed, *names = fields
    return replace(connection, proposed=IPv4Address(proposed), dns_names=tuple(names))


def _connection(claim: str, states: dict[str, str], origin: Origin) -> GuestConnection:
    guest, network, selector, address, peers, text = claim.split(" ", 5)
    connection = GuestConnection(
        origin.host,
        guest,
        network,
        f"{selector} {text}",
        None if address == "-" else IPv4Address(address),
        None if peers == "-" else IPv4Network(peers),
        origin.inventory,
    )
    if guest not in states:
        return connection
    container, pid, live, lacks = states[guest].split(" ")
    return replace(
        connection,
        container=container,
        pid=int(pid),
        live_address=None if live == "-" else IPv4Address(live),
        lacks="" if lacks == "-" else lacks,
    )
