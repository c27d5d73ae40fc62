"""Method `ovs-vxlan`: like `ovs-gre`, with VXLAN tunnels between the bridges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from provision.methods import ClashKey
from provision.methods._shared.clashes import vxlan_id, vxlan_port
from provision.methods._shared.ovs_mesh import OvsMesh, OvsOptions, TunnelSettings
from provision.model.fields.overlays import VXLAN_OVERHEAD, VXLAN_PORT, UdpPort, Vni
from provision.model.help import Help
from provision.model.inventory import Inventory, Network
from provision.model.names import default_vni
from provision.model.tunnel import Tunnel

if TYPE_CHECKING:
    from provision.model.documents import Decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsVxlanOptions(OvsOptions):
    """The keys of an `ovs-vxlan` network, besides those of every network."""

    vni: Annotated[Vni | None, Help("VXLAN network identifier; default: made of the names")] = None
    port: Annotated[UdpPort, Help("UDP port of the tunnels")] = VXLAN_PORT


class OvsVxlanMethod(OvsMesh):
    """Bridges of Open vSwitch with VXLAN tunnels between them."""

    name = "ovs-vxlan"
    Options = OvsVxlanOptions

    def tunnel_settings(self, inventory: Inventory, network: Network) -> TunnelSettings:
        """Type and options of the tunnels of a network."""
        options = _options(network)
        vni = options.vni or default_vni(inventory.name, network.name)
        return TunnelSettings("vxlan", (("dst_port", str(options.port)), ("key", str(vni))))

    def clash_keys(self, name: str, decoded: Decoded) -> Iterator[ClashKey]:
        """Yield what no other network of the same hosts may use."""
        yield from super().clash_keys(name, decoded)
        options = decoded.options[name]
        assert isinstance(options, OvsVxlanOptions)
        yield vxlan_port(options.port, "Open vSwitch")
        yield vxlan_id(decoded.name, name, options.port, options.vni)

    def overhead(self, network: Network) -> int:
        """Bytes by which a packet grows on its way to another host."""
        return VXLAN_OVERHEAD

    def tunnel(self, network: Network) -> Tunnel:
        """VXLAN, for every packet between hosts."""
        options = _options(network)
        return Tunnel("vxlan", options.port, direct=not options.rstp)


def _options(network: Network) -> OvsVxlanOptions:
    assert isinstance(network.options, OvsVxlanOptions)
    return network.options
