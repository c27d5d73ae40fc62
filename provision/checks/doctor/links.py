"""Findings about interfaces: NICs, MTUs, MACs, and the programs that manage links. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from provision import methods
from provision.checks.doctor.findings import HostFinding, Weight
from provision.checks.doctor.probe import DoctorFacts
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts
from provision.model.grouping import grouped
from provision.model.inventory import Inventory
from provision.model.text import listed
from provision.resources.kinds.docker_network import DockerNetwork

_OURS = "05-provision"
"""The beginning of the names of networkd's files that provision writes."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """The interface by which a host reaches its peers without a router; `mtu` is its own.

    `link` are the addresses of the host and of these peers: the hosts of one link have the same.
    """

    host: str
    dev: str
    mac: str
    mtu: int
    link: frozenset[IPv4Address] = frozenset()


def uplink(facts: HostFacts, address: IPv4Address) -> Uplink | None:
    """The interface of most direct routes to peers; None if a router leads to all of them.

    `address` is that of the host.
    """
    devices = Counter(route.dev for route in facts.peer_routes.values() if route.via is None)
    for dev, _ in devices.most_common(1):
        carrier = facts.carrier(dev)
        mtus = [facts.links[name].mtu for name in (dev, carrier) if name in facts.links]
        nic = facts.nics.get(carrier)
        groups = facts.peer_routes.groups.items()
        peers = (peers for route, peers in groups if route.via is None and route.dev == dev)
        link = frozenset((address,)).union(*peers)
        return Uplink(facts.host, carrier, nic.mac if nic else "", min(mtus, default=0), link)
    return None


def findings(inventory: Inventory, snapshots: Mapping[str, HostSnapshot]) -> Iterator[HostFinding]:
    """Yield what is wrong with the links of the hosts."""
    facts = {host: snapshot.facts for host, snapshot in snapshots.items()}
    addresses = {name: host.address for name, host in inventory.hosts.items()}
    uplinks = [each for f in facts.values() if (each := uplink(f, addresses[f.host])) is not None]
    for host, snapshot in snapshots.items():
        yield from down(inventory, snapshot.facts)
        yield from _managers(host, snapshot)
        yield from _strict(host, snapshot.facts)
    for on_link in _by_link(uplinks):
        yield from _mtus(inventory, snapshots, on_link)
        yield from _macs(on_link)


def _by_link(uplinks: list[Uplink]) -> Iterator[list[Uplink]]:
    """Yield the uplinks of each link: those of which one host reaches another directly."""
    groups: list[tuple[frozenset[IPv4Address], list[Uplink]]] = []
    for addresses, members in grouped(uplinks, lambda each: each.link).items():
        apart = [group for group in groups if group[0].isdisjoint(addresses)]
        joined = [group for group in groups if not group[0].isdisjoint(addresses)]
        whole = addresses.union(*(group[0] for group in joined))
        groups = [*apart, (whole, [*(u for group in joined for u in group[1]), *members])]
    for _, members in groups:
        yield members


def down(inventory: Inventory, facts: HostFacts) -> Iterator[HostFinding]:
    """Yield the NIC that should carry the host's address, and does not."""
    address = inventory.hosts[facts.host].address
    link = facts.link_with(address)
    candidates = [link] if link else [each for each in facts.links.values() if _is_nic(facts, each)]
    for each in candidates:
        if not each.up:
            yield HostFinding(
                facts.host,
                "link_down",
                Weight.ERROR,
                f"{each.name} is down, so that no peer reaches {address}",
                "packets of containers to and from this host are lost",
                f"ip link set dev {each.name} up",
            )
    doctor = facts.of(DoctorFacts)
    if link is not None and link.up and link.name in doctor.no_carrier and _is_nic(facts, link):
        yield HostFinding(
            facts.host,
            "no_carrier",
            Weight.ERROR,
            f"{link.name}, which has {address}, has no carrier",
            "its cable, or the port of its switch, is not connected",
            f"ip -s link show dev {link.name}",
        )


def _is_nic(facts: HostFacts, link: object) -> bool:
    """True for an interface that may be the NIC: neither a bridge nor a virtual one of Docker."""
    nic = facts.nics.get(getattr(link, "name", ""))
    virtual = ("veth", "docker", "br-", "vxlan", "flannel", "ovs", "tun", "wg")
    return nic is not None and nic.ether and not nic.bridge and not nic.name.startswith(virtual)


