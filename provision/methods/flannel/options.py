"""What YAML may say of a `flannel` network, and what follows from it alone. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from provision.methods._shared.docker_bridge import BridgeOptions
from provision.model.documents import Document
from provision.model.fields.scalars import File, Port, between
from provision.model.findings import BadValueError
from provision.model.help import Help
from provision.model.inventory import Inventory, Network
from provision.model.text import quoted

MOST_MEMBERS = 3
OVERHEAD = {"vxlan": 50, "udp": 28, "host-gw": 0}
"""Bytes that a packet grows by on its way to another host."""
PORTS = {"vxlan": 8472, "udp": 8285}


def _prefix(text: str) -> str:
    parts = text.split("/")
    if parts[0] or len(parts) < 2 or not all(parts[1:]) or not text.isascii():
        raise BadValueError(
            f"prefix {quoted(text)} is no path of etcd", "write /coreos.com/network"
        )
    if any(not (char.isalnum() or char in "/._-") for char in text) or text == OWN:
        raise BadValueError(
            f"prefix {quoted(text)} holds what is not for names", "use letters, digits, . _ -"
        )
    return text


OWN = "/provision"
"""Keys of etcd that say what is ours lie below it."""

Vni = Annotated[int, AfterValidator(between(1, 2**24 - 1, "vni"))]


class Etcd(Document):
    """`etcd`: where the map of the network is kept."""

    members: Annotated[
        list[str] | None, Help("hosts that run etcd, an odd number; default: the first three")
    ] = None
    prefix: Annotated[str, AfterValidator(_prefix), Help("path of flannel's keys in etcd")] = (
        "/coreos.com/network"
    )
    client_port: Annotated[Port, Help("TCP port of etcd for its clients")] = 2379
    peer_port: Annotated[Port, Help("TCP port of etcd for its other members")] = 2380


@dataclass(frozen=True, slots=True, kw_only=True)
class FlannelOptions(BridgeOptions):
    """The keys of a `flannel` network, besides those of every network."""

    backend: Annotated[
        Literal["vxlan", "udp", "host-gw"], Help("encapsulation of packets between hosts")
    ] = "vxlan"
    vni: Annotated[Vni | None, Help("VXLAN network identifier of backend vxlan; default: 1")] = None
    port: Annotated[Port | None, Help("UDP port of the backend; default: 8472 or 8285")] = None
    direct_routing: Annotated[
        bool, Help("hosts on a shared link send packets without encapsulation (backend vxlan)")
    ] = False
    subnet_min: Annotated[IPv4Address | None, Help("first subnet that a host may get")] = None
    subnet_max: Annotated[IPv4Address | None, Help("last subnet that a host may get")] = None
    ip_masq: Annotated[bool, Help("flannel itself masquerades packets that leave the network")] = (
        False
    )
    etcd: Annotated[Etcd, Help("the etcd cluster that stores the subnet leases")] = field(
        default_factory=Etcd
    )
    flanneld: Annotated[
        File | None,
        Help("file of the program; default: the one on the host, or one built by the controller"),
    ] = None


def options(network: Network) -> FlannelOptions:
    """The options of a network of this method."""
    assert isinstance(network.options, FlannelOptions)
    return network.options


def members(network: Network) -> tuple[str, ...]:
    """Hosts that hold etcd: the named ones, else the first three, or the first alone."""
    named = options(network).etcd.members
    return tuple(named) if named else default_members(network.hosts)


def default_members(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """An odd number, of which a minority may be lost."""
    return hosts[:MOST_MEMBERS] if len(hosts) >= MOST_MEMBERS else hosts[:1]


def vni(said: FlannelOptions) -> int:
    """The number of the vxlan; flannel's own default is 1."""
    return said.vni or 1


def port(said: FlannelOptions) -> int | None:
    """The UDP port that packets between hosts travel to; None: they are not wrapped."""
    return said.port or PORTS[said.backend] if said.backend in PORTS else None


def device(network: Network) -> str | None:
    """The interface that leads to the other hosts; None: those that lead there anyway."""
    said = options(network)
    return {"vxlan": f"flannel.{vni(said)}", "udp": "flannel0"}.get(said.backend)


def config(network: Network, mtu: int) -> str:
    """What flannel reads at PREFIX/config, always in the same words. `mtu`: the containers'."""
    said, size = options(network), next(iter(network.subnets.values())).prefixlen
    first, last = (
        network.cidr.network_address,
        network.cidr.broadcast_address + 1 - 2 ** (32 - size),
    )
    whole: dict[str, Any] = {
        "Network": str(network.cidr),
        "SubnetLen": size,
        # Without it flannel leaves out the first subnet, which is the first host's.
        "SubnetMin": str(said.subnet_min or first),
        "SubnetMax": str(said.subnet_max or last),
        "Backend": {"Type": said.backend} | _backend(said, mtu),
    }
    return json.dumps(whole)


def _backend(said: FlannelOptions, mtu: int) -> dict[str, Any]:
    match said.backend:
        case "vxlan":
            # flannel takes MTU for the link's below, and subtracts its own 50.
            below = {"MTU": mtu + OVERHEAD["vxlan"], "DirectRouting": said.direct_routing}
            return {"VNI": vni(said), "Port": port(said), **below}
        case "udp":
            return {"Port": port(said)}
        case _:
            return {}


def cluster(inventory: Inventory, network: Network) -> str:
    """A word that changes when etcd's members do: another one is another etcd."""
    said = options(network).etcd
    places = [f"{host}={inventory.hosts[host].address}" for host in members(network)]
    words = (
        f"{inventory.name}/{network.name} {' '.join(places)} {said.client_port} {said.peer_port}"
    )
    return sha256(words.encode()).hexdigest()[:8]
