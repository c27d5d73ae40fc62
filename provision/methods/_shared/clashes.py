"""Resources of a host that overlays of several methods use."""

from __future__ import annotations

from provision.methods import ClashKey
from provision.model.names import default_vni


def vxlan_port(port: int, driver: str) -> ClashKey:
    """The UDP port that VXLAN packets arrive at.

    The kernel and the userspace datapath of Open vSwitch each take every packet of their port.
    """
    hint = f"write port: {port + 1} in one of them"
    return ClashKey(("udp", port), ("port",), f"use UDP port {port}", hint, driver)


def vxlan_id(inventory: str, network: str, port: int, vni: int | None) -> ClashKey:
    """The number that tells the VXLAN packets of a network from others of the same port."""
    number = vni or default_vni(inventory, network)
    hint = "write another vni in one of them"
    return ClashKey(("vni", port, number), ("vni",), f"have the vni {number}", hint)


def frr_vni(number: int, driver: str) -> ClashKey:
    """The number by which FRR knows all VXLAN devices of a host; the kernel goes by port, too.

    `driver` is empty for a network whose table FRR fills.
    """
    hint = "write another vni in one"
    return ClashKey(("frr vni", number), ("vni",), f"have the vni {number}", hint, driver)
