"""Method `bgp`: each host announces its subnet by BGP and learns the others' from two hosts."""

from provision.methods.bgp.method import BgpMethod

__all__ = ["BgpMethod"]
