"""Method `ovs-vxlan`: as `ovs-gre`, with VXLAN between the bridges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from provision.facts.host import HostFacts
from provision.methods._shared import ovs_mesh
from provision.methods._shared.ovs_mesh import Fabric, attachment, tools
from provision.model.errors import UnfitError
from provision.model.fields.overlays import VXLAN_OVERHEAD, VXLAN_PORT, UdpPort, Vni
from provision.model.inventory import Inventory, Network
from provision.model.names import network_id
from provision.model.tunnel import Tunnel
from provision.resources.base import Resource

__all__ = ["Options", "attachment", "desired", "findings", "flat", "mtu", "tools", "tunnel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What YAML may say of an `ovs-vxlan` network, beside the keys of every network.

    vni: None derives one from the names. rstp: a tree by RSTP instead of protected ports.
    datapath: the kernel's (`system`), the daemon's own (`netdev`), or what there is.
    """

    method: ClassVar[str] = "ovs-vxlan"
    vni: Vni | None = None
    port: UdpPort = VXLAN_PORT
    rstp: bool = False
    datapath: Literal["auto", "system", "netdev"] = "auto"
    bridge: Literal["docker0"] | None = None


Facts = Mapping[str, HostFacts]


def _options(network: Network) -> Options:
    options = network.options
    assert isinstance(options, Options)
    return options


def _fabric(inventory: Inventory, network: Network) -> Fabric:
    options = _options(network)
    vni = options.vni or network_id(inventory.name, network.name)
    words = (("dst_port", str(options.port)), ("key", str(vni)))
    return Fabric("vxlan", VXLAN_OVERHEAD, words, options.rstp, options.datapath)


def desired(inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
    """The resources of one network on every host in `facts`."""
    return ovs_mesh.desired(inventory, network, facts, _fabric(inventory, network))


def mtu(inventory: Inventory, network: Network, facts: Facts) -> int:
    """Bytes of the largest packet that every host in `facts` can send to the others, wrapped."""
    return ovs_mesh.mtu(inventory, network, facts, _fabric(inventory, network))


def findings(inventory: Inventory, network: Network, facts: Facts) -> Iterator[UnfitError]:
    """Why hosts that were seen cannot serve this network."""
    return ovs_mesh.findings(inventory, network, facts, _fabric(inventory, network))


def tunnel(network: Network) -> Tunnel:
    """Every packet between hosts is inside VXLAN."""
    options = _options(network)
    return Tunnel("vxlan", options.port, direct=not options.rstp)


def flat(_network: Network) -> bool:
    """All containers are on one layer 2."""
    return True
