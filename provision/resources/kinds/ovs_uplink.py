"""Kind `ovs_uplink`: a NIC as a port of an Open vSwitch bridge, which holds the NIC's addresses.

Tunnels of the userspace datapath need it: ovs-vswitchd reaches the far end of a tunnel only through
a bridge of its own (https://docs.openvswitch.org/en/latest/howto/userspace-tunneling/).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Resource, keyed_lines
from provision.resources.lib import ovs_forwarding, ovsdb
from provision.resources.lib.ovsdb import NIC_KEY
from provision.resources.on_hosts import ORIGINALS, UNMARKED, Mark
from provision.resources.render import program_text
from provision.resources.steps import Run, Steps, Unless, remove_file, sh

PREFIX = ovsdb.NIC_BRIDGE_PREFIX
UNDERLAY = "provision:underlay"
"""The comment of the rule that drops the kernel's copy of what Open vSwitch takes from a NIC."""
_LOOPBACK = "lo"
Links = dict[str, dict[str, Any]]
"""Interfaces by name, as `ip -j address` prints them."""

# Seen with Open vSwitch 3.1: ping passes, and every TCP segment is dropped.
_OPEN_CHECKSUMS = """\
is a veth that may carry SSH. Packets from a veth have no valid checksums, and the userspace \
datapath of Open vSwitch does not compute them, so TCP to this host would stop. Load the kernel \
module openvswitch, or run `ethtool -K PEER tx off` for the other end of the veth and write \
datapath: netdev"""


