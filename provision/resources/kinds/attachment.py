"""Kind `attachment`: an additional interface in a container's network namespace.

The interface is the end of a veth pair into a bridge, a macvlan on a NIC, or a NIC itself
(https://github.com/jpetazzo/pipework does the same by hand). The kernel deletes the namespace and
its interfaces when the container stops, so the follower repeats `create` at every start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource, keyed_lines
from provision.resources.lib import ovsdb, sysfs
from provision.resources.lib.container_interface_probe import DOCKER_INTERFACE, InterfaceProbe
from provision.resources.lib.docker_api import refuse_foreign_container
from provision.resources.on_hosts import ETC, PROTO, Mark
from provision.resources.ownership import any_of
from provision.resources.render import program_text
from provision.resources.steps import Put, Refuse, Run, Steps, remove_file, sh

_COMMON = "host/container_interface.sh"
ATTACH = program_text(_COMMON, "host/attach_interface.sh")
DETACH = program_text(_COMMON, "host/detach_interface.sh")
_VETH = "^[0-9]*: {0}@if[0-9]*: .* veth "
"""`ip -d -o link` of a veth whose other end is in another network namespace."""


@dataclass(frozen=True, slots=True)
class Attachment(Resource):
    """The interface `interface` of `container`, linked to `parent` of the host.

    `link_type` is `bridge`, `ovs`, `macvlan` or `nic`; `outer` is the host's end of a veth.
    `routes` and `rules` have the syntax of `ip route` and `ip rule`. An empty `mac`, `vlan` 0 and
    `mtu` 0 are left to the kernel. `parent` is empty if the interface is missing or down. `claim`
    is the content of the claim file on the host, for an attachment that was parsed.
    `answer_routes` are routes of Docker's interface in ANSWER_TABLE, to which one of `rules` leads;
    a container has them at one attachment. `vlan_settings` are what somebody has set at its port of
    Open vSwitch besides the tag (`trunks`, `vlan_mode`). `lacks` is `claim` for an interface that
    has our mark, but no claim.
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
    link_type: str
    parent: str
    outer: str
    mac: str
    vlan: int
    mtu: int
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    rules: tuple[str, ...]
    inventory: str
    answer_routes: tuple[str, ...] = ()
    vlan_settings: str = ""
    lacks: str = ""
    needs: tuple[Ref, ...] = field(default=(), compare=False)
    claim: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return f"{self.container}/{self.interface}"

    def requires(self) -> tuple[Ref, ...]:
        return (Ref(self.host, "container", self.container), *self.needs)

    def names(self) -> tuple[str, ...]:
        # A macvlan has the name `outer` on the host until it moves into the container.
        return () if self.link_type == "nic" else (self.outer,)

    def is_foreign(self) -> Run | None:
        link = {"macvlan": " macvlan ", "nic": ""}.get(self.link_type, _VETH)
        if not link:
            return None  # the alias inside the container tells a NIC of ours
        outer = sysfs.is_foreign(self.outer, self.inventory, link.format(self.outer))
        # The veth tells that a port is ours whose mark somebody took away, as by making it anew.
        port = ovsdb.is_foreign_port(self.outer, self.inventory, unmarked=False)
        return any_of(outer, port) if self.link_type == "ovs" else outer

    def create(self) -> Steps:
        return (self._refusal, *self.restore())

    def restore(self) -> Steps:
        # Without `Unless`: ATTACH compares the interface itself, inside the namespace.
        # The claim is written first, so that what an interrupted apply leaves is known as ours.
        claim = Put(self._file, " ".join(self._claim) + "\n")
        batches = (self._lines_before_up, self._lines_after_up)
        arguments = (*self._identity, *self._claim, *batches)
        return (claim, sh(ATTACH, *arguments))

    @property
    def _refusal(self) -> Refuse:
        return refuse_foreign_container(self.inventory, self.container)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, Attachment)
        if current.lacks and replace(current, lacks="") == self:
            return self.create()  # the interface is complete: only the claim is written
        return (self._refusal, *current._detach, *self.restore())

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if not isinstance(before, Attachment) or not before.lacks:
            return Resource.undo(self, before, ours=ours)
        same = replace(before, lacks="") == self
        return (*(() if same else (*self._detach, *before.create())), *remove_file(self._file))

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        return (*self.create(), *(remove_file(self._file) if self.lacks else ()))

    def delete(self) -> Steps:
        return (*self._detach, *remove_file(self._file))

    @property
    def _detach(self) -> Steps:
        return (sh(DETACH, *self._identity, *self._claim),)

    @property
    def _claim(self) -> tuple[str, ...]:
        """Link type, host's end, parent, MAC, MTU, VLAN and priorities of rules; `-`: none."""
        if self.claim:
            return self.claim
        # A rule ends with its priority (`rule_spec`).
        priorities = ",".join(rule.rpartition(" ")[2] for rule in self.rules)
        optional = (self.mac, str(self.mtu or ""), str(self.vlan or ""), priorities)
        return (self.link_type, self.outer, self.parent, *(value or "-" for value in optional))

    @property
    def _identity(self) -> tuple[str, ...]:
        """The first arguments of ATTACH and DETACH."""
        mark = _mark(self.inventory, self.container, self.interface)
        hold = f"/run/provision-{self.inventory}.nics/{self.outer}"
        return (self.container, self.interface, mark, hold, f"{ETC}/{self.inventory}/attachments")

    @property
    def _lines_before_up(self) -> str:
        """Lines of `ip -batch` for the interface while it is down."""
        addresses = map(_without_dad, self.addresses)
        return "\n".join(f"address replace {text} dev {self.interface}" for text in addresses)

    @property
    def _lines_after_up(self) -> str:
        """Lines of `ip -batch` for the interface once it is up."""
        options = f"dev {self.interface} proto {PROTO}"
        routes = [f"route replace {spec} {options}" for spec in self.routes]
        # Routes to a link come first: the kernel refuses a gateway that no route reaches yet.
        options = f"dev {DOCKER_INTERFACE} proto {PROTO}"
        routes += [f"route replace {spec} {options}" for spec in self.answer_routes]
        routes.sort(key=lambda line: " via " in line)
        rules = [f"rule add {spec} protocol {PROTO}" for spec in self.rules]
        return "\n".join((*routes, *rules))

    @property
    def _file(self) -> str:
        return f"{ETC}/{self.inventory}/attachments/{self.container}/{self.interface}"

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        before = current if isinstance(current, Attachment) else self
        if before.lacks:
            return f"interface {before.name} is ours, damaged: its claim {self._file} was deleted"
        lost = not isinstance(current, Attachment) or not current.parent
        return None if lost else f"interface {self.interface} of {self.container} is created again"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        interfaces = InterfaceProbe(text)
        claims = [rest.split(" ") for key, rest in keyed_lines(text) if key == "claim"]
        for claim in claims:
            # The claim is on disk: an attachment is ours also while its container is stopped.
            yield Found(_attachment(claim, interfaces, origin), ours=True)
        claimed = {(container, interface) for container, interface, *_ in claims}
        for claim in interfaces.unclaimed(origin.inventory, claimed):
            yield Found(replace(_attachment(claim, interfaces, origin), lacks="claim"), ours=True)


def _attachment(claim: list[str], interfaces: InterfaceProbe, origin: Origin) -> Attachment:
    container, interface, link_type, outer, *_ = claim
    return Attachment(
        origin.host,
        container,
        interface,
        link_type,
        outer=outer,
        inventory=origin.inventory,
        claim=tuple(claim[2:]),
        **interfaces.fields(claim, _mark(origin.inventory, container, interface)),
    )


def _mark(inventory: str, container: str, interface: str) -> str:
    return Mark(inventory, f"{container}/{interface}").tag


def _without_dad(address: str) -> str:
    # IPv6 duplicate address detection would only delay the first use of the address.
    return f"{address} nodad" if ":" in address else address
