"""Files of systemd-networkd for a NIC that becomes a port of a bridge. Pure.

The NIC's own file is split: settings of the cable stay with the NIC, settings of the host's place
in the network (addresses, routes, DNS) move to the bridge or to the host's veth. The host boots
with these files, without the controller. Options: systemd.network(5), systemd.netdev(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.resources.lib.nic_records import DhcpLease, HostVeth
from provision.resources.on_hosts import MARK

FOLDER = "/etc/systemd/network"
# Keys of [Network] that describe what the cable carries.
_CABLE = ("LLDP", "EmitLLDP", "VLAN", "MACVLAN", "IPVLAN")
# Without these a bridge loses its address with its carrier:
# https://github.com/systemd/systemd/issues/11650
_STEADY = "ConfigureWithoutCarrier=yes\nIgnoreCarrierLoss=yes\n"
# Open vSwitch writes all flags of its bridge's device from a copy that it read before (the field
# ifi_flags in lib/netdev-linux.c). At boot it may so take back the "up" that networkd had just set.
_ALWAYS_UP = "[Link]\nActivationPolicy=always-up\n\n"
# A port of a bridge must not get an address of its own.
_SILENT = "LinkLocalAddressing=no\nIPv6AcceptRA=no\n"

Section = tuple[str, tuple[str, ...]]
"""Name and lines."""
Files = tuple[tuple[str, str], ...]
"""Paths and texts."""


def sections(text: str) -> tuple[Section, ...]:
    """The sections of a file in order, without comments and lines before the first section."""
    result: list[tuple[str, list[str]]] = []
    for line in text.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            result.append((stripped[1:-1], []))
        elif stripped and stripped[0] not in "#;" and result:
            result[-1][1].append(stripped)
    return tuple((name, tuple(lines)) for name, lines in result)


def paths(inventory: str, bridge: str) -> tuple[str, ...]:
    """Every file that provision may write for a bridge.

    In this order: the bridge's device and network, the NIC, the host's veth: device and network,
    and the port of the bridge that is the veth's other end.
    """
    stem = f"{FOLDER}/05-provision-{inventory}-{bridge}"
    ends = (".netdev", ".network", "-nic.network", "-seat.netdev", "-seat.network", "-port.network")
    return tuple(stem + end for end in ends)


def files(
    inventory: str,
    bridge: str,
    *,
    nic: str,
    mac: str,
    mtu: int,
    stp: bool,
    vlans: tuple[int, ...],
    host_veth: HostVeth | None,
    network: str,
    ovs: bool = False,
    lease: DhcpLease | None = None,
) -> Files:
    """The files for one bridge, sorted by path.

    `network` is the text of the NIC's own file. Without `host_veth` the bridge itself holds the
    host's addresses. `ovs`: Open vSwitch makes the bridge, and its database has the port.
    """
    netdev, bridge_network, nic_network, veth_netdev, veth_network, port_network = paths(
        inventory, bridge
    )
    host = _host(network, lease)
    if ovs:
        port = _port(nic, "", network, ())
        bridge_text = f"{_match(bridge)}{_ALWAYS_UP}{host}"
        return _marked(inventory, {nic_network: port, bridge_network: bridge_text})
    texts = {
        netdev: _bridge_device(bridge, mac, mtu, stp=stp, filtering=bool(vlans)),
        nic_network: _port(nic, bridge, network, vlans),
    }
    if host_veth is None:
        return _marked(inventory, texts | {bridge_network: f"{_match(bridge)}{host}"})
    texts |= {
        bridge_network: f"{_match(bridge)}[Network]\n{_SILENT}{_STEADY}",
        veth_netdev: _veth_device(host_veth, mtu),
        veth_network: f"{_match(host_veth.name)}{host}",
        port_network: f"{_match(host_veth.peer)}[Network]\nBridge={bridge}\n{_SILENT}",
    }
    return _marked(inventory, texts)


def _marked(inventory: str, texts: dict[str, str]) -> Files:
    return tuple(sorted((path, f"# {MARK}{inventory}\n{text}") for path, text in texts.items()))


def _match(name: str) -> str:
    return f"[Match]\nName={name}\n\n"


def _bridge_device(name: str, mac: str, mtu: int, *, stp: bool, filtering: bool) -> str:
    # The forward delay is for STP to find loops; without STP it would only drop packets.
    delay = "" if stp else "ForwardDelaySec=0\n"
    vlan_filtering = "VLANFiltering=yes\n" if filtering else ""
    return (
        f"[NetDev]\nName={name}\nKind=bridge\nMACAddress={mac}\nMTUBytes={mtu}\n\n"
        f"[Bridge]\nSTP={'yes' if stp else 'no'}\n{delay}{vlan_filtering}"
    )


def _veth_device(veth: HostVeth, mtu: int) -> str:
    return (
        f"[NetDev]\nName={veth.name}\nKind=veth\nMACAddress={veth.mac}\nMTUBytes={mtu}\n\n"
        f"[Peer]\nName={veth.peer}\n"
    )


def _port(nic: str, bridge: str, network: str, vlans: tuple[int, ...]) -> str:
    """The NIC: its [Link] section unchanged, and a port of the bridge without addresses."""
    link = [(name, lines) for name, lines in sections(network) if name == "Link"]
    cable = [line for line in _network(network) if _key(line) in _CABLE]
    master = (f"Bridge={bridge}",) if bridge else ()
    parts: list[Section] = [
        ("Match", (f"Name={nic}",)),
        *link,
        ("Network", (*master, *_SILENT.splitlines(), *cable)),
    ]
    if vlans:
        parts.append(("BridgeVLAN", ("VLAN=1", "PVID=1", "EgressUntagged=1")))
        parts += [("BridgeVLAN", (f"VLAN={vlan}",)) for vlan in vlans]
    return _text(parts)


def _host(network: str, lease: DhcpLease | None) -> str:
    """The settings of the host's place in the network, for the interface that holds it."""
    moved = [line for line in _network(network) if _key(line) not in _CABLE]
    parts: list[Section] = [("Network", (*moved, *_STEADY.splitlines()))]
    parts += [part for part in sections(network) if part[0] not in ("Match", "Link", "Network")]
    return _text([*parts, *(lease_sections(lease, network) if lease else ())])


