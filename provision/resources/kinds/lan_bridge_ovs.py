"""Kind `switch`: a bridge of Open vSwitch that has a NIC of the host as its port.

What kind `bridge` is for the kernel's bridges. Open vSwitch's database brings bridge and port back
after a reboot, and networkd's files the host's addresses on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.kinds.lan_bridge import LanBridge, found_files, seat
from provision.resources.lib import networkd, ovsdb
from provision.resources.lib.base64_text import decode_text
from provision.resources.lib.nic_records import OriginalNic, parse_record
from provision.resources.on_hosts import ORIGINALS, UNMARKED, Mark
from provision.resources.render import program_text
from provision.resources.steps import Attempt, Put, Steps, record_once, remove_file

_COMMON = "host/nic_to_bridge.sh"
JOIN_OVS = program_text(_COMMON, "host/nic_join_ovs.sh")
LEAVE_OVS = program_text(_COMMON, "host/nic_leave_ovs.sh")


@dataclass(frozen=True, slots=True)
class LanBridgeOvs(LanBridge):
    """The same fields; `vlans` say nothing, as a port without a tag carries all of them."""

    kind: ClassVar[str] = "lan_bridge_ovs"
    probe: ClassVar[str] = rf"""
need ip
shared addresses
for was in {ORIGINALS}/"$name"/uplink/*; do
  [ -f "$was" ] || continue
  bridge=${{was##*/}}
  echo "was $bridge $(base64 -w0 <"$was")"
  files {networkd.FOLDER}/05-provision-"$name"-"$bridge"[.-]* | sed "s/^/file $bridge /"
done
need_ovs
shared {" ".join(ovsdb.TABLES)}
"""
    fingerprint: ClassVar[str] = ":"  # what it holds is what kind `bridge` looks at

    def create(self) -> Steps:
        assert self.was is not None
        written = tuple(Put(path, text) for path, text in self.files)
        joined = self._run(JOIN_OVS, str(self.mark), self.was.ovs_datapath)
        return (
            record_once(self._was, self.was.record),
            *written,
            Attempt((joined,), self.delete()),
        )

    def delete(self) -> Steps:
        paths = networkd.paths(self._inventory, self.bridge)
        return (self._run(LEAVE_OVS, str(self.mark), *paths), *remove_file(self._was))

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.split(" ", 2) for line in text.splitlines()]
        shared = [line for line in text.splitlines() if line.startswith("addresses ")]
        links = {one["ifname"]: one for one in json.loads(shared[0][10:])} if shared else {}
        kept = {
            words[1]: parse_record(decode_text(words[2])) for words in lines if words[0] == "was"
        }
        rows = {row["name"]: row for row in ovsdb.bridges(text)}
        ports = {port.name: port for port in ovsdb.ports(text) if not port.error}
        for bridge, was in kept.items():
            if was.ovs_datapath:
                row, held = rows.get(bridge, {}), links.get(bridge, {})
                files = found_files(bridge, lines)
                yield Found(_found(bridge, was, row, held, ports, links, files, scope), ours=True)
        for name in (rows.keys() | links.keys()) - kept.keys():
            stranger = cls(scope.host, name, "", "", 0, "", False, (), (), UNMARKED)
            yield Found(stranger, ours=False)

    def update(self, current: Resource) -> Steps | None:
        return LanBridge.update(self, current)


def _found(
    bridge: str,
    was: OriginalNic,
    row: ovsdb.Row,
    held: dict[str, Any],
    ports: dict[str, ovsdb.OvsPort],
    links: dict[str, dict[str, Any]],
    files: networkd.Files,
    scope: Origin,
) -> LanBridgeOvs:
    port = ports.get(was.nic)
    attached = (
        port is not None and port.bridge == bridge and row["datapath_type"] == was.ovs_datapath
    )
    return LanBridgeOvs(
        scope.host,
        bridge,
        was.nic if attached else "",
        str(held.get("address", "")),
        int(held.get("mtu", 0)),
        seat(was, links),
        bool(row.get("stp_enable")),
        (),
        files,
        Mark(scope.inventory, bridge),
        was=was,
    )
