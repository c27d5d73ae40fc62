"""Kind `joint`: a veth between a Linux bridge and a bridge of Open vSwitch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.lib import ovsdb
from provision.resources.lib.ovsdb import VSCTL, OvsPort, quoted
from provision.resources.on_hosts import Mark
from provision.resources.steps import Run, Steps, Unless, sh

PREFIX = "oi-"
"""Every inner end of ours is called so (`address.interface_name`)."""
_UP = 1  # IFF_UP of linux/if.h

# A daemon that does not run is not asked: that fails loudly, or starts it by its socket.
_RUNS = 'kill -0 "$(cat /run/openvswitch/ovs-vswitchd.pid 2>/dev/null)" 2>/dev/null'
_ATTACHED = f"""
{_RUNS} && [ "$(ovs-vsctl -t 10 port-to-br "$1")" = "$2" ] &&
  [ "$(ovs-vsctl -t 10 get interface "$1" ofport)" -gt 0 ]
"""
_CHANGE = f"""
{_RUNS} || {{ echo 'Open vSwitch does not run' >&2; exit 1; }}
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class OvsVeth(Resource):
    """`inner` is a port of the Linux bridge `master`, `outer` one of Open vSwitch's `bridge`.

    `checksums`: the inner end leaves checksums to a device, which the userspace datapath is not:
    TCP would be dead (seen with 3.1), while ping and full-size packets pass. `trouble`: what Open
    vSwitch says of the port.
    """

    kind: ClassVar[str] = "ovs_veth"
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
for path in /sys/class/net/{PREFIX}*; do
  [ -e "$path" ] || continue
  dev=${{path##*/}}
  ip -d -j link show dev "$dev" | sed 's/^/link /'
  if command -v ethtool >/dev/null 2>&1; then
    ethtool -k "$dev" | sed -n "s/^tx-checksumming: \(o[nf]*\).*/checksums $dev \1/p"
  fi
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
    checksums: bool = False
    up: bool = True
    trouble: str = ""
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.inner

    def requires(self) -> tuple[Ref, ...]:
        return (*self.needs, Ref(self.host, "ovs_bridge", self.bridge))

    def create(self) -> Steps:
        return (
            Unless(Run(("test", "-e", _file(self.inner, "ifindex"))), (self._made(),)),
            *self._settled(),
        )

    def _made(self) -> Run:
        # Device and mark in one process: what an interruption leaves behind is ours.
        ends = f"{self.inner} mtu {self.mtu} type veth peer name {self.outer} mtu {self.mtu}"
        alias = f"link set dev {self.inner} alias {self.mark.tag}"
        return Run(("ip", "-batch", "-"), stdin=f"link add name {ends}\n{alias}\n")

    def _settled(self) -> Steps:
        """What is not so yet: a step that changes nothing would wake the follower for nothing."""
        inner = ("ip", "link", "set", "dev", self.inner)
        alias, port = self.mark.tag, f"/sys/class/net/{self.master}/brif/{self.inner}"
        off = ("sh", "-c", 'ethtool -k "$1" | grep -q "^tx-checksumming: off"', "sh", self.inner)
        ends = (self.inner, self.outer)
        return (
            Unless(_holds(self.inner, "ifalias", alias), (Run((*inner, "alias", alias)),)),
            *(step for end in ends for step in self._sized(end)),
            Unless(Run(("test", "-e", port)), (Run((*inner, "master", self.master)),)),
            Unless(Run(off), (Run(("ethtool", "-K", self.inner, "tx", "off")),)),
            *(
                Unless(_raised(end), (Run(("ip", "link", "set", "dev", end, "up")),))
                for end in ends
            ),
            Unless(sh(_ATTACHED, self.outer, self.bridge), (self._attach(),)),
        )

    def _sized(self, end: str) -> Iterator[Unless]:
        size = str(self.mtu)
        yield Unless(
            _holds(end, "mtu", size), (Run(("ip", "link", "set", "dev", end, "mtu", size)),)
        )

    def _attach(self) -> Run:
        # The database keeps the port over a reboot, while its device is made anew.
        words = ("--if-exists", "del-port", self.outer, "--", "add-port", self.bridge, self.outer)
        ids = (
            f"external_ids:{ovsdb.MARK}={quoted(str(self.mark))}",
            f"external_ids:{ovsdb.INNER}={quoted(self.inner)}",
        )
        change = (*VSCTL, *words, "--", "set", "port", self.outer, *ids)
        return sh(_CHANGE, *change)

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, OvsVeth)
        return self.create() if (current.outer, current.mark) == (self.outer, self.mark) else None

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:  # noqa: ARG002
        if before is None:
            return self.delete()
        assert isinstance(before, OvsVeth)
        # One that had lost a half is left whole: nobody asked for the half.
        return before.create() if before.bridge and before.master and before.mtu else ()

    def delete(self) -> Steps:
        port = Run((*VSCTL, "--if-exists", "del-port", self.outer))
        gone = Run(("test", "!", "-e", _file(self.inner, "ifindex")))
        return (port, Unless(gone, (Run(("ip", "link", "delete", "dev", self.inner)),)))

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        offloads = dict(rest.split(" ", 1) for word, rest in lines if word == "checksums")
        links = [json.loads(rest)[0] for word, rest in lines if word == "link"]
        ends = {link["ifname"]: link for link in links}
        ports = {
            port.ids[ovsdb.INNER]: port for port in ovsdb.ports(text) if ovsdb.INNER in port.ids
        }
        for inner in sorted({*ends, *ports}):
            found = _joint(inner, ends.get(inner), ports.get(inner), scope.host)
            found = replace(found, checksums=offloads.get(inner) == "on")
            yield Found(found, found.mark.inventory == scope.inventory)


def _joint(inner: str, link: dict[str, Any] | None, port: OvsPort | None, host: str) -> OvsVeth:
    """Either half may be gone: the link after a reboot, the port after `ovs-vsctl del-port`."""
    held = link or {}
    alias = str(held.get("ifalias", ""))
    recorded = port.ids.get(ovsdb.MARK, "") if port else ""
    return OvsVeth(
        host=host,
        outer=port.name if port else str(held.get("link", "")),
        bridge=port.bridge if port else "",
        inner=inner,
        master=str(held.get("master", "")),
        mtu=int(held.get("mtu", 0)),
        mark=Mark.of_tag(alias) if alias else Mark.parse(recorded),
        up="UP" in held.get("flags", ()),
        trouble=port.error if port else "",
    )


def _file(device: str, name: str) -> str:
    return f"/sys/class/net/{device}/{name}"


def _holds(device: str, name: str, value: str) -> Run:
    return sh('[ "$(cat "$1")" = "$2" ]', _file(device, name), value)


def _raised(device: str) -> Run:
    return sh(f'[ $(($(cat "$1") & {_UP})) = {_UP} ]', _file(device, "flags"))