@dataclass(frozen=True, slots=True)
class OvsUplink(Resource):
    """The NIC `nic` as a port of `bridge`, which is empty if the NIC is no port yet.

    `address_holder` is the device that has the NIC's addresses: the bridge, or the NIC itself.
    `drops_input` is True if the kernel drops what it receives from the NIC directly. `attached` is
    False if the NIC is no longer a port. Several inventories may need the uplink: `claimed` is True
    if this one has marked the bridge, `other_users` are others, and the last one removes it.
    `obstacle` is the reason why the NIC cannot become a port. `peer_outside` is True for a veth
    whose other end is in another network namespace, as in a container; `forced` if the inventory
    says `datapath: netdev` and so accepts such a NIC. `ssh` is True if SSH may use the NIC. `lacks`
    is the flow without which the bridge forwards nothing, `port_vlans` and `port_flags` what
    somebody has set.
    """

    kind: ClassVar[str] = "ovs_uplink"
    edits: ClassVar[bool] = True
    volatile: ClassVar[bool] = True
    # Addresses are printed before need_ovs: a NIC is a candidate before Open vSwitch is installed.
    probe: ClassVar[str] = f"""
need ip
shared addresses
need_ovs
for path in /sys/class/net/{PREFIX}*; do
  [ -e "$path" ] || continue
  nic=$(ovs-vsctl -t 5 --if-exists get bridge "${{path##*/}}" external_ids:{NIC_KEY} | tr -d '"')
  [ -n "$nic" ] || continue
  iptables -w 5 -t raw -C PREROUTING -i "$nic" -m comment --comment {UNDERLAY} -j DROP \
    2>/dev/null && echo "sealed $nic"
done
flows /run/openvswitch/{PREFIX}*.mgmt
shared {" ".join(ovsdb.TABLES)}
"""

    # Addresses of NICs and of their bridges. Those of Docker's bridges and of flannel change by
    # themselves, and so does the index of a veth's other end after the `@`.
    fingerprint: ClassVar[str] = f"""
need ip
ip -br -4 address | grep -v -e '^veth' -e '^br-' -e '^docker' -e '^flannel' |
  while read -r dev _ addresses; do echo "${{dev%%@*}} $addresses"; done | sort
iptables -w 5 -t raw -S PREROUTING 2>/dev/null | grep {UNDERLAY}
for record in {ORIGINALS}/*/underlay/*; do
  case $record in *.offloads) ;; *) [ ! -f "$record" ] || echo "$record" ;; esac
done
"""

    nic: str
    bridge: str
    address_holder: str
    inventory: str
    drops_input: bool = True
    attached: bool = True
    claimed: bool = True
    lacks: str = ""
    port_vlans: ovsdb.PortVlans = ()
    port_flags: ovs_forwarding.PortFlags = ()
    other_users: tuple[str, ...] = field(default=(), compare=False)
    obstacle: str = field(default="", compare=False)
    peer_outside: bool = field(default=False, compare=False, repr=False)
    ssh: bool = field(default=True, compare=False, repr=False)
    forced: bool = field(default=False, compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.nic

    def touches_ssh(self, current: Resource | None) -> bool:  # noqa: ARG002
        return self.ssh

    def links(self) -> tuple[str, ...]:
        return (self.nic, self.bridge)

    def names(self) -> tuple[str, ...]:
        return (self.bridge,) if self.bridge else ()

    def is_foreign(self) -> Run | None:
        # A NIC that is not a port yet has no bridge.
        return ovsdb.is_foreign_bridge(self.bridge, self.nic, NIC_KEY) if self.bridge else None

    def create(self) -> Steps:
        return (self._run("settle"),)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, OvsUplink)
        repairs = ovs_forwarding.repairs(
            self.bridge, lacks=current.lacks, vlans=current.port_vlans, flags=current.port_flags
        )
        return (*self.create(), *repairs)

    def delete(self) -> Steps:
        # While others need the uplink, only the claim in external_ids goes.
        if self.other_users:
            key = ("remove", "bridge", self.bridge, "external_ids", f"provision-{self.inventory}")
            unclaim = Run((*ovsdb.VSCTL, "--if-exists", *key))
            return (unclaim, self._hand_over(self.other_users[0]), *self._forget)
        renew = sh(f'{program_text("host/networkd_ranges.sh")}renew_ranges "$1"', self.nic)
        return (self._run("return"), renew, *self._forget)

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        assert before is None or isinstance(before, OvsUplink)
        if before is None or not before.bridge:
            return self.delete()
        # An uplink that was ours stays as it is wanted; one of others only loses our claim.
        if ours:
            return (self._drop_partial,)
        return replace(self, other_users=before.other_users).delete()

    @property
    def _forget(self) -> Steps:
        return (self._drop_partial, *remove_file(self._record))

    @property
    def _drop_partial(self) -> Run:
        """What ovs_uplink.sh leaves of its record if it is killed.

        Not by the name of `partial_path`: with another text of that program, the followers of all
        hosts that have it would differ.
        """
        return Run(("rm", "-f", "--", f"{self._record}.new"))

    def _hand_over(self, user: str) -> Unless:
        """Give the record of offloads to `user`: the last inventory turns them on again."""
        record, target = f"{self._record}.offloads", f"{_record(user, self.nic)}.offloads"
        append = 'mkdir -p -- "${2%/*}" && cat -- "$1" >>"$2" && rm -f -- "$1"'
        return Unless(Run(("test", "!", "-e", record)), (sh(append, record, target),))

    def _run(self, verb: str) -> Run:
        program = program_text("host/ovs_device.sh", "host/ovs_uplink.sh")
        return sh(program, verb, self.bridge, self.nic, self.inventory, self._record)

    @property
    def _record(self) -> str:
        return _record(self.inventory, self.nic)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        if isinstance(current, OvsUplink) and current.bridge:
            return None
        change = "goes back to the kernel" if current is None else "moves under Open vSwitch"
        return f"{self.nic} {change}; its addresses and routes stay, packets may be lost meanwhile"

    def blocking_reason(self, after: Resource | None) -> str | None:
        if not isinstance(after, OvsUplink) or self.bridge:
            return None
        if self.peer_outside and after.ssh and not after.forced:
            return f"{self.nic} {_OPEN_CHECKSUMS}"
        return self.obstacle or None

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        links = {link["ifname"]: link for link in json.loads(dict(lines)["addresses"])}
        dropping = {rest for key, rest in lines if key == "sealed"}
        ports = ovsdb.bridge_by_port(text)
        rows = {row["external_ids"].get(NIC_KEY): row for row in ovsdb.bridges(text)}
        uplinks = {nic: row for nic, row in rows.items() if nic}
        for nic, row in uplinks.items():
            bridge, uplink = row["name"], _uplink(nic, row, links, origin)
            uplink = replace(
                uplink,
                drops_input=nic in dropping,
                attached=ports.get(nic) == bridge,
                lacks=ovs_forwarding.lacking_flow(text, bridge),
                port_vlans=ovsdb.port_vlans(text, nic, bridge),
                port_flags=ovs_forwarding.port_flags(
                    text, bridge, nic, bridge, inventory=origin.inventory
                ),
            )
            yield Found(uplink, ours=uplink.claimed)
        marks = {row["name"]: _mark(row) for row in ovsdb.bridges(text)}
        for name, link in links.items():
            if name not in uplinks and name != _LOOPBACK:
                bridge = ports.get(name, "")
                owner = marks.get(bridge, UNMARKED).inventory
                yield Found(_nic(link, bridge, owner, origin), ours=False)


