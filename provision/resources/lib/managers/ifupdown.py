"""ifupdown: the NIC's stanzas are replaced by those of the bridge, in the same file. Pure.

ifupdown has no settings that override others, so the administrator's lines have to go. They stay
in the file as comments, and `destroy` restores them. The bridge is made by `pre-up` lines with
`ip`, as only some hosts have the package bridge-utils. `ifdown` leaves the bridge and its ports
alone, so that `systemctl restart networking` does not take containers off it. Options:
interfaces(5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from provision.resources.lib import marked_block
from provision.resources.lib.managers.base import (
    BridgePort,
    Files,
    ManagerFiles,
    NicManager,
    Reason,
)
from provision.resources.lib.managers.interfaces_file import (
    Stanza,
    is_known_source,
    is_start,
    stanzas,
)
from provision.resources.on_hosts import Mark

# Options that only say where the host is in the network; they move to the bridge as they are.
_MOVED = (
    *("address", "netmask", "broadcast", "network", "gateway", "metric", "pointopoint", "scope"),
    *("accept_ra", "autoconf", "dad-attempts", "dad-interval", "privext", "preferred-lifetime"),
)
# Options for the DHCP client; the bridge's gets them, too.
_DHCP = ("hostname", "leasehours", "leasetime", "vendor", "client", "metric")
_FAMILIES = (("inet", "static"), ("inet6", "static"), ("inet", "dhcp"))
# Only resolvconf and openresolv read these.
_DNS = ("dns-nameservers", "dns-nameserver", "dns-search", "dns-domain")
# Options of the NIC itself.
_CABLE = ("mtu", "hwaddress")
_HINT = "remove it from the file, or name another nic"


class Ifupdown(NicManager):
    """NICs that ifupdown has brought up by an address of /etc/network/interfaces."""

    name = "ifupdown"
    programs = ("host/manager_ifupdown.sh",)
    dhcp_client = name

    def uses_dhcp(self, nic: str, files: ManagerFiles) -> bool:
        """True if a stanza of the NIC has the method `dhcp`."""
        return any(_is_leased(stanza) for stanza in stanzas(files.texts) if stanza.is_iface(nic))

    def describe(self, nic: str, files: ManagerFiles) -> str:
        """The `iface` stanzas of the NIC, one option a line."""
        lines = []
        for stanza in stanzas(files.texts):
            if stanza.is_iface(nic):
                lines.append(" ".join(("iface", *stanza.arguments)))
                lines += [f"    {option.key} {option.value}" for option in stanza.options]
        return "\n".join((*lines, ""))

    def reasons(self, nic: str, files: ManagerFiles) -> Iterator[Reason]:
        """Yield includes that are not read, then lines of the NIC that a bridge cannot have."""
        known = stanzas(files.texts)
        for file in files.unread:
            if file.path.startswith("/etc/network/"):
                message = f"{file.path}:{file.line}: {file.content} is a secret"
                yield message, "move it to a file of its nic_stanzas below /etc/wpa_supplicant"
        for stanza in known:
            if stanza.keyword.startswith("source") and not is_known_source(stanza):
                message = (
                    f"{stanza.location}: {stanza.keyword} {' '.join(stanza.arguments)} is not read"
                )
                yield message, "include files of /etc/network/interfaces.d only"
        if not any(stanza.is_iface(nic) for stanza in known):
            message = f"no stanza of /etc/network/interfaces has configured {nic}"
            yield message, f"write one, and run ifdown {nic}; ifup {nic}"
        of_nic = [stanza for stanza in known if stanza.is_iface(nic)]
        for stanza in of_nic if any(map(_is_leased, of_nic)) else ():
            if not _is_leased(stanza):
                line = " ".join(("iface", *stanza.arguments))
                message = f"{stanza.location}: {line} stands beside an address from DHCP"
                yield message, "write all addresses as inet static, or none"
        for stanza in known:
            yield from _stanza_reasons(nic, stanza, files.texts[stanza.path])

    def paths(self, mark: Mark) -> tuple[str, ...]:  # noqa: ARG002
        """No file is added."""
        return ()

    def added(self, port: BridgePort, settings: str) -> Files:  # noqa: ARG002
        """No file is added."""
        return ()

    def edited(self, port: BridgePort, settings: str, files: ManagerFiles) -> Files:  # noqa: ARG002
        """The files with stanzas of the NIC; the bridge is where the first of them was."""
        known = stanzas(files.texts)
        first = next((stanza for stanza in known if stanza.is_iface(port.nic)), None)
        if first is None:
            return ()
        replaced = [s for s in known if s.is_iface(port.nic) or s.starts(port.nic)]
        result = []
        for path in sorted({stanza.path for stanza in replaced}):
            blocks = {
                stanza.lines: _replacement(port, stanza, known if stanza is first else ())
                for stanza in replaced
                if stanza.path == path
            }
            result.append((path, marked_block.wrap(files.texts[path], port.mark, blocks)))
        return tuple(result)


def _stanza_reasons(nic: str, stanza: Stanza, text: str) -> Iterator[Reason]:
    line = " ".join((stanza.keyword, *stanza.arguments))
    if stanza.is_iface(nic):
        yield from _iface_reasons(stanza, line)
    elif stanza.keyword.startswith("source"):
        return
    elif stanza.starts(nic):
        pass
    elif any(_names(nic, argument) for argument in stanza.arguments):
        yield f"{stanza.location}: {line} also configures {nic}", _HINT
    else:
        for option in stanza.options:
            if nic in option.value.replace(",", " ").split():
                location = stanza.line(option.number)
                yield f"{location}: {option.key} {option.value} needs {nic} as it is", _HINT
        return
    if marked_block.is_in_block(text, stanza.lines.start):
        message = f"{stanza.location}: {line} is in a block of another inventory"
        yield message, "destroy that inventory first"


def _names(nic: str, argument: str) -> bool:
    """True if an argument is a pattern that matches the NIC, an alias of it or a VLAN on it."""
    # ifup(8): `/eth*`, `eth*` in a mapping, and `/mac/…` that only ifupdown can resolve.
    if argument.startswith("/"):
        return "/mac/" in argument or fnmatchcase(
            nic, argument.strip("/").rpartition("/")[2].split("=")[0]
        )
    return (
        argument.startswith((f"{nic}:", f"{nic}.")) or argument == nic or fnmatchcase(nic, argument)
    )


def _is_leased(stanza: Stanza) -> bool:
    return stanza.arguments[1:] == ("inet", "dhcp")


def _iface_reasons(stanza: Stanza, line: str) -> Iterator[Reason]:
    if stanza.arguments[1:] not in _FAMILIES:
        message = f"{stanza.location}: {line} is neither a static address nor inet dhcp"
        yield message, "give the host a fixed address: iface … inet static"
    movable = (*_DHCP, *_CABLE) if _is_leased(stanza) else (*_MOVED, *_DNS, *_CABLE)
    for option in stanza.options:
        if option.key not in movable:
            location = stanza.line(option.number)
            yield f"{location}: {option.key} {option.value} cannot move to a bridge", _HINT


def _replacement(port: BridgePort, stanza: Stanza, known: Sequence[Stanza]) -> list[str]:
    """The lines in the place of a stanza; `known`: all stanzas, for the NIC's first `iface`."""
    if is_start(stanza.keyword):
        kept = [interface for interface in stanza.arguments if interface != port.nic]
        return [" ".join((stanza.keyword, *kept))] if kept else []
    if not known:
        return []
    nic_stanzas = [iface for iface in known if iface.is_iface(port.nic)]
    lines = [f"auto {port.host_link}", f"iface {port.nic} inet manual"]
    for number, iface in enumerate(nic_stanzas):
        lines.append(" ".join(("iface", port.host_link, *iface.arguments[1:])))
        lines += [
            f"    pre-up {command}" for command in (() if number else _commands(port, nic_stanzas))
        ]
        lines += [
            f"    {option.key} {option.value}"
            for option in iface.options
            if option.key not in _CABLE
        ]
    return lines


