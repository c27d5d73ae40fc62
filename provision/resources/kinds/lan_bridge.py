"""Kind `bridge`: a Linux bridge of ours that has a NIC of the host as its port.

It takes the NIC's place: MAC, addresses and routes, and the files of systemd-networkd by which a
host comes up so without us. What the NIC was is recorded before the first change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.lib import networkd
from provision.resources.lib.base64_text import decode_text
from provision.resources.lib.nic_records import HostVeth, OriginalNic, parse_record
from provision.resources.on_hosts import ORIGINALS, UNMARKED, Mark
from provision.resources.render import program_text
from provision.resources.steps import Attempt, Put, Run, Steps, record_once, remove_file, sh

_COMMON = "host/nic_to_bridge.sh"
JOIN = program_text(_COMMON, "host/nic_join.sh")
LEAVE = program_text(_COMMON, "host/nic_leave.sh")


@dataclass(frozen=True, slots=True)
class LanBridge(Resource):
    """`seat` is the link that holds the host's addresses: the bridge, or a veth into it.

    `vlans` are those that the NIC carries tagged, beside the untagged one; `files` are pairs of
    path and text; `was` is what the NIC was.
    """

    kind: ClassVar[str] = "lan_bridge"
    probe: ClassVar[str] = program_text("look/lan_bridge.sh")

    fingerprint: ClassVar[str] = rf"""
for file in {ORIGINALS}/*/uplink/* {networkd.FOLDER}/05-provision-*; do
  [ ! -f "$file" ] || echo "$file $(sha256sum <"$file")"
done
need ip
ip -4 -o address show scope global |
  sed -n 's/^[0-9]*: *\([^ ]*\) *inet \([^ ]*\) .*/\1 \2/p' |
  grep -v -e '^docker0 ' -e '^br-' -e '^veth' | sort
ip -4 route show default | sed 's/ *$//' | sort
"""

    bridge: str
    nic: str
    mac: str
    mtu: int
    seat: str
    stp: bool
    vlans: tuple[int, ...]
    files: networkd.Files
    mark: Mark
    was: OriginalNic | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.bridge

    def links(self) -> tuple[str, ...]:
        return (self.nic,)

    def create(self) -> Steps:
        assert self.was is not None
        written = tuple(Put(path, text) for path, text in self.files)
        # What a batch that stops half way leaves is no place for a host to be.
        joined = Attempt((self._run(JOIN, str(self.mark)),), self.delete())
        return (record_once(self._was, self.was.record), *written, joined)

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, LanBridge)
        assert current.was is not None and self.was is not None
        same = (current.was.nic, current.was.host_veth) == (self.was.nic, self.was.host_veth)
        return self.create() if same else None

    def delete(self) -> Steps:
        paths = networkd.paths(self._inventory, self.bridge)
        return (self._run(LEAVE, str(self.mark), *paths), *remove_file(self._was))

    def _run(self, text: str, *more: str) -> Run:
        was = self.was
        assert was is not None
        veth = was.host_veth or HostVeth(self.bridge, "-", was.mac)
        mtu = str(self.mtu or was.mtu)
        words = (self.bridge, was.nic, veth.name, veth.peer, was.mac, veth.mac, mtu)
        flags = ("1" if self.stp else "0", "1" if self.vlans else "0")
        tags = " ".join(map(str, self.vlans))
        lines = ("\n".join(map(str, was.addresses)), "\n".join(map(str, was.routes)))
        peer = was.peer or "-"
        ping = program_text("checks/silence.pl")
        return sh(text, ping, *words, *flags, tags, *lines, peer, *more)

    @property
    def _was(self) -> str:
        return f"{ORIGINALS}/{self._inventory}/uplink/{self.bridge}"

    @property
    def _inventory(self) -> str:
        return self.mark.inventory

    def touches_ssh(self, current: Resource | None) -> bool:  # noqa: ARG002
        return self.was is not None and self.was.ssh

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        moved = isinstance(current, LanBridge) and current.was is not None and not recreated
        return None if moved else f"the host's addresses move from {self.nic} to {self.seat}"

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.split(" ", 2) for line in text.splitlines()]
        kept = {words[1]: decode_text(words[2]) for words in lines if words[0] == "was"}
        shared = [line for line in text.splitlines() if line.startswith("addresses ")]
        links = json.loads(shared[0].partition(" ")[2]) if shared else []
        for bridge, record in kept.items():
            original = parse_record(record)
            if not original.ovs_datapath:
                yield Found(_found(bridge, original, lines, links, scope), ours=True)
        for words in lines:
            if words[0] == "link" and words[1] not in kept:
                stranger = cls(scope.host, words[1], "", "", 0, "", False, (), (), UNMARKED)
                yield Found(stranger, ours=False)


def _found(
    bridge: str,
    was: OriginalNic,
    lines: list[list[str]],
    links: list[dict[str, Any]],
    scope: Origin,
) -> LanBridge:
    by_name = {link["ifname"]: link for link in links}
    settings = dict(
        words[2].split(" ", 1) for words in lines if words[0] == "set" and words[1] == bridge
    )
    tagged = next((w[2] for w in lines if w[0] == "vlans" and w[1] == bridge), "")
    held = by_name.get(bridge, {})
    port = by_name.get(was.nic, {})
    delay = int(settings.get("forward_delay", "0")) > 0
    return LanBridge(
        scope.host,
        bridge,
        was.nic if port.get("master") == bridge else "",
        held.get("address", ""),
        int(held.get("mtu", 0)),
        seat(was, by_name),
        settings.get("stp_state", "0") != "0" or delay,
        _vlans(was.nic, tagged) if settings.get("vlan_filtering") == "1" else (),
        found_files(bridge, lines),
        Mark(scope.inventory, bridge),
        was=was,
    )


def seat(was: OriginalNic, links: dict[str, dict[str, Any]]) -> str:
    """The one link that holds all of the host's addresses; empty when there is none or another."""
    wanted = {address.cidr for address in was.addresses}
    holders = {
        name
        for name, link in links.items()
        for info in link.get("addr_info", ())
        if f"{info.get('local')}/{info.get('prefixlen')}" in wanted
    }
    if len(holders) != 1:
        return ""
    (name,) = holders
    held = {f"{one['local']}/{one['prefixlen']}" for one in links[name]["addr_info"] if one}
    up = "UP" in links[name].get("flags", ())
    return name if wanted <= held and up else ""


def _vlans(nic: str, printed: str) -> tuple[int, ...]:
    for port in json.loads(printed or "[]"):
        if port["ifname"] == nic:
            return tuple(sorted(int(one["vlan"]) for one in port["vlans"] if one["vlan"] != 1))
    return ()


def found_files(bridge: str, lines: Iterable[list[str]]) -> networkd.Files:
    """The files of ours, as a probe printed them."""
    texts = [words[2] for words in lines if words[0] == "file" and words[1] == bridge]
    return tuple(sorted(_file(text) for text in texts))


def _file(text: str) -> tuple[str, str]:
    _, content, path = text.split(" ", 2)
    return path, decode_text(content)
