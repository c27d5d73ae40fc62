"""Method `ovs-gre`: one layer 2 over all hosts, by bridges of Open vSwitch and GRE between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from provision.facts.host import HostFacts
from provision.methods._shared import ovs_mesh
from provision.methods._shared.ovs_mesh import Fabric, attachment, tools
from provision.model.errors import UnfitError
from provision.model.fields.overlays import GRE_OVERHEAD, KEY_OVERHEAD, Key
from provision.model.inventory import Inventory, Network
from provision.model.tunnel import Tunnel
from provision.resources.base import Resource

__all__ = ["Options", "attachment", "desired", "findings", "flat", "mtu", "tools", "tunnel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What YAML may say of an `ovs-gre` network, beside the keys of every network.

    key: GRE's key; without one 4 bytes more are left to containers. rstp: a tree by RSTP instead of
    protected ports. datapath: the kernel's (`system`), the daemon's own (`netdev`), or what there
    is.
    """

    method: ClassVar[str] = "ovs-gre"
    key: Key | None = None
    rstp: bool = False
    datapath: Literal["auto", "system", "netdev"] = "auto"
    bridge: Literal["docker0"] | None = None


Facts = Mapping[str, HostFacts]


def _fabric(network: Network) -> Fabric:
    options = network.options
    assert isinstance(options, Options)
    key = () if options.key is None else (("key", str(options.key)),)
    overhead = GRE_OVERHEAD + (KEY_OVERHEAD if key else 0)
    return Fabric("gre", overhead, key, options.rstp, options.datapath)


def desired(inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
    """The resources of one network on every host in `facts`."""
    return ovs_mesh.desired(inventory, network, facts, _fabric(network))


def mtu(inventory: Inventory, network: Network, facts: Facts) -> int:
    """Bytes of the largest packet that every host in `facts` can send to the others, wrapped."""
    return ovs_mesh.mtu(inventory, network, facts, _fabric(network))


def findings(inventory: Inventory, network: Network, facts: Facts) -> Iterator[UnfitError]:
    """Why hosts that were seen cannot serve this network."""
    return ovs_mesh.findings(inventory, network, facts, _fabric(network))


def tunnel(network: Network) -> Tunnel:
    """Every packet between hosts is inside GRE."""
    return Tunnel("gre", direct=not _fabric(network).rstp)


def flat(_network: Network) -> bool:
    """All containers are on one layer 2."""
    return True