def kept_addresses(network: str) -> str:
    """The settings of a NIC and of its place in the network; they keep it its addresses.

    look/nics.sh reads the NIC's own settings, which end at the comment.
    """
    parts = [part for part in sections(network) if part[0] != "Match"]
    keeping = _text(list(lease_sections(DhcpLease(()), network)))
    return f"{_text(parts)}\n# {MARK} until the DHCP server answers\n{keeping}"


def lease_file(lease: DhcpLease, network: str) -> str:
    """A drop-in by which a bridge gets the lease of a NIC with the settings `network`."""
    return _text(list(lease_sections(lease, network)))


def lease_sections(lease: DhcpLease, network: str = "") -> Iterator[Section]:
    """Sections by which a bridge gets the lease of its NIC; `network` is the NIC's own file.

    Until the server has answered, networkd would remove the addresses that the bridge was given.
    """
    kept = [_value(line) for line in _network(network) if _key(line) == "KeepConfiguration"]
    keeps_leases = bool(kept) and kept[-1] not in ("no", "false", "off", "0", "static")
    yield "Network", (f"KeepConfiguration={'yes' if keeps_leases else 'static'}",)
    keys = {_key(line) for name, lines in sections(network) for line in lines if name == "DHCPv4"}
    if lease.iaid and "IAID" not in keys:
        yield "DHCPv4", (f"IAID={lease.iaid}",)


def _network(text: str) -> Iterator[str]:
    """The lines of all [Network] sections."""
    for name, lines in sections(text):
        if name == "Network":
            yield from lines


def _key(line: str) -> str:
    return line.partition("=")[0].strip()


def _value(line: str) -> str:
    return line.partition("=")[2].strip()


def _text(parts: list[Section]) -> str:
    return "\n".join("\n".join((f"[{name}]", *lines, "")) for name, lines in parts)
