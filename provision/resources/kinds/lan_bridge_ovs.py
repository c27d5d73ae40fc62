"""Kind `lan_bridge_ovs`: a bridge of Open vSwitch with a NIC of the host as its port.

The counterpart of `lan_bridge`. After a reboot, Open vSwitch restores bridge and port from its
database, and systemd-networkd puts the host's addresses on the bridge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource, keyed_lines
from provision.resources.kinds.lan_bridge import (
    LanBridge,
    files_of,
    links_by_name,
)
from provision.resources.lib import networkd, ovs_forwarding, ovsdb
from provision.resources.lib.host_link import Links, address_holder
from provision.resources.lib.managers.base import Files
from provision.resources.lib.nic_records import OriginalNic, parse_records
from provision.resources.on_hosts import ORIGINALS, UNMARKED, Mark
from provision.resources.steps import Run, Steps, sh

JOIN_OVS = ("host/ovs_device.sh", "host/nic_join_ovs.sh")
LEAVE_OVS = ("host/nic_leave_ovs.sh",)

# An interruption may leave the record without the bridge, but no bridge of ours without the key.
_IS_FOREIGN = """
[ -f "$1" ] || { [ -e "/sys/class/net/$3" ]; exit; }
kill -0 "$(cat /run/openvswitch/ovsdb-server.pid 2>/dev/null)" 2>/dev/null || exit 1
ovs-vsctl -t 10 br-exists "$3" || exit 1
case $(ovs-vsctl -t 10 --if-exists get bridge "$3" "external_ids:$4" | tr -d '"') in
"$2" | "$2/"*) exit 1 ;;
esac
"""


@dataclass(frozen=True, slots=True)
class LanBridgeOvs(LanBridge):
    """The fields of `LanBridge`; `vlans` is empty, because a port without a tag carries all.

    `lacks` is the flow without which the bridge forwards nothing. `port_vlans` are the settings of
    VLANs that somebody has given to the NIC's port, or to that of the bridge's own device, and
    `port_flags` the flags of these and of the containers' ports.
    """

    kind: ClassVar[str] = "lan_bridge_ovs"
    # Records and files are printed before need_ovs: they must be seen while the daemon is stopped.
    probe: ClassVar[str] = rf"""
need ip
shared addresses
for record in {ORIGINALS}/"$name"/uplink/*; do
  bridge=${{record##*/}}; [ -f "$record" ] || continue
  echo "was $bridge $(base64 -w0 <"$record")"
  for end in .network -nic.network; do
    files "{networkd.FOLDER}/05-provision-$name-$bridge$end"
  done | sed "s/^/file $bridge /"
  flows "/run/openvswitch/$bridge.mgmt"
done
need_ovs
shared {" ".join(ovsdb.TABLES)}
"""
    fingerprint: ClassVar[str] = ":"  # the one of `lan_bridge` covers both kinds

    lacks: str = ""
    port_vlans: ovsdb.PortVlans = ()
    port_flags: ovs_forwarding.PortFlags = ()

    def is_followed(self) -> bool:
        return False  # Open vSwitch keeps its ports in its database

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, self._record, self.mark.inventory, self.bridge, ovsdb.LAN_KEY)

    def create(self) -> Steps:
        return LanBridge.create(self)

    def delete(self) -> Steps:
        return LanBridge.delete(self)

    def _join(self) -> Run:
        assert self.original is not None
        return self._run(JOIN_OVS, str(self.mark), self.original.ovs_datapath)

    def _leave(self) -> Run:
        return self._run(LEAVE_OVS, str(self.mark), *self._manager.paths(self.mark))

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, LanBridgeOvs)
        repairs = ovs_forwarding.repairs(
            self.bridge, lacks=current.lacks, vlans=current.port_vlans, flags=current.port_flags
        )
        if repairs and self._with_repairs(current) == self:
            return repairs  # the host's addresses stay where they are
        steps = LanBridge.update(self, current)
        return None if steps is None else (*steps, *repairs)

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        repaired = self._with_repairs(before) if isinstance(before, LanBridgeOvs) else before
        if not isinstance(before, LanBridgeOvs) or repaired == before:
            return LanBridge.undo(self, before, ours=ours)
        # A flow that was made again stays.
        damages = ovs_forwarding.repairs(
            self.bridge, wanted_vlans=before.port_vlans, wanted_flags=before.port_flags
        )
        if repaired == self:
            return damages
        return (*LanBridge.undo(self, repaired, ours=ours), *damages)

    def _with_repairs(self, current: LanBridgeOvs) -> LanBridgeOvs:
        flags, vlans = self.port_flags, self.port_vlans
        return replace(current, lacks=self.lacks, port_vlans=vlans, port_flags=flags)

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        links = links_by_name(lines)
        records = parse_records(rest for key, rest in lines if key == "was")
        rows = {str(row["name"]): row for row in ovsdb.bridges(text)}
        ports = {port.name: port for port in ovsdb.ports(text) if not port.error}
        for bridge, nic in records.items():
            if nic.ovs_datapath:
                port, files = ports.get(nic.nic), files_of("file", bridge, lines)
                lan_bridge = _bridge(bridge, nic, rows.get(bridge, {}), port, links, files, origin)
                lan_bridge = replace(
                    lan_bridge,
                    lacks=ovs_forwarding.lacking_flow(text, bridge),
                    port_vlans=ovsdb.port_vlans(text, nic.nic, bridge),
                    port_flags=ovs_forwarding.port_flags(
                        text, bridge, nic.nic, bridge, inventory=origin.inventory
                    ),
                )
                yield Found(lan_bridge, ours=True)
        for name in (rows.keys() | links.keys()) - records.keys():
            # An interface of others with this name is a conflict.
            unmarked = cls(origin.host, name, "", "", 0, "", False, (), (), UNMARKED)
            yield Found(unmarked, ours=False)


def _bridge(
    bridge: str,
    nic: OriginalNic,
    row: ovsdb.Row,
    port: ovsdb.OvsPort | None,
    links: Links,
    files: Files,
    origin: Origin,
) -> LanBridgeOvs:
    attached = (
        port is not None and port.bridge == bridge and row["datapath_type"] == nic.ovs_datapath
    )
    link = links.get(bridge, {})
    return LanBridgeOvs(
        origin.host,
        bridge,
        nic.nic if attached else "",
        str(link.get("address", "")),
        int(link.get("mtu", 0)),
        address_holder(nic, links, bridge),
        bool(row.get("stp_enable")),
        (),
        files,
        Mark(origin.inventory, bridge),
        original=nic,
    )
