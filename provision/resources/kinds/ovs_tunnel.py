"""Kind `ovs_tunnel`: a tunnel port of an Open vSwitch bridge to one other host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.lib import ovsdb
from provision.resources.lib.ovsdb import VSCTL, vsctl_string
from provision.resources.on_hosts import Mark
from provision.resources.steps import Run, Steps

TYPES = ("gre", "vxlan")


@dataclass(frozen=True, slots=True)
class OvsTunnel(Resource):
    """The port `port` of `bridge`; `type` is one of `TYPES`, `options` are sorted pairs.

    Open vSwitch forwards nothing between two `protected` ports. `error` is its message about a port
    that does not work; an update then adds the port again. `vlans` are its settings of VLANs, as
    ovs-vsctl takes them: packets of other VLANs do not enter the tunnel.
    """

    kind: ClassVar[str] = "ovs_tunnel"
    probe: ClassVar[str] = f"""
need_ovs
shared {" ".join(ovsdb.TABLES)}
"""

    fingerprint: ClassVar[str] = """
need_ovs
ovs-vsctl -t 5 -f csv --no-headings --columns=name,type,options list Interface | sort
ovs-vsctl -t 5 -f csv --no-headings --columns=name,protected,external_ids list Port | sort
"""

    port: str
    bridge: str
    type: str
    options: tuple[tuple[str, str], ...]
    protected: bool
    mark: Mark
    error: str = ""
    vlans: str = ""

    @property
    def name(self) -> str:
        return self.port

    def requires(self) -> tuple[Ref, ...]:
        return (Ref(self.host, "ovs_bridge", self.bridge),)

    def is_foreign(self) -> Run:
        return ovsdb.is_foreign_port(self.port, self.mark.inventory)

    def create(self) -> Steps:
        interface = ("--", "set", "interface", self.port, f"type={self.type}")
        options = tuple(f"options:{key}={vsctl_string(value)}" for key, value in self.options)
        mark = f"external_ids:{ovsdb.MARK_KEY}={vsctl_string(str(self.mark))}"
        port = ("--", "set", "port", self.port, f"protected={str(self.protected).lower()}", mark)
        vlans = self.vlans.split()  # of a tunnel that a rollback makes again
        # One transaction: no moment in which the port exists but is not protected. Unprotected
        # tunnels between three hosts are a loop.
        add = ("--if-exists", "del-port", self.port, "--", "add-port", self.bridge, self.port)
        return (Run((*VSCTL, *add, *interface, *options, *port, *vlans)),)

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        return (Run((*VSCTL, "--if-exists", "del-port", self.port)),)

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for port in ovsdb.ports(text):
            if port.type in TYPES:
                mark = Mark.parse(port.external_ids.get(ovsdb.MARK_KEY, ""))
                # OVSDB maps have no order.
                options = tuple(sorted(port.options.items()))
                identity = (origin.host, port.name, port.bridge, port.type)
                state = {"error": port.error, "vlans": port.vlans}
                tunnel = cls(*identity, options, port.protected, mark, **state)
                yield Found(tunnel, mark.inventory == origin.inventory)
