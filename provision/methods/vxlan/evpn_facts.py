"""Facts of a host that EVPN needs: the VXLAN devices that FRR finds there. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from provision.facts.host import HostFacts
from provision.facts.lines import KeyedLines
from provision.facts.probe import FactsProbe
from provision.methods._shared.bgp_sessions import partners
from provision.methods.vxlan.device import device_name
from provision.methods.vxlan.options import options, vni
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem

_SCRIPT = r"""
ip -o -d link show type vxlan |
  sed -n 's/^[0-9]*: \([^:@]*\)[:@].* vxlan id \([0-9]*\) .*/vxlan \1 \2/p'
"""


@dataclass(frozen=True, slots=True)
class VxlanDevices:
    """The names and VNIs of a host's VXLAN devices."""

    vnis: tuple[tuple[str, int], ...] = ()


def probe() -> FactsProbe:
    """The probe of a host."""
    return FactsProbe("vxlan_devices", _SCRIPT, _parse)


def _parse(text: str) -> VxlanDevices:
    pairs = KeyedLines(text).pairs("vxlan")
    return VxlanDevices(tuple((device, int(number)) for device, number in pairs))


def problems(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield the devices that FRR would take for that of the network, and peers without BFD."""
    own_device, number = device_name(inventory, network), vni(inventory, network)
    for device, device_vni in facts.of(VxlanDevices).vnis:
        if device_vni == number and device != own_device:
            message = (
                f"its VXLAN device {device} has the vni {number} of network {network.name}, too, "
                "and FRR tells devices apart by their vni alone"
            )
            yield Problem(facts.host, message, "write another vni in the network")
    for peer in partners(network, facts.host) if options(network).bfd else ():
        route = facts.peer_routes.get(inventory.hosts[peer].address)
        if route is not None and route.via is not None:
            message = f"its route to {peer} leads through the router {route.via}, and BFD does not"
            yield Problem(facts.host, message, f"remove bfd from network {network.name}")
