"""netplan with the renderer networkd: a file of ours has the bridge, a block of ours the NIC. Pure.

netplan joins the lists of its files, so a file of ours cannot take addresses off the NIC: its entry
is replaced by a marked block. Keys: https://netplan.readthedocs.io/en/stable/netplan-yaml/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from provision.resources.lib import marked_block, networkd
from provision.resources.lib.managers.base import (
    BridgePort,
    Files,
    ManagerFiles,
    NicManager,
    Reason,
    marked,
)
from provision.resources.lib.managers.netplan_file import NetplanEntry, Setting, interfaces, uses
from provision.resources.lib.nic_records import NETWORKD
from provision.resources.on_hosts import Mark

FOLDER = "/etc/netplan"
# Keys of the host's place in the network, and of the cable.
_MOVED = (
    *("addresses", "gateway4", "gateway6", "routes", "routing-policy", "nameservers", "optional"),
    *("accept-ra", "link-local", "ipv6-privacy", "ipv6-address-generation", "ipv6-address-token"),
    *("optional-addresses", "ignore-carrier", "dhcp4", "dhcp6", "dhcp-identifier"),
    *("dhcp4-overrides", "dhcp6-overrides", "critical"),
)
_CABLE = (
    *("match", "set-name", "wakeonlan", "macaddress", "mtu", "emit-lldp", "renderer"),
    *("receive-checksum-offload", "transmit-checksum-offload", "tcp-segmentation-offload"),
    *("tcp6-segmentation-offload", "generic-segmentation-offload", "generic-receive-offload"),
    *("large-receive-offload",),
)
_NO = ("false", "no", "off", "n", "")


class Netplan(NicManager):
    """NICs for which netplan has written the files of systemd-networkd."""

    name = "netplan"
    renderer: ClassVar[str] = "networkd"
    programs: ClassVar[tuple[str, ...]] = (
        "host/networkd_ranges.sh",
        "host/networkd_port.sh",
        "host/manager_netplan.sh",
    )
    # The file may name what others need not know; netplan warns of a wider mode.
    mode = 0o600
    serves_veth = False
    serves_vlans = False
    dhcp_client = NETWORKD

    def describe(self, nic: str, files: ManagerFiles) -> str:
        """The entry of the NIC, as YAML."""
        return "".join(
            _yaml("", entry.id, [setting.text for setting in entry.settings])
            for entry in _entries(nic, files)
        )

    def uses_dhcp(self, nic: str, files: ManagerFiles) -> bool:
        """True if the entry of the NIC has `dhcp4`."""
        try:
            entries = _entries(nic, files)
        except ValueError:
            return False
        return any(_is_on(s, "dhcp4") for entry in entries for s in entry.settings)

    def mode_of(self, path: str) -> int:
        """The process of systemd-networkd is not root's: it must be able to read its own files."""
        return self.mode if path.startswith(f"{FOLDER}/") else 0o644

    def arguments(self, mark: Mark, settings: str) -> str:  # noqa: ARG002
        """The name of the NIC's entry."""
        return _id(settings)

    def reasons(self, nic: str, files: ManagerFiles) -> Iterator[Reason]:
        """Yield secrets, entries that are not the NIC's own, and keys that cannot move."""
        for file in files.unread:
            if "/netplan/" in file.path:
                message = f"{file.path}:{file.line}: {file.content} is a secret"
                yield message, "move the interface with it to a file of its own"
        try:
            entries = _entries(nic, files)
        except ValueError as error:
            yield f"a file of netplan cannot be read: {error}", "run netplan generate"
            return
        if not entries:
            message = f"no entry of {FOLDER} is that of {nic} alone"
            yield message, f"write ethernets: {{{nic}: …}}, or set-name: {nic}"
        for entry in entries[1:]:
            yield f"{entry.location}: {nic} has a second entry", "write all keys in one entry"
        for entry in entries[:1]:
            yield from _entry_reasons(nic, entry, files)

    def paths(self, mark: Mark) -> tuple[str, ...]:
        """The files of the bridge, and that by which networkd leaves the NIC alone for a moment."""
        stem = f"provision-{mark.inventory}-{mark.network}"
        drop_ins = f"{networkd.FOLDER}/10-netplan-{mark.network}.network.d"
        nic = f"{networkd.FOLDER}/05-{stem}-nic.network"
        return (f"{FOLDER}/90-{stem}.yaml", f"{drop_ins}/{stem}.conf", nic)

    def added(self, port: BridgePort, settings: str) -> Files:
        """The file of the bridge, and for a lease what netplan has no keys for."""
        yaml, drop_in, _ = self.paths(port.mark)
        texts = {yaml: self.bridge(port, settings)}
        if port.lease:
            texts[drop_in] = networkd.lease_file(port.lease, _networkd_keys(settings))
        return marked(port.mark, texts)

    def bridge(self, port: BridgePort, settings: str, *more: str) -> str:
        """The text of our file; `more` are further lines of the bridge."""
        stp = f"stp: {str(port.stp).lower()}{'' if port.stp else ', forward-delay: 0'}"
        lines = [
            f'interfaces: ["{_id(settings)}"]',
            f'macaddress: "{port.mac}"',
            f"mtu: {port.mtu}",
            f"renderer: {self.renderer}",
            f"parameters: {{{stp}}}",
            *more,
            *_moved(settings),
        ]
        bridge = _yaml("    ", port.bridge, lines)
        return f"network:\n  version: 2\n  bridges:\n{bridge}"

    def edited(self, port: BridgePort, settings: str, files: ManagerFiles) -> Files:  # noqa: ARG002
        """The file with the NIC's entry."""
        for entry in _entries(port.nic, files)[:1]:
            kept = [setting.text for setting in entry.settings if setting.key in _CABLE]
            new = _yaml(" " * entry.indent, entry.id, [*kept, "link-local: []"])
            blocks = {entry.lines: new.splitlines()}
            text = marked_block.wrap(files.texts[entry.path], port.mark, blocks)
            return ((entry.path, text),)
        return ()


