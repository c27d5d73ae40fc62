"""NetworkManager: profiles of ours with a higher priority than the NIC's own, which stays. Pure.

A profile for the bridge takes over the settings of the host's place in the network, one for the NIC
as its port those of the cable. At boot, and whenever NetworkManager chooses by itself, the profile
with the highest `autoconnect-priority` wins. Keyfile format: nm-settings-keyfile(5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID, uuid5

from provision.resources.lib.managers.base import (
    BridgePort,
    Files,
    ManagerFiles,
    NicManager,
    Reason,
    marked,
)
from provision.resources.on_hosts import Mark

FOLDER = "/etc/NetworkManager/system-connections"
_UUIDS = UUID("0d7c9f5e-3c1c-4a57-9b0e-5d2f7f6f3f10")
"""Namespace of the UUIDs of our profiles."""
_PRIORITY = 999
"""The highest `autoconnect-priority` that NetworkManager takes."""
_WIRED = ("ethernet", "802-3-ethernet")
# Sections of the cable and of the host's place in the network. The shell program look/managers.sh
# reads no profile with any other section, which could have secrets.
_PLACE = ("ipv4", "ipv6", "proxy")
# Keys of [connection] that are the profile's own.
_OWN = (
    *("id", "uuid", "type", "interface-name", "autoconnect", "autoconnect-priority"),
    *("autoconnect-retries", "timestamp", "lldp", "multi-connect"),
)
_IPV4 = ("auto", "manual")
# Identifiers of a DHCP client that a bridge would not have: they are made of the name of a NIC, of
# the UUID of its profile, or of the MAC that hardware has.
_OF_THE_NIC = ("duid", "ipv6-duid", "perm-mac", "stable")
_IPV6 = ("auto", "manual", "link-local", "ignore", "disabled")

Entry = tuple[str, str, str, int]
"""Section, key, value, and the number of the line, from 1."""


def entries(text: str) -> tuple[Entry, ...]:
    """The settings of a keyfile, without comments."""
    result, section = [], ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            section = stripped[1:-1]
        elif "=" in stripped and not stripped.startswith("#"):
            key, _, value = stripped.partition("=")
            result.append((section, key.strip(), value.strip(), number))
    return tuple(result)


class NetworkManager(NicManager):
    """NICs with a profile of NetworkManager that is a keyfile."""

    name = "NetworkManager"
    programs = ("host/manager_networkmanager.sh",)
    # NetworkManager ignores profiles that others than root can read.
    mode = 0o600
    sets_forward_delay = False
    serves_veth = False
    dhcp_client = name

    def describe(self, nic: str, files: ManagerFiles) -> str:
        """The profile of the NIC, with the metric of its routes, which a bridge would not get."""
        text = files.texts.get(files.profiles.get(nic, ""), "")
        known = {section for section, key, _, _ in entries(text) if key == "route-metric"}
        metric = files.metrics.get(nic)
        for section in ("ipv4", "ipv6") if text and metric else ():
            if section not in known:
                text += f"\n[{section}]\nroute-metric={metric}\n"
        return text

    def uses_dhcp(self, nic: str, files: ManagerFiles) -> bool:
        """True if the profile of the NIC asks for an IPv4 address by DHCP."""
        return _uses_dhcp(entries(files.texts.get(files.profiles.get(nic, ""), "")))

    def reasons(self, nic: str, files: ManagerFiles) -> Iterator[Reason]:
        """Yield the settings of the profile that a bridge, or its port, cannot have."""
        path = files.profiles.get(nic, "")
        unread = [file for file in files.unread if file.path == path]
        for file in unread:
            message = f"{path}:{file.line}: {nic} has the section [{file.content}]"
            yield message, "remove it (802.1X, PPPoE, …), or name another nic"
        if unread:
            return
        if path not in files.texts:
            message = f"no file of {FOLDER} is the connection of {nic}"
            yield message, "nmcli connection migrate, or make one by nmcli connection add"
            return
        profile = entries(files.texts[path])
        yield from _profile_reasons(nic, path, profile)
        if _uses_dhcp(profile):
            yield from lease_reasons(nic, path, profile, files)

    def paths(self, mark: Mark) -> tuple[str, ...]:
        """The profiles of the bridge and of its port."""
        stem = f"{FOLDER}/provision-{mark.inventory}-{mark.network}"
        return (f"{stem}.nmconnection", f"{stem}-port.nmconnection")

    def added(self, port: BridgePort, settings: str) -> Files:
        """The profiles of the bridge and of its port."""
        bridge, nic = self.paths(port.mark)
        profile = entries(settings)
        return marked(port.mark, {bridge: _bridge(port, profile), nic: _port(port, profile)})

    def arguments(self, mark: Mark, settings: str) -> str:
        """The UUIDs of the NIC's own profile, and of those of the bridge and its port."""
        known = (value for section, key, value, _ in entries(settings) if (section, key) == _UUID)
        return f"{next(known, '-')} {profile_uuid(mark, 'bridge')} {profile_uuid(mark, 'port')}"


_UUID = ("connection", "uuid")


