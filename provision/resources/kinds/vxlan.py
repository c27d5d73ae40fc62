"""Kind `vxlan`: a VXLAN device of the kernel with a static forwarding database, or FRR's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from operator import attrgetter
from typing import Any, ClassVar

from provision.model.names import interface_name
from provision.resources.base import Found, Origin, Ref, Resource, keyed_lines
from provision.resources.lib import bridge_port, sysfs
from provision.resources.lib.vxlan_forwards import (
    ADD_FORWARDS,
    Forward,
    permanent_neighbours,
    static_forwards,
)
from provision.resources.on_hosts import UNMARKED, Mark
from provision.resources.rows import ROWS
from provision.resources.steps import Run, Steps, Unless, sh

PREFIX = "vx-"
"""The name of every device of provision begins so (`model.names.interface_name`)."""
_SET_PORT = ("bridge", "link", "set", "dev")
ASK_CONTAINERS = r"""
neighbours=$(ip -4 neighbour show dev "$2")
# Entries of FRR, and permanent ones, which `use` would make ones that end.
kept=$(echo "$neighbours" | sed -n '/ PERMANENT\| extern_learn/s/ .*//p')
{
  echo "$neighbours" | sed -n 's/ lladdr .*//p'
  # A socket of systemd would start a Docker that somebody has stopped.
  systemctl is-active docker.service | grep -q -e ^activ -e ^reload &&
    docker network inspect --format '{{range .Containers}}{{println .IPv4Address}}{{end}}' "$1" |
    sed -n 's|/.*||p'
} | sort -u | grep -vxF -e '' -e "$kept" | sed "s/.*/neighbour replace & dev $2 use/" |
  ip -force -batch -
"""
"""Shell that makes FRR announce the containers of a Docker network ($1) on a bridge ($2).

`use`: the kernel asks each for its MAC, and FRR announces the answer. The neighbours that have not
answered for a while are asked, too, and forgotten if they have ended.
"""


@dataclass(frozen=True, slots=True)
class Vxlan(Resource):
    """The VXLAN device `device` of the VNI `vni`, on UDP port `port`.

    The device is a port of the bridge `master`, or has an `address` of its own and no bridge.
    `local` is the host's address for the tunnel, None if the kernel chooses. `forwards` are sorted.
    With `learning` the device learns from received frames behind which host a MAC is. If the
    table is not `static`, FRR fills it: the port learns nothing, and answers ARP by the neighbours
    of the bridge. FRR announces the containers of `docker_network` that are such neighbours.
    `mute` are settings that somebody has given to the port of the bridge, and that stop frames.
    """

    kind: ClassVar[str] = "vxlan"
    volatile: ClassVar[bool] = True
    only_where: ClassVar[tuple[str, ...]] = ("/sys/class/net/vx-*",)
    probe: ClassVar[str] = rf"""
