"""systemd-networkd's files for a NIC that is a bridge's port: what it said of the NIC, moved. Pure.

A host comes up by them without the controller. Options: systemd.network(5), systemd.netdev(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.resources.lib.nic_records import HostVeth

FOLDER = "/etc/systemd/network"
# Of [Network]: what is the cable's, and stays with the NIC.
_CABLE = ("LLDP", "EmitLLDP", "VLAN", "MACVLAN", "IPVLAN")
# Without these a bridge loses its address with its carrier (systemd issue 11650).
_STEADY = "ConfigureWithoutCarrier=yes\nIgnoreCarrierLoss=yes\n"
_SILENT = "LinkLocalAddressing=no\nIPv6AcceptRA=no\n"

Section = tuple[str, tuple[str, ...]]
Files = tuple[tuple[str, str], ...]


def sections(text: str) -> tuple[Section, ...]:
    """The sections of a file in order; comments and what stands before the first are left out."""
    found: list[tuple[str, list[str]]] = []
    for line in text.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            found.append((stripped[1:-1], []))
        elif stripped and stripped[0] not in "#;" and found:
            found[-1][1].append(stripped)
    return tuple((name, tuple(lines)) for name, lines in found)


def paths(inventory: str, bridge: str) -> tuple[str, ...]:
    """Every file that may be ours for one bridge."""
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
    switch: bool = False,
) -> Files:
    """Paths and texts; without `host_veth` the bridge itself holds the host's addresses."""
    device, above, below, pair, top, port = paths(inventory, bridge)
    if switch:  # Open vSwitch makes the bridge, and its database knows the port
        top_file = (above, f"[Match]\nName={bridge}\n\n{_host(network)}")
        return _headed(inventory, [(below, _port(nic, "", network, ())), top_file])
    filtering = "VLANFiltering=yes\n" if vlans else ""
    delay = "" if stp else "ForwardDelaySec=0\n"
    made = [
        (
            device,
            f"[NetDev]\nName={bridge}\nKind=bridge\nMACAddress={mac}\nMTUBytes={mtu}\n\n"
            f"[Bridge]\nSTP={'yes' if stp else 'no'}\n{delay}{filtering}",
        ),
        (below, _port(nic, bridge, network, vlans)),
    ]
    host = _host(network)
    if host_veth is None:
        made.append((above, f"[Match]\nName={bridge}\n\n{host}"))
        return _headed(inventory, made)
    made += [
        (above, f"[Match]\nName={bridge}\n\n[Network]\n{_SILENT}{_STEADY}"),
        (
            pair,
            f"[NetDev]\nName={host_veth.name}\nKind=veth\nMACAddress={host_veth.mac}\nMTUBytes={mtu}\n\n"
            f"[Peer]\nName={host_veth.peer}\n",
        ),
        (top, f"[Match]\nName={host_veth.name}\n\n{host}"),
        (port, f"[Match]\nName={host_veth.peer}\n\n[Network]\nBridge={bridge}\n{_SILENT}"),
    ]
    return _headed(inventory, made)


def _headed(inventory: str, made: list[tuple[str, str]]) -> Files:
    return tuple(sorted((path, f"# provision:{inventory}\n{text}") for path, text in made))


def _port(nic: str, bridge: str, network: str, vlans: tuple[int, ...]) -> str:
    """The NIC: its [Link] as it was, a port of the bridge and nothing else."""
    kept = [(name, lines) for name, lines in sections(network) if name == "Link"]
    cable = [line for line in _network(network) if _key(line) in _CABLE]
    own = (*((f"Bridge={bridge}",) if bridge else ()), *_SILENT.splitlines(), *cable)
    parts: list[Section] = [("Match", (f"Name={nic}",)), *kept, ("Network", own)]
    if vlans:
        parts.append(("BridgeVLAN", ("VLAN=1", "PVID=1", "EgressUntagged=1")))
        parts += [("BridgeVLAN", (f"VLAN={vlan}",)) for vlan in vlans]
    return _text(parts)


def _host(network: str) -> str:
    """What makes the host's place on the network: all but the cable."""
    moved = [line for line in _network(network) if _key(line) not in _CABLE]
    parts: list[Section] = [("Network", (*moved, *_STEADY.splitlines()))]
    parts += [one for one in sections(network) if one[0] not in ("Match", "Link", "Network")]
    return _text(parts)


def _network(text: str) -> Iterator[str]:
    for name, lines in sections(text):
        if name == "Network":
            yield from lines


def _key(line: str) -> str:
    return line.partition("=")[0].strip()


def _text(parts: list[Section]) -> str:
    return "\n".join("\n".join((f"[{name}]", *lines, "")) for name, lines in parts)
