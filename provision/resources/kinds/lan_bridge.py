"""Kind `lan_bridge`: a Linux bridge with a NIC of the host as its port.

The bridge takes over the NIC's MAC, addresses and routes. Files for the NIC's network manager are
written as well, so that the host boots the same way without provision. The state of the NIC is
recorded on the host before the first change, and `delete` restores it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource, keyed_lines
from provision.resources.lib import (
    bridge_port,
    bridge_state,
    edited_file,
    marked_block,
    port_vlans,
)
from provision.resources.lib.base64_text import decode_text
from provision.resources.lib.crossing_rules import rules_before
from provision.resources.lib.host_link import Links, address_holder
from provision.resources.lib.managers import MANAGERS
from provision.resources.lib.managers.base import Files, NicManager
from provision.resources.lib.nic_records import HostVeth, OriginalNic, parse_records
from provision.resources.on_hosts import ORIGINALS, UNMARKED, Mark
from provision.resources.render import program_text
from provision.resources.steps import (
    Attempt,
    Put,
    Refuse,
    Run,
    Steps,
    record_once,
    remove_file,
    sh,
)

JOIN, LEAVE = ("host/nic_join.sh",), ("host/nic_leave.sh",)
IS_FOREIGN = program_text("host/nic_bridge_is_foreign.sh")

# The sums of the texts that the file may have follow its path.
_CHANGED = """
file=$1; shift
sum=$(sha256sum <"$file") || exit 0
for known; do [ "$sum" != "$known  -" ] || exit 1; done
"""


@dataclass(frozen=True, slots=True)
class LanBridge(Resource):
    """The bridge `bridge` with the port `nic`.

    `host_link` is the interface that holds the host's addresses: the bridge, or a veth into it.
    `stp` is None where the bridge neither runs the Spanning Tree Protocol nor forwards at once; a
    rollback to that state makes it forward at once.
    `vlans` are the tagged VLANs of the port, besides the untagged one; `untagged` is False if the
    bridge drops the frames of that one from the NIC, or from the host. `host_link` is empty while
    it, or what links it to the bridge, is down or missing. `files` are those of the NIC's network
    manager, pairs of path and text; those that are in `present`, too, are files of the
    administrator, and `present` has their texts at the snapshot. `original` is the NIC before it
    became a port. `mute` are settings that somebody has given to the ports of NIC and host, and
    that stop frames, by port.
    """

    kind: ClassVar[str] = "lan_bridge"
    probe: ClassVar[str] = program_text("look/lan_bridge.sh")

    fingerprint: ClassVar[str] = program_text("guard/lan_bridge.sh")

    bridge: str
    nic: str
    mac: str
    mtu: int
    host_link: str
    stp: bool | None
    vlans: tuple[int, ...]
    files: Files
    mark: Mark
    original: OriginalNic | None = field(default=None, compare=False)
    present: Files = field(default=(), compare=False, repr=False)
    follows: tuple[Ref, ...] = field(default=(), compare=False, repr=False)
    untagged: bool = field(default=True, repr=False)
    mute: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        return self.bridge

    def is_followed(self) -> bool:
        return self.original is not None

    def links(self) -> tuple[str, ...]:
        return (self.nic,)

    def followed_links(self) -> tuple[str, ...]:
        return (self.bridge,) if self._manager.remakes_bridges else ()

    def restore(self) -> Steps:
        """Plug containers in again; the manager itself makes the bridge with the NIC."""
        return (bridge_state.restore(self.bridge, anew=self._manager.remakes_bridges),)

    def after(self) -> tuple[Ref, ...]:
        return self.follows

    def names(self) -> tuple[str, ...]:
        veth = self.original.host_veth if self.original else None
        ends = (veth.name, veth.peer) if veth else ()
        return (self.bridge, *ends, *(path for path, _ in self._added))

    def is_foreign(self) -> Run:
        paths = (path for path in self.names() if path.startswith("/"))
        links = " ".join(name for name in self.names() if not name.startswith("/"))
        owner = self.mark.inventory
        return sh(IS_FOREIGN, self._record, owner, self.bridge, links, *paths)

    def create(self) -> Steps:
        return (*self._refusals(), *self._created())

    # A rollback refuses nothing: it may meet any of the texts that the change has written.
    def unstash(self, txn: str) -> Steps:
        return _unrefused(Resource.unstash(self, txn))

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        return _unrefused(Resource.undo(self, before, ours=ours))

    def _refusals(self) -> Steps:
        """Refuse a file of the administrator that was changed since the snapshot."""
        wanted = dict(self.files)
        return tuple(
            Refuse(
                sh(_CHANGED, path, *(_sum(text) for text in self._versions(wanted[path], before))),
                f"{path} was changed since the plan: plan again",
            )
            for path, before in self.present
        )

    def _versions(self, text: str, before: str) -> tuple[str, ...]:
        """The texts that a file of the administrator may have when a change begins."""
        return (before, text, marked_block.unwrap(text, self.mark))

    def _created(self) -> Steps:
        assert self.original is not None
        mode_of = self._manager.mode_of
        added = tuple(Put(path, text, mode_of(path)) for path, text in self._added)
        edited = tuple(
            step for path, text in self._edited for step in edited_file.write(path, text, "644 0:0")
        )
        # A failed `ip -batch` leaves the host without a part of its addresses or routes.
        joined = Attempt((self._join(),), self.delete())
        return (record_once(self._record, self.original.record), *added, *edited, joined)

    @property
    def _added(self) -> Files:
        edited = dict(self.present)
        return tuple((path, text) for path, text in self.files if path not in edited)

    @property
    def _edited(self) -> Files:
        edited = dict(self.present)
        return tuple((path, text) for path, text in self.files if path in edited)

    @property
    def _manager(self) -> NicManager:
        assert self.original is not None
        return MANAGERS[self.original.manager]

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, LanBridge)
        before, after = current.original, self.original
        assert before is not None and after is not None
        # Another NIC or another veth: the first NIC must get its addresses back before.
        same = (before.nic, before.host_veth) == (after.nic, after.host_veth)
        freed = bridge_port.settings_of(before=current.mute, wanted=self.mute)
        if freed and replace(current, mute=self.mute) == self:
            return freed  # the host's addresses stay where they are
        return (*self.create(), *freed) if same else None

    def delete(self) -> Steps:
        restored = (marked_block.restore(path, self.mark) for path, _ in self._edited)
        return (*restored, self._leave(), *remove_file(self._record))

    def _join(self) -> Run:
        return self._run(JOIN, str(self.mark))

    def _leave(self) -> Run:
        return self._run(LEAVE, str(self.mark), *self._manager.paths(self.mark))

    def _run(self, programs: tuple[str, ...], *arguments: str) -> Run:
        """Run one of the programs that begin with `host/nic_to_bridge.sh`."""
        nic, manager = self.original, self._manager
        assert nic is not None
        veth = nic.host_veth or HostVeth(self.bridge, "-", nic.mac)
        links = (self.bridge, nic.nic, veth.name, veth.peer, nic.mac, veth.mac)
        settings = (str(self.mtu or nic.mtu), str(int(bool(self.stp))), str(int(bool(self.vlans))))
        lists = (
            " ".join(map(str, self.vlans)),
            "\n".join(map(str, nic.addresses)),
            "\n".join(map(str, nic.routes)),
        )
        ping = program_text("checks/silence.pl")
        text = program_text("host/nic_to_bridge.sh", *manager.programs, *programs)
        leased = " ".join(nic.lease.addresses) if nic.lease else ""
        more = (nic.peer or "-", manager.arguments(self.mark, nic.network), leased)
        return sh(text, ping, *links, *settings, *lists, *more, *arguments)

    @property
    def _record(self) -> str:
        return f"{ORIGINALS}/{self.mark.inventory}/uplink/{self.bridge}"

    def touches_ssh(self, current: Resource | None) -> bool:  # noqa: ARG002
        return self.original is not None and self.original.ssh

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        moved = isinstance(current, LanBridge) and current.original is not None and not recreated
        return None if moved else f"the host's addresses move from {self.nic} to {self.host_link}"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        records = parse_records(rest for key, rest in lines if key == "was")
        for bridge, nic in records.items():
            if not nic.ovs_datapath:
                yield Found(_bridge(bridge, nic, lines, origin), ours=True)
        for name in (rest for key, rest in lines if key == "link" and rest not in records):
            # An interface of others with this name is a conflict.
            unmarked = cls(origin.host, name, "", "", 0, "", False, (), (), UNMARKED)
            yield Found(unmarked, ours=False)


def _bridge(
    bridge: str, nic: OriginalNic, lines: list[tuple[str, str]], origin: Origin
) -> LanBridge:
    links = links_by_name(lines)
    settings = dict(text.split(" ", 1) for text in lines_of("set", bridge, lines))
    ports = _filtered_ports(bridge, settings, lines)
    edited = files_of("edited", bridge, lines)
    return LanBridge(
        origin.host,
        bridge,
        nic.nic if links.get(nic.nic, {}).get("master") == bridge else "",
        links.get(bridge, {}).get("address", ""),
        int(links.get(bridge, {}).get("mtu", 0)),
        address_holder(nic, links, bridge),
        _stp(nic, settings),
        port_vlans.tagged(ports.get(nic.nic, ())) if ports is not None else (),
        tuple(sorted((*files_of("file", bridge, lines), *edited))),
        Mark(origin.inventory, bridge),
        original=nic,
        present=edited,
        follows=rules_before(origin.host, nic, origin.inventory, dict(origin.networks)),
        untagged=ports is None or _takes_untagged(nic, bridge, ports),
        mute=tuple(_mute(nic, bridge, lines, links.get(bridge, {}).get("flags", ()))),
    )


def _mute(
    nic: OriginalNic, bridge: str, lines: list[tuple[str, str]], flags: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield the settings that stop frames at the ports of the NIC and of the host's veth."""
    printed = next(iter(lines_of("ports", bridge, lines)), "") or "[]"
    names = {nic.nic, nic.host_veth.peer if nic.host_veth else ""}
    for port in json.loads(printed):
        text = bridge_port.mute_port(port, bridge_up="UP" in flags)
        if port.get("ifname") in names and text:
            yield port["ifname"], text


