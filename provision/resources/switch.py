"""Kind `switch`: a bridge of Open vSwitch that has a NIC of the host as its port.

What kind `bridge` is for the kernel's bridges. Open vSwitch's database brings bridge and port back
after a reboot, and networkd's files the host's addresses on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from provision import networkd
from provision.bridging import JOIN_OVS, LEAVE_OVS
from provision.resource import WAS, Attempt, Put, Resource, Scope, Seen, Steps, forget, remember
from provision.resources.bridge import Bridge, found_files, plain, seat
from provision.uplinks import First, first


@dataclass(frozen=True, slots=True)
class Switch(Bridge):
    """The same fields; `vlans` say nothing, as a port without a tag carries all of them."""

    kind: ClassVar[str] = "switch"
    probe: ClassVar[str] = rf"""
need ip
shared addresses
for was in {WAS}/"$name"/uplink/*; do
  [ -f "$was" ] || continue
  bridge=${{was##*/}}
  echo "was $bridge $(base64 -w0 <"$was")"
  files {networkd.FOLDER}/05-provision-"$name"-"$bridge"[.-]* | sed "s/^/file $bridge /"
  pid=$(cat /run/openvswitch/ovsdb-server.pid 2>/dev/null) && kill -0 "$pid" || continue
  ports=$(ovs-vsctl --timeout=5 list-ports "$bridge" 2>/dev/null) || continue
  echo "ports $bridge $(echo "$ports" | tr '\n' ' ')"
  echo "set $bridge stp $(ovs-vsctl --timeout=5 get bridge "$bridge" stp_enable)"
  echo "set $bridge datapath $(ovs-vsctl --timeout=5 get bridge "$bridge" datapath_type)"
done
"""
    witness: ClassVar[str] = ":"  # what it holds is what kind `bridge` looks at

    def create(self) -> Steps:
        assert self.was is not None
        written = tuple(Put(path, text) for path, text in self.files)
        joined = self._run(JOIN_OVS, self.mark, self.was.switch)
        return (remember(self._was, self.was.text), *written, Attempt((joined,), self.delete()))

    def delete(self) -> Steps:
        paths = " ".join(networkd.paths(self._inventory, self.bridge))
        return (self._run(LEAVE_OVS, self.mark, paths), *forget(self._was))

    @classmethod
    def parse(cls, text: str, scope: Scope) -> Iterable[Seen]:
        lines = [line.split(" ", 2) for line in text.splitlines()]
        shared = [line for line in text.splitlines() if line.startswith("addresses ")]
        links = {one["ifname"]: one for one in json.loads(shared[0][10:])} if shared else {}
        for word, bridge, *rest in lines:
            if word == "was" and first(plain(rest[0])).switch:
                was = first(plain(rest[0]))
                yield Seen(cls._found(bridge, was, lines, links, scope), ours=True)

    @classmethod
    def _found(
        cls,
        bridge: str,
        was: First,
        lines: list[list[str]],
        links: dict[str, dict[str, object]],
        scope: Scope,
    ) -> Switch:
        mine = [words for words in lines if words[1] == bridge]
        ports = next((words[2].split() for words in mine if words[0] == "ports"), [])
        settings = dict(words[2].split(" ", 1) for words in mine if words[0] == "set")
        same = settings.get("datapath", "").strip('"') == was.switch
        held = links.get(bridge, {})
        return cls(
            scope.host,
            bridge,
            was.nic if was.nic in ports and same else "",
            str(held.get("address", "")),
            int(str(held.get("mtu", 0))),
            seat(was, links),
            settings.get("stp") == "true",
            (),
            found_files(bridge, lines),
            f"{scope.inventory}/{bridge}",
            was=was,
        )

    def update(self, found: Resource) -> Steps | None:
        return Bridge.update(self, found)