def _commands(port: BridgePort, nic_stanzas: Sequence[Stanza]) -> Iterator[str]:
    """The commands that make the bridge, unless it exists, and the NIC its port."""
    bridge, nic, veth = port.bridge, port.nic, port.host_veth
    delay = "" if port.stp else " forward_delay 0"
    yield _unless(bridge, f"add name {bridge} address {port.mac} type bridge")
    settings = f"stp_state {int(port.stp)}{delay}{' vlan_filtering 1' if port.vlans else ''}"
    yield f"ip link set dev {bridge} type bridge {settings}"
    yield f"ip link set dev {bridge} mtu {port.mtu} up"
    cable = " ".join(_cable(nic_stanzas))
    yield f"ip link set dev {nic} {f'{cable} ' if cable else ''}master {bridge} up"
    for vlan in port.vlans:
        yield f"bridge vlan add dev {nic} vid {vlan}"
    if veth:
        ends = f"type veth peer name {veth.peer} mtu {port.mtu}"
        yield _unless(veth.name, f"add name {veth.name} address {veth.mac} mtu {port.mtu} {ends}")
        yield f"ip link set dev {veth.peer} master {bridge} up"


def _unless(link: str, arguments: str) -> str:
    return f"[ -e /sys/class/net/{link} ] || ip link {arguments}"


def _cable(nic_stanzas: Sequence[Stanza]) -> Iterator[str]:
    for option in (option for stanza in nic_stanzas for option in stanza.options):
        if option.key == "mtu":
            yield f"mtu {option.value}"
        elif option.key == "hwaddress":
            # `ether` may stand before the address.
            yield f"address {option.value.split()[-1]}"