def _mark(bridge: ovsdb.Row) -> Mark:
    keys = bridge["external_ids"]
    return Mark.parse(keys.get(ovsdb.MARK_KEY) or keys.get(ovsdb.LAN_KEY, ""))


def _record(inventory: str, nic: str) -> str:
    """The file in which `host/ovs_uplink.sh` records addresses and routes of a NIC."""
    return f"{ORIGINALS}/{inventory}/underlay/{nic}"


def _uplink(nic: str, row: ovsdb.Row, links: Links, origin: Origin) -> OvsUplink:
    bridge, users = row["name"], set(_users(row["external_ids"]))
    # The bridge has the addresses, unless somebody (e.g. a DHCP client) set them on the NIC again.
    holders = [name for name in (nic, bridge) if _ipv4_addresses(links.get(name, {}))]
    return OvsUplink(
        origin.host,
        nic,
        bridge,
        next(iter(holders), ""),
        origin.inventory,
        claimed=origin.inventory in users,
        other_users=tuple(sorted(users - {origin.inventory})),
    )


def _nic(link: dict[str, Any], bridge: str, owner: str, origin: Origin) -> OvsUplink:
    """An interface that is not an uplink, a port of the Open vSwitch bridge `bridge` or of none.

    `owner` is the inventory of this bridge, empty if it has none.
    """
    return OvsUplink(
        origin.host,
        link["ifname"],
        "",
        link["ifname"],
        origin.inventory,
        obstacle=_obstacle(link, bridge, owner),
        peer_outside="link_netnsid" in link,
    )


def _users(external_ids: dict[str, str]) -> Iterator[str]:
    """The inventories that need an uplink, from its keys `provision-INVENTORY`."""
    for key, value in external_ids.items():
        if key.startswith("provision-") and value == "underlay":
            yield key.removeprefix("provision-")


def _ipv4_addresses(link: dict[str, Any]) -> list[dict[str, Any]]:
    return [address for address in link.get("addr_info", ()) if address["family"] == "inet"]


def _obstacle(link: dict[str, Any], bridge: str, owner: str) -> str:
    name = link["ifname"]
    if bridge == name:
        return f"{name} is a bridge of Open vSwitch, not a NIC"
    if bridge:
        ownership = f"which belongs to inventory {owner}" if owner else "outside this inventory"
        return f"{name} is already a port of {bridge}, a bridge of Open vSwitch {ownership}"
    if link.get("master"):
        return f"{name} is a port of {link['master']}"
    if any(address.get("dynamic") for address in _ipv4_addresses(link)):
        return (
            f"{name} has its address from DHCP, which would set it on {name} again: make it static"
        )
    return ""