def _entries(nic: str, files: ManagerFiles) -> list[NetplanEntry]:
    """The entries of the NIC alone, in the order of the files. Raises ValueError."""
    return [entry for entry in _all_entries(files) if entry.nic == nic]


def _all_entries(files: ManagerFiles) -> Iterator[NetplanEntry]:
    for path, text in sorted(files.texts.items()):
        if "/netplan/" in path:
            try:
                yield from interfaces(path, text)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error


def _entry_reasons(nic: str, entry: NetplanEntry, files: ManagerFiles) -> Iterator[Reason]:
    if not entry.path.startswith(f"{FOLDER}/"):
        yield f"{entry.location}: {nic} is not configured in {FOLDER}", f"move it to {FOLDER}"
    if entry.in_flow:
        message = f"{entry.location}: ethernets is written in braces"
        yield message, "write each interface on lines of its own"
    if marked_block.is_in_block(files.texts[entry.path], entry.lines.start):
        message = f"{entry.location}: {nic} is in a block of another inventory"
        yield message, "destroy that inventory first"
    for further in _all_entries(files):
        if further.nic != nic and further.may_be(nic):
            yield (
                f"{further.location}: {further.id} matches {nic}, too",
                f"exclude {nic} from its match",
            )
    for path, text in sorted(files.texts.items()):
        if "/netplan/" in path:
            for location in uses(path, text, entry.id):
                yield f"{location}: another interface is made of {entry.id}", "name another nic"
    for setting in entry.settings:
        location = entry.line(setting.number)
        if setting.key not in (*_MOVED, *_CABLE):
            yield (
                f"{location}: {setting.key} cannot move to a bridge",
                "remove it, or name another nic",
            )
        elif _is_on(setting, "dhcp6"):
            yield f"{location}: {setting.key} is on", "give the host a fixed address"
        elif "&" in setting.text or "*" in setting.text:
            yield f"{location}: {setting.key} has an anchor or alias", "write its value in full"


def _is_on(setting: Setting, key: str) -> bool:
    return setting.key == key and setting.value.lower() not in _NO


def _networkd_keys(settings: str) -> str:
    """The settings that netplan writes for networkd about keeping a lease."""
    critical = any(_is_on(setting, "critical") for setting in _settings(settings))
    return "[Network]\nKeepConfiguration=yes\n" if critical else ""


def _id(settings: str) -> str:
    """The name of the entry that `describe` has written."""
    return settings.partition(":")[0].strip().strip("\"'")


def _moved(settings: str) -> Iterator[str]:
    for setting in _settings(settings):
        if setting.key in _MOVED:
            yield setting.text


def _settings(settings: str) -> Iterator[Setting]:
    text = "network:\n  ethernets:\n" + "".join(f"    {line}\n" for line in settings.splitlines())
    for entry in interfaces("", text):
        yield from entry.settings


def _yaml(indent: str, name: str, texts: list[str]) -> str:
    """A mapping `name`, whose entries are `texts`."""
    lines = [line for text in texts for line in text.split("\n")]
    head = f"{indent}{name}:" if lines else f"{indent}{name}: {{}}"
    return "\n".join((head, *(f"{indent}  {line}" for line in lines), ""))
