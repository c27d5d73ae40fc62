"""Facts of a host that EVPN needs: the VXLAN devices that FRR finds there. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from provision.facts.host import HostFacts
from provision.facts.lines import KeyedLines
from provision.facts.probe import FactsProbe
from provision.methods.vxlan.options import vni
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.resources.on_hosts import Mark

_SCRIPT = r"""
ip -o -d link show type vxlan |
  sed -n 's/^[0-9]*: \([^:@]*\)[:@].* vxlan id \([0-9]*\) .*/\1 \2/p' |
  while read -r device vni; do
    echo "vxlan $device $vni $(cat "/sys/class/net/$device/ifalias" 2>/dev/null)"
  done
"""


@dataclass(frozen=True, slots=True)
class VxlanDevices:
    """The VXLAN devices of a host: the name, the VNI, and the inventory that has made it."""

    devices: tuple[tuple[str, int, str], ...] = ()


def probe() -> FactsProbe:
    """The probe of a host."""
    return FactsProbe("vxlan_devices", _SCRIPT, _parse)


def _parse(text: str) -> VxlanDevices:
    devices = []
    for device, rest in KeyedLines(text).pairs("vxlan"):
        number, _, alias = rest.partition(" ")
        devices.append((device, int(number), Mark.of_tag(alias).inventory))
    return VxlanDevices(tuple(devices))


def problems(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield the devices that FRR would take for that of the network."""
    number = vni(inventory, network)
    for device, device_vni, owner in facts.of(VxlanDevices).devices:
        # A device of this inventory is the network's own, or goes: it refuses a VNI twice.
        if device_vni == number and owner != inventory.name:
            message = (
                f"its VXLAN device {device} has the vni {number} of network {network.name}, too, "
                "and FRR tells devices apart by their vni alone"
            )
            yield Problem(facts.host, message, "write another vni in the network")
