"""Kind `vxlan`: a VXLAN device of the kernel with a static forwarding table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.on_hosts import Mark
from provision.resources.steps import Run, Steps, Unless, sh

PREFIX = "vx-"
"""Every device of ours is called so (`address.interface_name`)."""
ANY = "00:00:00:00:00:00"
"""The table's entry for everybody whose place is not known: broadcasts, and who was not heard."""
_UP = 1  # IFF_UP of linux/if.h


@dataclass(frozen=True, slots=True, order=True)
class Forward:
    """Frames to `mac` go to the host `peer`; `neighbour` is that MAC's address on the link."""

    mac: str
    peer: IPv4Address
    neighbour: IPv4Address | None = None

    def __str__(self) -> str:
        who = "everybody" if self.mac == ANY else f"{self.mac} ({self.neighbour})"
        return f"{who} at {self.peer}"


@dataclass(frozen=True, slots=True)
class Vxlan(Resource):
    """`device`, a port of the bridge `master`, or with an `address` of its own (then no bridge).

    `forwards` are sorted. `learning`: it learns from what arrives where a MAC is.
    """

    kind: ClassVar[str] = "vxlan"
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
for path in /sys/class/net/{PREFIX}*; do
  [ -e "$path" ] || continue
  dev=${{path##*/}}
  ip -d -j address show dev "$dev" | sed 's/^/link /'
  ip -4 -j neighbour show dev "$dev" nud permanent | sed "s/^/neighbours $dev /"
  bridge fdb show dev "$dev" | sed "s/^/forward $dev /"
done
"""

    fingerprint: ClassVar[str] = rf"""
for path in /sys/class/net/{PREFIX}*; do
  [ -e "$path" ] || continue
  dev=${{path##*/}}
  echo "$dev $(cat "$path/ifalias" "$path/mtu" "$path/address" | tr '\n' ' ')"
  ls -d "$path"/upper_* 2>/dev/null
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
    forwards: tuple[Forward, ...]
    mark: Mark
    up: bool = True
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.device

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def create(self) -> Steps:
        there = Run(("test", "-e", self._file("ifindex")))
        return (Unless(there, (self._made(),)), *self._settled())

    def _made(self) -> Run:
        # Device and mark in one process: what an interruption leaves behind is ours.
        how = f"type vxlan id {self.vni} local {self.local} dstport {self.port}"
        how += "" if self.learning else " nolearning"
        add = f"link add name {self.device} address {self.mac} mtu {self.mtu} {how}"
        return Run(("ip", "-batch", "-"), stdin=f"{add}\n{self._alias}\n")

    @property
    def _alias(self) -> str:
        return f"link set dev {self.device} alias {self.mark.tag}"

    def _settled(self) -> Steps:
        """What is not so yet: a step that changes nothing would wake the follower for nothing."""
        link = ("ip", "link", "set", "dev", self.device)
        port = ("test", "-e", f"/sys/class/net/{self.master}/brif/{self.device}")
        return (
            Unless(
                self._holds("ifalias", self.mark.tag),
                (Run(("ip", *self._alias.split())),),
            ),
            Unless(self._holds("mtu", str(self.mtu)), (Run((*link, "mtu", str(self.mtu))),)),
            *((Unless(Run(port), (Run((*link, "master", self.master)),)),) if self.master else ()),
            *self._addressed(),
            Unless(self._raised, (Run((*link, "up")),)),
            *(step for forward in self.forwards for step in self._forwarded(forward)),
        )

    def _addressed(self) -> Steps:
        if self.address is None:
            return ()
        words = ("dev", self.device)
        there = Run(("ip", "-4", "-o", "address", "show", *words, "to", str(self.address)))
        add = Run(("ip", "-4", "address", "replace", str(self.address), *words))
        return (Unless(there, (add,), prints=True),)

    def _forwarded(self, forward: Forward) -> Steps:
        verb = "append" if forward.mac == ANY else "replace"
        yield_to = ("dev", self.device, "dst", str(forward.peer))
        table = Run(("bridge", "fdb", verb, forward.mac, *yield_to, "self", "permanent"))
        if forward.neighbour is None:
            return (table,)
        known = (str(forward.neighbour), "lladdr", forward.mac, "dev", self.device)
        return (table, Run(("ip", "-4", "neighbour", "replace", *known, "nud", "permanent")))

    def _file(self, name: str) -> str:
        return f"/sys/class/net/{self.device}/{name}"

    def _holds(self, name: str, value: str) -> Run:
        return sh('[ "$(cat "$1")" = "$2" ]', self._file(name), value)

    @property
    def _raised(self) -> Run:
        return sh(f'[ $(($(cat "$1") & {_UP})) = {_UP} ]', self._file("flags"))

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, Vxlan)
        same = replace(
            current, mtu=self.mtu, master=self.master, forwards=self.forwards, up=self.up
        )
        if same != self or (current.master and not self.master):
            return None
        stale = [forward for forward in current.forwards if forward not in self.forwards]
        return (*(step for forward in stale for step in self._dropped(forward)), *self._settled())

    def _dropped(self, forward: Forward) -> Steps:
        words = (forward.mac, "dev", self.device, "dst", str(forward.peer))
        table = Run(("bridge", "fdb", "delete", *words, "self"))
        if forward.neighbour is None:
            return (table,)
        gone = ("ip", "-4", "neighbour", "delete", str(forward.neighbour), "dev", self.device)
        return (table, Run(gone))

    def delete(self) -> Steps:
        gone = Run(("test", "!", "-e", self._file("ifindex")))
        return (Unless(gone, (Run(("ip", "link", "delete", "dev", self.device)),)),)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        return "containers of other hosts are out of reach for a moment" if recreated else None

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        for word, rest in lines:
            entry = json.loads(rest)[0] if word == "link" else {}
            if (entry.get("linkinfo") or {}).get("info_kind") == "vxlan":
                mark = Mark.of_tag(str(entry.get("ifalias", "")))
                found = _device(entry, tuple(_forwards(entry["ifname"], lines)), mark, scope)
                yield Found(found, mark.inventory == scope.inventory)


def _device(
    entry: dict[str, Any], forwards: tuple[Forward, ...], mark: Mark, scope: Origin
) -> Vxlan:
    how = entry["linkinfo"]["info_data"]
    held = [own for own in entry.get("addr_info", ()) if own["family"] == "inet"]
    return Vxlan(
        host=scope.host,
        device=entry["ifname"],
        vni=int(how["id"]),
        port=int(how["port"]),
        local=IPv4Address(how["local"]) if "local" in how else None,
        mac=entry["address"],
        mtu=int(entry["mtu"]),
        learning=bool(how.get("learning")),
        master=str(entry.get("master", "")),
        address=IPv4Interface(f"{held[0]['local']}/{held[0]['prefixlen']}") if held else None,
        forwards=tuple(sorted(forwards)),
        mark=mark,
        up="UP" in entry["flags"],
    )


def _forwards(device: str, lines: Sequence[tuple[str, str]]) -> Iterable[Forward]:
    known: dict[str, IPv4Address] = {}
    for word, rest in lines:
        dev, _, answer = rest.partition(" ")
        if word == "neighbours" and dev == device:
            known |= {one["lladdr"]: IPv4Address(one["dst"]) for one in json.loads(answer)}
    for word, rest in lines:
        words = rest.split()
        # `MAC dst ADDRESS … self permanent`; what was learnt is not permanent, what belongs to the
        # bridge has no `dst`.
        if word == "forward" and words[:1] == [device] and "permanent" in words and "dst" in words:
            peer = IPv4Address(words[words.index("dst") + 1])
            yield Forward(words[1], peer, known.get(words[1]))