def _mtus(
    inventory: Inventory, snapshots: Mapping[str, HostSnapshot], uplinks: list[Uplink]
) -> Iterator[HostFinding]:
    largest = max(uplinks, key=lambda link: link.mtu, default=None)
    for link in uplinks:
        if largest is None or link.mtu >= largest.mtu:
            continue
        too_large = _oversized(inventory, snapshots)
        effect = (
            f"packets of network {too_large} are larger, and no router says so: they are lost"
            if too_large
            else "provision sizes all packets for the smaller one; larger ones of others are lost"
        )
        yield HostFinding(
            link.host,
            "mtu_differs",
            Weight.ERROR if too_large else Weight.WARNING,
            f"{link.dev} has MTU {link.mtu}, {largest.dev} of {largest.host} on the same link "
            f"{largest.mtu}",
            effect,
            f"ip link set dev {link.dev} mtu {largest.mtu}",
        )


def _oversized(inventory: Inventory, snapshots: Mapping[str, HostSnapshot]) -> str:
    """The first network whose containers send larger packets than its hosts can carry."""
    facts = {host: snapshot.facts for host, snapshot in snapshots.items()}
    for network in inventory.networks.values():
        wanted = methods.of(network).mtu(inventory, network, facts)
        for host in network.hosts:
            ref = methods.of(network).docker_network(network, host)
            resource = snapshots[host].ours.get(ref) if host in snapshots else None
            if isinstance(resource, DockerNetwork) and resource.mtu > wanted:
                return network.name
    return ""


def _macs(uplinks: list[Uplink]) -> Iterator[HostFinding]:
    for link in uplinks:
        twins = tuple(each.host for each in uplinks if each.mac == link.mac and each != link)
        if link.mac and twins:
            yield HostFinding(
                link.host,
                "duplicate_mac",
                Weight.ERROR,
                f"{link.dev} has the MAC {link.mac}, which {listed(twins)} has, too",
                "switches send the packets of both hosts now to one, now to the other",
                f"ip link set dev {link.dev} address NEW-MAC, and set it in the NIC's manager",
            )


def _own_links(snapshot: HostSnapshot) -> set[str]:
    """Interfaces that provision or Docker have made for this inventory."""
    names = {name for resource in snapshot.ours.values() for name in resource.names()}
    return {name for name in names if not name.startswith("/")}


def _managers(host: str, snapshot: HostSnapshot) -> Iterator[HostFinding]:
    facts, own_links = snapshot.facts, _own_links(snapshot)
    doctor = facts.of(DoctorFacts)
    by_file: dict[str, list[str]] = {}
    for link, file in facts.networkd_files.items():
        if _is_virtual(link, own_links) and not file.rpartition("/")[2].startswith(_OURS):
            by_file.setdefault(file, []).append(link)
    for file, links in by_file.items():
        yield _touched(
            host, f"systemd-networkd ({file})", links, "write Unmanaged=yes for them to "
            "/etc/systemd/network/01-unmanaged.network, then networkctl reload",
        )  # fmt: skip
    managed = [nic.name for nic in facts.nics.values() if "NetworkManager" in nic.managers]
    if links := [name for name in managed if _is_virtual(name, own_links)]:
        fix = "nmcli device set NAME managed no, and unmanaged-devices in its configuration"
        yield _touched(host, "NetworkManager", links, fix)
    denied = " ".join(doctor.dhcpcd_conf)
    if doctor.dhcpcd and "allowinterfaces" not in denied and "veth" not in denied:
        links = sorted(name for name in facts.links if _is_virtual(name, own_links)) or ["veth*"]
        fix = "write denyinterfaces veth* docker* br-* to /etc/dhcpcd.conf, restart dhcpcd"
        yield _touched(host, "dhcpcd", links, fix)


def _is_virtual(link: str, own_links: set[str]) -> bool:
    return link in own_links or link.startswith(("veth", "docker", "br-"))


def _touched(host: str, manager: str, links: list[str], fix: str) -> HostFinding:
    return HostFinding(
        host,
        "link_managed",
        Weight.WARNING,
        f"{manager} manages {listed(tuple(links), 4)}",
        "when it restarts or reloads, these links lose their addresses, or get others",
        fix,
    )


def _strict(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    strict = facts.of(DoctorFacts).strict
    devices = {route.dev for route in facts.peer_routes.values()}
    hit = tuple(sorted(dev for dev in devices if dev in strict or "all" in strict))
    if hit:
        key = f"net.ipv4.conf.{'all' if 'all' in strict else hit[0]}.rp_filter"
        lines = [line for line in facts.of(DoctorFacts).sysctls if line.key == key]
        origin = f" ({lines[-1].position})" if lines else ""
        yield HostFinding(
            host,
            "rp_filter",
            Weight.WARNING,
            f"{key} is 1, strict{origin}",
            f"{listed(hit)} drops a packet whose answer would leave by another interface",
            f"sysctl -w {key}=2",
        )