for path in /sys/class/net/{PREFIX}*; do
  [ -e "$path" ] || continue
  dev=${{path##*/}}
  ip -d -j address show dev "$dev" | sed 's/^/link /'
  ip -4 -j neighbour show dev "$dev" nud permanent | sed "s/^/neighbours $dev /"
  bridge fdb show dev "$dev" | sed "s/^/forward $dev /"
  {bridge_port.IDLE_BRIDGE}
done
"""

    fingerprint: ClassVar[str] = rf"""
for path in /sys/class/net/{PREFIX}*; do
  [ -e "$path" ] || continue
  dev=${{path##*/}}
  echo "$dev $(cat "$path/ifalias" "$path/mtu" "$path/address" | tr '\n' ' ')"
  ls -d "$path"/upper_* 2>/dev/null
  # The table of such a port is that of FRR, which changes it at any time.
  [ "$(cat "$path/brport/neigh_suppress" 2>/dev/null)" != 1 ] || continue
  bridge fdb show dev "$dev" | grep 'dst.*permanent' | sort
done
:
"""

    device: str
    vni: int
    port: int
    local: IPv4Address | None
    mac: str
    mtu: int
    learning: bool
    master: str
    address: IPv4Interface | None
    forwards: tuple[Forward, ...] = field(metadata=ROWS)
    mark: Mark
    up: bool = True
    static: bool = True
    mute: str = field(default="", repr=False)
    docker_network: str = field(default="", compare=False)
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.device

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def names(self) -> tuple[str, ...]:
        return (self.device,)

    def is_foreign(self) -> Run:
        return sysfs.is_foreign(self.device, self.mark.inventory, f" vxlan id {self.vni} ")

    def create(self) -> Steps:
        return (Unless(sysfs.exists(self.device), (self._add(),)), *self._settle())

    def _add(self) -> Run:
        # One process adds the device and its mark: an interruption leaves none without a mark.
        # dstport: without it Linux uses 8472, from before IANA assigned 4789 to VXLAN.
        tunnel = f"type vxlan id {self.vni} local {self.local} dstport {self.port}"
        tunnel += "" if self.learning else " nolearning"
        add = f"link add name {self.device} address {self.mac} mtu {self.mtu} {tunnel}"
        return Run(("ip", "-batch", "-"), stdin=f"{add}\nlink {' '.join(self._set_alias)}\n")

    @property
    def _set_alias(self) -> tuple[str, ...]:
        return ("set", "dev", self.device, "alias", self.mark.tag)

    def _settle(self) -> Steps:
        """Set what differs on an existing device."""
        device, mtu = self.device, str(self.mtu)
        set_link = ("ip", "link", "set", "dev", device)
        join = Run((*set_link, "master", self.master))
        alias = Run(("ip", "link", *self._set_alias))
        return (
            Unless(sysfs.has_value(device, "ifalias", self.mark.tag), (alias,)),
            Unless(sysfs.has_value(device, "mtu", mtu), (Run((*set_link, "mtu", mtu)),)),
            *((Unless(sysfs.is_port(device, self.master), (join,)),) if self.master else ()),
            *self._set_port(),
            *self._set_address(),
            Unless(sysfs.is_up(device), (Run((*set_link, "up")),)),
            *((sh(ASK_CONTAINERS, self.docker_network, self.master),) if not self.static else ()),
            *self._add_forwards(),
        )

    def _set_port(self) -> Steps:
        """Leave the table to FRR. A port that has left its bridge has lost these settings."""
        if self.static:
            return ()
        device = self.device
        is_set = sysfs.has_value(device, "brport/neigh_suppress", "1")
        learns_nothing = sysfs.has_value(device, "brport/learning", "0")
        suppress = Run((*_SET_PORT, device, "neigh_suppress", "on"))
        learn = Run((*_SET_PORT, device, "learning", "off"))
        return Unless(is_set, (suppress,)), Unless(learns_nothing, (learn,))

    def _set_address(self) -> Steps:
        if self.address is None:
            return ()
        address, device = str(self.address), ("dev", self.device)
        is_set = Run(("ip", "-4", "-o", "address", "show", *device, "to", address))
        set_address = Run(("ip", "-4", "address", "replace", address, *device))
        return (Unless(is_set, (set_address,), prints=True),)

    def _add_forwards(self) -> Steps:
        if not self.forwards:
            return ()
        lines = "".join([forward.line for forward in self.forwards])
        return (Run(sh(ADD_FORWARDS, self.device).argv, stdin=lines),)

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, Vxlan)
        # Any other difference needs a new device.
        settled = replace(
            current,
            mtu=self.mtu,
            master=self.master,
            forwards=self.forwards,
            up=self.up,
            mute=self.mute,
        )
        if not self.static:  # its other options tell that it was made for FRR
            settled = replace(settled, static=False)
        if current.mark == UNMARKED:
            settled = replace(settled, mark=self.mark)
        if settled != self or (current.master and not self.master):
            return None
        # Those of a device whose port has lost its settings are FRR's.
        known = current.forwards if self.static else ()
        stale = [forward for forward in known if forward not in self.forwards]
        removed = (step for forward in stale for step in self._remove_forward(forward))
        freed = bridge_port.settings(self.device, before=current.mute, wanted=self.mute)
        return (*removed, *self._settle(), *freed)

    def _remove_forward(self, forward: Forward) -> Steps:
        destination = ("dev", self.device, "dst", str(forward.peer))
        # With `dst`, because ANY has several entries: only this peer's is deleted.
        entry = Run(("bridge", "fdb", "delete", forward.mac, *destination, "self"))
        if forward.neighbour is None:
            return (entry,)
        neighbour = (str(forward.neighbour), "dev", self.device)
        return (entry, Run(("ip", "-4", "neighbour", "delete", *neighbour)))

    def delete(self) -> Steps:
        delete = Run(("ip", "link", "delete", "dev", self.device))
        return (Unless(sysfs.is_absent(self.device), (delete,)),)

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if not isinstance(before, Vxlan) or before.mark != UNMARKED:
            return Resource.undo(self, before, ours=ours)
        # The device had lost its alias before the change.
        marked = replace(before, mark=self.mark)
        no_alias = Run(("ip", "link", "set", "dev", self.device, "alias", ""))
        return (*Resource.undo(self, marked, ours=ours), no_alias)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        before = current if isinstance(current, Vxlan) else self
        if before.mark == UNMARKED and not recreated:
            return f"device {self.device} is ours, damaged: it has lost its alias"
        return "containers of other hosts are unreachable for a moment" if recreated else None

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        for link in (json.loads(rest)[0] for key, rest in lines if key == "link"):
            if (link.get("linkinfo") or {}).get("info_kind") == "vxlan":
                device = link["ifname"]
                neighbours = permanent_neighbours(_rests("neighbours", device, lines))
                forwards = static_forwards(_rests("forward", device, lines), neighbours)
                ordered = tuple(sorted(forwards, key=attrgetter("order")))
                vxlan = _vxlan(link, ordered, origin.host, bridge_up=("idle", device) not in lines)
                ours = vxlan.mark.inventory == origin.inventory
                yield Found(vxlan, ours or _has_lost_mark(vxlan, origin))


def _has_lost_mark(vxlan: Vxlan, origin: Origin) -> bool:
    """True for a device without an alias whose name has a hash that only this inventory gives."""
    names = (interface_name(PREFIX, origin.inventory, network) for network, _ in origin.networks)
    return vxlan.mark == UNMARKED and vxlan.device in names


def _rests(key: str, device: str, lines: list[tuple[str, str]]) -> list[str]:
    """The rest of each line `KEY DEVICE REST`."""
    pairs = (rest.partition(" ")[::2] for name, rest in lines if name == key)
    return [text for name, text in pairs if name == device]


def _vxlan(
    link: dict[str, Any], forwards: tuple[Forward, ...], host: str, *, bridge_up: bool
) -> Vxlan:
    tunnel, port = link["linkinfo"]["info_data"], link["linkinfo"].get("info_slave_data", {})
    static = not port.get("neigh_suppress") or bool(port.get("learning"))
    addresses = [
        IPv4Interface(f"{address['local']}/{address['prefixlen']}")
        for address in link.get("addr_info", ())
        if address["family"] == "inet"
    ]
    return Vxlan(
        host=host,
        device=link["ifname"],
        vni=int(tunnel["id"]),
        port=int(tunnel["port"]),
        local=IPv4Address(tunnel["local"]) if "local" in tunnel else None,
        mac=link["address"],
        mtu=int(link["mtu"]),
        learning=bool(tunnel.get("learning")),
        master=str(link.get("master", "")),
        address=next(iter(addresses), None),
        forwards=forwards if static else (),
        mark=Mark.of_tag(str(link.get("ifalias", ""))),
        up="UP" in link["flags"],
        static=static,
        mute=bridge_port.mute(link, bridge_up=bridge_up),
    )