def profile_uuid(mark: Mark, part: str) -> UUID:
    return uuid5(_UUIDS, f"{mark} {part}")


def _profile_reasons(nic: str, path: str, profile: Iterable[Entry]) -> Iterator[Reason]:
    names = set()
    for section, key, value, number in profile:
        location = f"{path}:{number}: {key}={value}"
        match section, key:
            case "connection", "interface-name":
                names.add(value)
            case (("ethernet" | "802-3-ethernet"), "mac-address"):
                names.add(nic)
            case "connection", "type" if value not in _WIRED:
                yield f"{location}: {nic} is not a plain wired NIC", "name another nic"
            case "connection", ("master" | "controller" | "slave-type" | "port-type"):
                yield f"{location}: {nic} is a port already", "name another nic"
            case "connection", "permissions":
                yield f"{location}: only some users may use it", "remove permissions"
            case "connection", "secondaries":
                yield f"{location}: a VPN starts with it", "remove secondaries"
            case "connection", "autoconnect" if value in ("false", "0", "no"):
                message = f"{location}: the bridge of {nic} would be lost at a reboot"
                yield message, "nmcli connection modify … connection.autoconnect yes"
            case "connection", "autoconnect-priority" if int(value or 0) >= _PRIORITY:
                message = f"{location}: the port of the bridge must have a higher priority"
                yield message, f"write less than {_PRIORITY}"
            case "ipv4", "method" if value not in _IPV4:
                yield f"{location}: {nic} has no address of its own", "write method=manual"
            case "ipv6", "method" if value not in _IPV6:
                yield f"{location}: it cannot move to a bridge", f"write one of {', '.join(_IPV6)}"
    if nic not in names:
        message = f"{path}:1: the connection is not bound to {nic}, so another NIC could take it"
        yield message, f"nmcli connection modify … connection.interface-name {nic}"


def _uses_dhcp(profile: Iterable[Entry]) -> bool:
    return any(entry[:3] == ("ipv4", "method", "auto") for entry in profile)


def lease_reasons(
    nic: str, path: str, profile: Iterable[Entry], files: ManagerFiles
) -> Iterator[Reason]:
    """Yield the settings by which the bridge would ask the DHCP server as another client."""
    profile_ids = [e for e in profile if e[:2] == ("ipv4", "dhcp-client-id")]
    lines = [(path, number, key, value) for _, key, value, number in profile_ids]
    lines += [
        (s.path, s.line, s.key, s.value)
        for s in files.settings
        if not profile_ids or s.key == "dhcp"
    ]
    for file, number, key, value in lines:
        location = f"{file}:{number}: {key}={value}"
        if key == "dhcp" and value != "internal":
            message = f"{location}: only the leases of NetworkManager's own client can move"
            yield message, "remove it, or give the host a fixed address"
        elif key.endswith("dhcp-client-id") and value in _OF_THE_NIC:
            message = f"{location}: the DHCP server would take the bridge of {nic} for another host"
            yield message, "nmcli connection modify … ipv4.dhcp-client-id mac"


def _bridge(port: BridgePort, profile: Iterable[Entry]) -> str:
    bridge = [f"mac-address={port.mac}", f"stp={'true' if port.stp else 'false'}"]
    bridge += ["vlan-filtering=true"] if port.vlans else []
    parts = {
        "connection": [
            *_head(port.bridge, profile_uuid(port.mark, "bridge"), "bridge", port.bridge),
            *_moved(profile),
        ],
        "ethernet": [f"mtu={port.mtu}"],
        "bridge": bridge,
        **{
            section: [f"{key}={value}" for name, key, value, _ in profile if name == section]
            for section in _PLACE
        },
    }
    return _text(parts)


def _port(port: BridgePort, profile: Iterable[Entry]) -> str:
    lldp = [
        f"lldp={value}"
        for section, key, value, _ in profile
        if (section, key) == ("connection", "lldp")
    ]
    master = [f"master={profile_uuid(port.mark, 'bridge')}", "slave-type=bridge"]
    head = _head(
        f"{port.bridge} port {port.nic}", profile_uuid(port.mark, "port"), "ethernet", port.nic
    )
    vlans = [f"vlans={', '.join(map(str, port.vlans))}"] if port.vlans else []
    parts = {
        "connection": [*head, *master, *lldp],
        "ethernet": [f"{key}={value}" for section, key, value, _ in profile if section in _WIRED],
        "bridge-port": vlans,
    }
    return _text(parts)


def _head(profile_id: str, uuid: UUID, kind: str, link: str) -> list[str]:
    return [
        f"id={profile_id}",
        f"uuid={uuid}",
        f"type={kind}",
        f"interface-name={link}",
        f"autoconnect-priority={_PRIORITY}",
    ]


def _moved(profile: Iterable[Entry]) -> Iterator[str]:
    """The settings of [connection] that are about the host's network, such as `zone`."""
    for section, key, value, _ in profile:
        if section == "connection" and key not in _OWN:
            yield f"{key}={value}"


def _text(parts: dict[str, list[str]]) -> str:
    return "\n".join(
        "\n".join((f"[{section}]", *lines, "")) for section, lines in parts.items() if lines
    )
