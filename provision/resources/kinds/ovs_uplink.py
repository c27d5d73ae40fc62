"""Kind `underlay`: a NIC as a port of a bridge of Open vSwitch, which holds its addresses.

The userspace datapath looks for a tunnel's far end behind its own bridges only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.lib import ovsdb
from provision.resources.on_hosts import ORIGINALS
from provision.resources.render import program_text
from provision.resources.steps import Run, Steps, Unless, remove_file, sh

PREFIX = ovsdb.NIC_BRIDGE
_LOOPBACK = "lo"
# Seen on the lab's hosts: ping passes, and every TCP segment is dropped for its checksum.
_OPEN_CHECKSUMS = """\
is a veth, and SSH may come by it: packets come from a veth with checksums that nobody has \
computed, which Open vSwitch's own datapath does not mend, so TCP to its addresses would be dead. \
Load the kernel's openvswitch module, or run `ethtool -K <its other end> tx off` outside and write \
datapath: netdev"""


@dataclass(frozen=True, slots=True)
class OvsUplink(Resource):
    """`home` is the device that holds the NIC's addresses: `bridge`, or the NIC itself.

    `sealed`: what the NIC receives reaches the kernel by the bridge alone. `claimed`: the bridge
    says that this inventory needs it; `others` do, too, and it goes with the last.
    `obstacle`: why the NIC cannot be moved. `nested`: its other end is in another namespace, as
    that of a container's veth; `insisted`: a person wrote that it moves all the same.
    """

    kind: ClassVar[str] = "ovs_uplink"
    edits: ClassVar[bool] = True
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = f"""
need ip
shared addresses
need_ovs
for path in /sys/class/net/{PREFIX}*; do
  [ -e "$path" ] || continue
  nic=$(ovs-vsctl -t 5 --if-exists get bridge "${{path##*/}}" external_ids:{ovsdb.NIC} | tr -d '"')
  [ -n "$nic" ] || continue
  iptables -w 5 -t raw -C PREROUTING -i "$nic" -m comment --comment provision:underlay -j DROP \
    2>/dev/null && echo "sealed $nic"
done
shared {" ".join(ovsdb.TABLES)}
"""

    # The addresses of NICs and of their bridges; what Docker's bridges and flannel have comes and
    # goes, and so does the number of a veth's other end behind the `@`.
    fingerprint: ClassVar[str] = f"""
need ip
ip -br -4 address | grep -v -e '^veth' -e '^br-' -e '^docker' -e '^flannel' |
  while read -r dev _ addresses; do echo "${{dev%%@*}} $addresses"; done | sort
iptables -w 5 -t raw -S PREROUTING 2>/dev/null | grep provision:underlay
for record in {ORIGINALS}/*/underlay/*; do
  case $record in *.offloads) ;; *) [ ! -f "$record" ] || echo "$record" ;; esac
done
"""

    nic: str
    bridge: str
    home: str
    inventory: str
    sealed: bool = True
    attached: bool = True
    claimed: bool = True
    others: tuple[str, ...] = field(default=(), compare=False)
    obstacle: str = field(default="", compare=False)
    nested: bool = field(default=False, compare=False, repr=False)
    ssh: bool = field(default=True, compare=False, repr=False)
    insisted: bool = field(default=False, compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.nic

    def touches_ssh(self, current: Resource | None) -> bool:  # noqa: ARG002
        return self.ssh

    def links(self) -> tuple[str, ...]:
        return (self.nic, self.bridge)

    def create(self) -> Steps:
        return (self._script("settle"),)

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        if self.others:
            key = ("remove", "bridge", self.bridge, "external_ids", f"provision-{self.inventory}")
            gone = Run((*ovsdb.VSCTL, "--if-exists", *key))
            return (gone, self._bequeathed(self.others[0]), *remove_file(self._record))
        return (self._script("return"), *remove_file(self._record))

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        assert before is None or isinstance(before, OvsUplink)
        if before is None or not before.bridge:
            return self.delete()
        # What was ours is left as it should be; what others had made only loses our claim.
        return () if ours else replace(self, others=before.others).delete()

    def _bequeathed(self, heir: str) -> Unless:
        """Whoever goes last switches on again what the first one had switched off."""
        mine, his = f"{self._record}.offloads", f"{ORIGINALS}/{heir}/underlay/{self.nic}.offloads"
        move = 'mkdir -p -- "${2%/*}" && cat -- "$1" >>"$2" && rm -f -- "$1"'
        return Unless(Run(("test", "!", "-e", mine)), (sh(move, mine, his),))

    def _script(self, verb: str) -> Run:
        words = (verb, self.bridge, self.nic, self.inventory, self._record)
        return sh(program_text("host/ovs_uplink.sh"), *words)

    @property
    def _record(self) -> str:
        return f"{ORIGINALS}/{self.inventory}/underlay/{self.nic}"

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        if isinstance(current, OvsUplink) and current.bridge:
            return None
        where = "goes back to the kernel" if current is None else "moves under Open vSwitch"
        return f"{self.nic} {where}; its addresses and routes stay, packets may be lost meanwhile"

    def blocking_reason(self, after: Resource | None) -> str | None:
        if not isinstance(after, OvsUplink) or self.bridge:
            return None
        if self.nested and after.ssh and not after.insisted:
            return f"{self.nic} {_OPEN_CHECKSUMS}"
        return self.obstacle or None

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        links = {link["ifname"]: link for link in json.loads(dict(lines)["addresses"])}
        sealed = {rest for word, rest in lines if word == "sealed"}
        ports = ovsdb.bridge_by_port(text)
        moved: set[str] = set()
        for row in ovsdb.bridges(text):
            nic = row["external_ids"].get(ovsdb.NIC)
            if nic:
                moved.add(nic)
                yield _moved(nic, row, links, ports.get(nic) == row["name"], nic in sealed, scope)
        for name, link in links.items():
            if name not in moved and name != _LOOPBACK:
                obstacle, nested = _obstacle(link, ports.get(name, "")), "link_netnsid" in link
                where = (scope.host, name, "", name, scope.inventory)
                found = cls(*where, obstacle=obstacle, nested=nested)
                yield Found(found, ours=False)


def _moved(
    nic: str, row: ovsdb.Row, links: dict[str, Any], attached: bool, sealed: bool, scope: Origin
) -> Found:
    bridge, users = row["name"], sorted(_users(row["external_ids"]))
    # The bridge holds them, unless the NIC got some again from whoever manages it.
    home = nic if _held(links.get(nic, {})) else bridge if _held(links.get(bridge, {})) else ""
    others = tuple(user for user in users if user != scope.inventory)
    mine = scope.inventory in users
    found = OvsUplink(
        scope.host, nic, bridge, home, scope.inventory, sealed, attached, mine, others
    )
    return Found(found, mine)


def _users(ids: dict[str, str]) -> Iterator[str]:
    for key, value in ids.items():
        if key.startswith("provision-") and value == "underlay":
            yield key.removeprefix("provision-")


def _held(link: dict[str, Any]) -> list[dict[str, Any]]:
    return [own for own in link.get("addr_info", ()) if own["family"] == "inet"]


def _obstacle(link: dict[str, Any], bridge: str) -> str:
    name = link["ifname"]
    if bridge == name:
        return f"{name} is a bridge of Open vSwitch, and no NIC"
    if bridge:
        return f"{name} is a port of {bridge}, a bridge of Open vSwitch that is not ours"
    if link.get("master"):
        return f"{name} is a port of {link['master']}"
    if any(own.get("dynamic") for own in _held(link)):
        return f"{name} has its address by DHCP, which would bring it back to {name}: fix it first"
    return ""
