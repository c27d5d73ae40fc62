"""Kind `ovs_bridge`: a bridge of Open vSwitch, which its database restores after a reboot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.lib import ovs_forwarding, ovsdb
from provision.resources.lib.ovsdb import VSCTL, vsctl_string
from provision.resources.on_hosts import Mark
from provision.resources.steps import Run, Steps


@dataclass(frozen=True, slots=True)
class OvsBridge(Resource):
    """The bridge `bridge`; `rstp` is True if it runs the Rapid Spanning Tree Protocol.

    `datapath` is `system` (the kernel module's) or `netdev` (the one in ovs-vswitchd). `lacks` is
    the flow without which it forwards nothing, where somebody has deleted or overruled that, and
    `port_flags` what somebody has set at the inventory's ports.
    """

    kind: ClassVar[str] = "ovs_bridge"
    probe: ClassVar[str] = f"""
need_ovs
flows /run/openvswitch/ov-*.mgmt
shared {" ".join(ovsdb.TABLES)}
"""

    fingerprint: ClassVar[str] = """
need_ovs
ovs-vsctl -t 5 -f csv --no-headings \
  --columns=name,datapath_type,fail_mode,rstp_enable,external_ids list Bridge | sort
"""

    bridge: str
    datapath: str
    rstp: bool
    mark: Mark
    fail_mode: str = "standalone"
    lacks: str = ""
    port_flags: ovs_forwarding.PortFlags = ()
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.bridge

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def names(self) -> tuple[str, ...]:
        return (self.bridge,)

    def is_foreign(self) -> Run:
        return ovsdb.is_foreign_bridge(self.bridge, self.mark.inventory)

    def create(self) -> Steps:
        # standalone: without a controller the bridge learns MACs like a switch
        # (ovs-vswitchd.conf.db(5)); `secure`, the other mode, would forward nothing.
        settings = (
            f"datapath_type={self.datapath}",
            f"fail_mode={self.fail_mode}",
            f"rstp_enable={str(self.rstp).lower()}",
            f"external_ids:{ovsdb.MARK_KEY}={vsctl_string(str(self.mark))}",
        )
        # One transaction: no moment in which the bridge has no mark.
        change = ("--", "set", "bridge", self.bridge, *settings)
        return (Run((*VSCTL, "--may-exist", "add-br", self.bridge, *change)),)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, OvsBridge)
        lacks = "" if self.lacks else current.lacks  # a rollback takes no flow away
        repairs = ovs_forwarding.repairs(
            self.bridge, lacks=lacks, flags=current.port_flags, wanted_flags=self.port_flags
        )
        return (*self.create(), *repairs)

    def delete(self) -> Steps:
        return (Run((*VSCTL, "--if-exists", "del-br", self.bridge)),)

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for row in ovsdb.bridges(text):
            mark = Mark.parse(row["external_ids"].get(ovsdb.MARK_KEY, ""))
            bridge = cls(
                origin.host,
                row["name"],
                row["datapath_type"] or "system",
                bool(row["rstp_enable"]),
                mark,
                str(row["fail_mode"] or ""),
                ovs_forwarding.lacking_flow(text, row["name"]),
                ovs_forwarding.port_flags(text, row["name"], inventory=mark.inventory),
            )
            yield Found(bridge, mark.inventory == origin.inventory)
