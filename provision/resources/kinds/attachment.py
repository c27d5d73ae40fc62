"""Kind `attachment`: an interface of ours in a container's network namespace.

What pipework does by hand: a veth pair into a bridge, a macvlan on a NIC, or a NIC itself. The
kernel forgets it with the namespace, so the follower makes it again whenever the container starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.lib.container_interface_probe import InterfaceProbe
from provision.resources.on_hosts import ETC, PROTO, Mark
from provision.resources.render import program_text
from provision.resources.steps import Put, Run, Steps, remove_file

_COMMON = "host/container_interface.sh"
ATTACH = program_text(_COMMON, "host/attach_interface.sh")
DETACH = program_text(_COMMON, "host/detach_interface.sh")


@dataclass(frozen=True, slots=True)
class Attachment(Resource):
    """Interface `interface` of `container`, on `parent` by `way`: bridge, ovs, macvlan or nic.

    `routes` and `rules` are words of iproute2; `mac` empty and `mtu` 0 are not asked for. What was
    lost has an empty `parent`. `claim` is what its file on the host says of it.
    """

    kind: ClassVar[str] = "attachment"
    uses_dockerd: ClassVar[bool] = True
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = program_text("look/attachment.sh")

    fingerprint: ClassVar[str] = rf"""
for claim in {ETC}/*/attachments/*/*; do [ ! -f "$claim" ] || echo "$claim $(cat "$claim")"; done
"""

    container: str
    interface: str
    way: str
    parent: str
    outer: str
    mac: str
    vlan: int
    mtu: int
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    rules: tuple[str, ...]
    inventory: str
    needs: tuple[Ref, ...] = field(default=(), compare=False)
    claim: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return f"{self.container}/{self.interface}"

    def requires(self) -> tuple[Ref, ...]:
        return (Ref(self.host, "container", self.container), *self.needs)

    def create(self) -> Steps:
        # The claim comes first: what an interrupted apply leaves is known as ours.
        claim = Put(self._file, " ".join(self._claim) + "\n")
        rest = (self._inside, self._behind)
        return (claim, Run(("sh", "-c", ATTACH, "sh", *self._where, *self._claim, *rest)))

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, Attachment)
        return (*current._detached, *self.create())

    def delete(self) -> Steps:
        return (*self._detached, *remove_file(self._file))

    @property
    def _detached(self) -> Steps:
        return (Run(("sh", "-c", DETACH, "sh", *self._where, *self._claim)),)

    @property
    def _claim(self) -> tuple[str, ...]:
        """Way, our end outside, what it is on, MAC, MTU, VLAN, priorities of rules; `-`: none."""
        if self.claim:
            return self.claim
        priorities = ",".join(words.rpartition(" ")[2] for words in self.rules)
        asked = (self.mac, str(self.mtu or ""), str(self.vlan or ""), priorities)
        return (self.way, self.outer, self.parent, *(word or "-" for word in asked))

    @property
    def _where(self) -> tuple[str, ...]:
        mark = _mark(self.inventory, self.container, self.interface)
        hold = f"/run/provision-{self.inventory}.nics/{self.outer}"
        return (self.container, self.interface, mark, hold, f"{ETC}/{self.inventory}/attachments")

    @property
    def _inside(self) -> str:
        """Lines of `ip -batch` while the interface is still down."""
        lines = [
            f"address replace {_lasting(text)} dev {self.interface}" for text in self.addresses
        ]
        return "\n".join(lines)

    @property
    def _behind(self) -> str:
        """Lines of `ip -batch` once it is up; a rule of ours is there once."""
        routes = [
            f"route replace {words} dev {self.interface} proto {PROTO}" for words in self.routes
        ]
        ordered = sorted(routes, key=lambda line: " via " in line)
        return "\n".join(
            [*ordered, *(f"rule add {words} protocol {PROTO}" for words in self.rules)]
        )

    @property
    def _file(self) -> str:
        return f"{ETC}/{self.inventory}/attachments/{self.container}/{self.interface}"

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        lost = not isinstance(current, Attachment) or not current.parent
        return None if lost else f"interface {self.interface} of {self.container} is made anew"

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        look = InterfaceProbe(text)
        for line in text.splitlines():
            word, *claim = line.split(" ")
            if word == "claim":
                container, interface, way, outer, *_ = claim
                mark = _mark(scope.inventory, container, interface)
                found = cls(
                    scope.host,
                    container,
                    interface,
                    way,
                    outer=outer,
                    inventory=scope.inventory,
                    claim=tuple(claim[2:]),
                    **look.fields(claim, mark),
                )
                yield Found(found, ours=True)


def _mark(inventory: str, container: str, interface: str) -> str:
    return Mark(inventory, f"{container}/{interface}").tag


def _lasting(address: str) -> str:
    # Nobody else can have it where nobody is: asking around would only delay its use.
    return f"{address} nodad" if ":" in address else address
