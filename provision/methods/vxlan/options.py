"""The keys of a `vxlan` network. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from provision.methods._shared.bgp_options import SpeakerOptions
from provision.model.fields.overlays import VXLAN_PORT, UdpPort, Vni
from provision.model.help import Help
from provision.model.inventory import Inventory, Network
from provision.model.names import default_vni


@dataclass(frozen=True, slots=True, kw_only=True)
class VxlanOptions(SpeakerOptions):
    """The keys of a `vxlan` network, besides those of every network."""

    mode: Annotated[
        Literal["bridged", "routed"],
        Help("bridged: one layer 2 over all hosts; routed: a subnet for each host"),
    ] = "bridged"
    vni: Annotated[Vni | None, Help("VXLAN network identifier; default: made of the names")] = None
    port: Annotated[UdpPort, Help("UDP port of the tunnels")] = VXLAN_PORT
    control: Annotated[
        Literal["static", "evpn"],
        Help("static: the inventory has all peers; evpn: the hosts learn them by BGP (FRR)"),
    ] = "static"


def options(network: Network) -> VxlanOptions:
    """The options of a network of this method."""
    assert isinstance(network.options, VxlanOptions)
    return network.options


def by_evpn(network: Network) -> bool:
    """True if BGP EVPN fills the table of the device."""
    return options(network).control == "evpn"


def vni(inventory: Inventory, network: Network) -> int:
    """The network identifier."""
    return options(network).vni or default_vni(inventory.name, network.name)