def _filtered_ports(
    bridge: str, settings: dict[str, str], lines: list[tuple[str, str]]
) -> port_vlans.Ports | None:
    """The VLANs of each port; None for a bridge that does not filter."""
    printed = next(iter(lines_of("vlans", bridge, lines)), None)
    filters = settings.get("vlan_filtering") == "1"
    return port_vlans.by_port(json.loads(printed)) if filters and printed else None


def _takes_untagged(nic: OriginalNic, bridge: str, ports: port_vlans.Ports) -> bool:
    """True if the bridge takes frames without a tag from the NIC, and from the host."""
    ends = (nic.nic, nic.host_veth.peer if nic.host_veth else bridge)
    return all(port_vlans.untagged(ports.get(e, ())) == port_vlans.DEFAULT_VLAN for e in ends)


def _stp(nic: OriginalNic, settings: dict[str, str]) -> bool | None:
    if settings.get("stp_state", "0") != "0":
        return True
    # Without STP provision sets the forward delay to 0, where the manager has a setting for it.
    keeps = nic.manager in MANAGERS and MANAGERS[nic.manager].sets_forward_delay
    return None if keeps and int(settings.get("forward_delay", "0")) > 0 else False


def _unrefused(steps: Steps) -> Steps:
    return tuple(step for step in steps if not isinstance(step, Refuse))


def _sum(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def lines_of(key: str, bridge: str, lines: Iterable[tuple[str, str]]) -> list[str]:
    """The rest of each line `KEY BRIDGE REST`."""
    pairs = (rest.partition(" ")[::2] for name, rest in lines if name == key)
    return [text for name, text in pairs if name == bridge]


def links_by_name(lines: Iterable[tuple[str, str]]) -> Links:
    """The host's interfaces by name, from the line `addresses JSON`."""
    printed = next((rest for key, rest in lines if key == "addresses"), "[]")
    return {link["ifname"]: link for link in json.loads(printed)}


def files_of(key: str, bridge: str, lines: Iterable[tuple[str, str]]) -> Files:
    """Path and text of a manager's files, from the lines `KEY BRIDGE MODE BASE64 PATH`."""
    entries = [text.split(" ", 2) for text in lines_of(key, bridge, lines)]
    return tuple(sorted((path, decode_text(content)) for _, content, path in entries))
