"""Method `vxlan`: a VXLAN device of the kernel, its table from the inventory or from BGP EVPN."""

from provision.methods.vxlan.method import VxlanMethod

__all__ = ["VxlanMethod"]
