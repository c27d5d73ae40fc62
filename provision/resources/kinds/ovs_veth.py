"""Kind `ovs_veth`: a veth pair between a Linux bridge and a bridge of Open vSwitch.

Docker attaches containers to Linux bridges only; the pair connects Docker's bridge with the
tunnels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Ref, Resource, keyed_lines
from provision.resources.lib import bridge_port, ovs_forwarding, ovsdb, sysfs
from provision.resources.lib.ovsdb import VSCTL, OvsPort, vsctl_string
from provision.resources.on_hosts import Mark
from provision.resources.ownership import any_of
from provision.resources.steps import Run, Steps, Unless, sh

PREFIX = "oi-"
"""The name of every inner end begins so (`model.names.interface_name`)."""

# ovs-vsctl is not called while the daemon does not run: it would fail, or systemd would start the
# daemon by its socket.
_RUNS = 'kill -0 "$(cat /run/openvswitch/ovs-vswitchd.pid 2>/dev/null)" 2>/dev/null'
_ATTACHED = f"""
{_RUNS} && [ "$(ovs-vsctl -t 10 port-to-br "$1")" = "$2" ] &&
  [ "$(ovs-vsctl -t 10 get interface "$1" ofport)" -gt 0 ]
"""
# ovs-vswitchd that has not noticed yet that a device is gone takes a new one for it, and receives
# nothing from it for ever: its socket is that of the old one.
_DETACH = f"""
{_RUNS} || exit 0
exec "$@"
"""
_CHANGE = f"""
{_RUNS} || {{ echo 'Open vSwitch does not run' >&2; exit 1; }}
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class OvsVeth(Resource):
    """The pair of `inner`, a port of the Linux bridge `master`, and `outer`, a port of `bridge`.

    `checksum_offload` is True if the inner end leaves checksums to its device. The userspace
    datapath does not compute them, so TCP would stop, while ping and full-size packets still pass
    (seen with Open vSwitch 3.1). `mtu` is the lower one of both ends. `up` is True if both
    ends are up: the kernel gives an end no carrier while the other one is down. `error` is Open
    vSwitch's message about the outer end, and `port_vlans` that end's settings of VLANs. `mute` are
    settings that somebody has given to the inner end, and that stop frames.
    """

    kind: ClassVar[str] = "ovs_veth"
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
for path in /sys/class/net/{PREFIX}*; do
  [ -e "$path" ] || continue
  dev=${{path##*/}}
  ip -d -j link show dev "$dev" | sed 's/^/link /'
  outer=$(ip -o link show dev "$dev" | sed 's/^[^@]*@\([^:]*\):.*/\1/')
  if mtu=$(cat "/sys/class/net/$outer/mtu" 2>/dev/null); then echo "outer $dev $mtu"; fi
  ! command -v ethtool >/dev/null 2>&1 ||
    ethtool -k "$dev" | sed -n "s/^tx-checksumming: \(o[nf]*\).*/checksums $dev \1/p"
  {bridge_port.IDLE_BRIDGE}
done
need_ovs
shared {" ".join(ovsdb.TABLES)}
"""

    fingerprint: ClassVar[str] = rf"""
for path in /sys/class/net/{PREFIX}*; do
  [ -e "$path" ] || continue
  echo "${{path##*/}} $(cat "$path/ifalias" "$path/mtu" | tr '\n' ' ')"
  ls -d "$path"/upper_* 2>/dev/null
done
:
"""

    outer: str
    bridge: str
    inner: str
    master: str
    mtu: int
    mark: Mark
    checksum_offload: bool = False
    up: bool = True
    error: str = ""
    port_vlans: ovsdb.PortVlans = ()
    mute: str = field(default="", repr=False)
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.inner

    def requires(self) -> tuple[Ref, ...]:
        return (*self.needs, Ref(self.host, "ovs_bridge", self.bridge))

    def names(self) -> tuple[str, ...]:
        return (self.inner, *((self.outer,) if self.outer else ()))

    def is_foreign(self) -> Run:
        pair = f"^[0-9]*: {self.inner}@{self.outer}: "
        return any_of(
            sysfs.is_foreign(self.inner, self.mark.inventory, pair),
            ovsdb.is_foreign_port(self.outer, self.mark.inventory),
        )

    def create(self) -> Steps:
        port = sh(_DETACH, *VSCTL, "--if-exists", "del-port", self.outer)
        return (Unless(sysfs.exists(self.inner), (port, self._add())), *self._settle())

    def _add(self) -> Run:
        # One process adds the pair and its mark: an interruption leaves none without a mark.
        ends = f"{self.inner} mtu {self.mtu} type veth peer name {self.outer} mtu {self.mtu}"
        alias = f"link set dev {self.inner} alias {self.mark.tag}"
        return Run(("ip", "-batch", "-"), stdin=f"link add name {ends}\n{alias}\n")

    def _settle(self) -> Steps:
        """Set what differs on an existing pair."""
        set_inner = ("ip", "link", "set", "dev", self.inner)
        alias, ends = self.mark.tag, (self.inner, self.outer)
        # Set again at every event: a new device starts with the offload on.
        no_offload = sh('ethtool -k "$1" | grep -q "^tx-checksumming: off"', self.inner)
        disable = Run(("ethtool", "-K", self.inner, "tx", "off"))
        return (
            Unless(
                sysfs.has_value(self.inner, "ifalias", alias), (Run((*set_inner, "alias", alias)),)
            ),
            *(self._set_mtu(end) for end in ends),
            Unless(
                sysfs.is_port(self.inner, self.master), (Run((*set_inner, "master", self.master)),)
            ),
            Unless(no_offload, (disable,)),
            *(
                Unless(sysfs.is_up(end), (Run(("ip", "link", "set", "dev", end, "up")),))
                for end in ends
            ),
            Unless(sh(_ATTACHED, self.outer, self.bridge), (self._attach(),)),
        )

    def _set_mtu(self, end: str) -> Unless:
        set_mtu = Run(("ip", "link", "set", "dev", end, "mtu", str(self.mtu)))
        return Unless(sysfs.has_value(end, "mtu", str(self.mtu)), (set_mtu,))

    def _attach(self) -> Run:
        # After a reboot the database still has the port, but the device is a new one, to which
        # ovs-vswitchd must attach: del-port and add-port make it do so.
        port = ("--if-exists", "del-port", self.outer, "--", "add-port", self.bridge, self.outer)
        ids = (
            f"external_ids:{ovsdb.MARK_KEY}={vsctl_string(str(self.mark))}",
            f"external_ids:{ovsdb.INNER_KEY}={vsctl_string(self.inner)}",
        )
        return sh(_CHANGE, *VSCTL, *port, "--", "set", "port", self.outer, *ids)

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, OvsVeth)
        if (current.outer, current.mark) != (self.outer, self.mark):
            return None
        return (
            *self.create(),
            *ovs_forwarding.set_vlans(self.port_vlans, before=current.port_vlans),
            *bridge_port.settings(self.inner, before=current.mute, wanted=self.mute),
        )

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:  # noqa: ARG002
        if before is None:
            return self.delete()
        assert isinstance(before, OvsVeth)
        # A pair that had lost its device or its port stays repaired: there is nothing to restore.
        if not (before.bridge and before.master and before.mtu):
            return ()
        return (
            *before.create(),
            *ovs_forwarding.set_vlans(before.port_vlans, before=self.port_vlans),
            *bridge_port.settings(self.inner, before=self.mute, wanted=before.mute),
        )

    def delete(self) -> Steps:
        delete = Run(("ip", "link", "delete", "dev", self.inner))
        port = Run((*VSCTL, "--if-exists", "del-port", self.outer))
        return (port, Unless(sysfs.is_absent(self.inner), (delete,)))

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        offloads = dict(rest.split(" ", 1) for key, rest in lines if key == "checksums")
        outers = (rest.split() for key, rest in lines if key == "outer")
        outer_mtus = {inner: int(mtu) for inner, mtu in outers}
        links = {
            link["ifname"]: link
            for link in (json.loads(rest)[0] for key, rest in lines if key == "link")
        }
        ports = {
            port.external_ids[ovsdb.INNER_KEY]: port
            for port in ovsdb.ports(text)
            if ovsdb.INNER_KEY in port.external_ids
        }
        for inner in sorted({*links, *ports}):
            veth = _veth(inner, links.get(inner, {}), ports.get(inner), origin.host)
            mtu = min(veth.mtu, outer_mtus.get(inner, veth.mtu))
            veth = replace(veth, checksum_offload=offloads.get(inner) == "on", mtu=mtu)
            if ("idle", inner) in lines:
                mute = bridge_port.mute(links.get(inner, {}), bridge_up=False)
                veth = replace(veth, mute=mute)
            yield Found(veth, veth.mark.inventory == origin.inventory)


def _veth(inner: str, link: dict[str, Any], port: OvsPort | None, host: str) -> OvsVeth:
    """The pair of a device and a port; one may be missing.

    The kernel loses the device at a reboot; `ovs-vsctl del-port` removes the port.
    """
    alias = str(link.get("ifalias", ""))
    port_mark = port.external_ids.get(ovsdb.MARK_KEY, "") if port else ""
    return OvsVeth(
        host=host,
        outer=port.name if port else str(link.get("link", "")),
        bridge=port.bridge if port else "",
        inner=inner,
        master=str(link.get("master", "")),
        mtu=int(link.get("mtu", 0)),
        mark=Mark.of_tag(alias) if alias else Mark.parse(port_mark),
        up={"UP", "LOWER_UP"} <= set(link.get("flags", ())),
        error=port.error if port else "",
        port_vlans=((port.name, port.vlans),) if port and port.vlans else (),
        mute=bridge_port.mute(link),
    )
