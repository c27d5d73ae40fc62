"""Mistakes in the keys of `vxlan` networks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from provision.methods import ClashKey
from provision.methods._shared import bgp_rules
from provision.methods._shared.bgp_options import SpeakerOptions
from provision.methods._shared.clashes import frr_vni, vxlan_id, vxlan_port
from provision.methods._shared.docker_bridge import BridgeOptions
from provision.methods.vxlan.options import VxlanOptions
from provision.model.findings import Finding, Loc
from provision.model.names import default_vni

if TYPE_CHECKING:
    from provision.model.documents import Decoded, Layout

_OF_BRIDGE = {field.name for field in fields(BridgeOptions)}
_OF_SPEAKERS = tuple(f.name for f in fields(SpeakerOptions) if f.name not in _OF_BRIDGE)
"""The keys that only a network with BGP has."""


def findings(name: str, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield the mistakes in a network's keys for BGP EVPN."""
    options, loc = decoded.options[name], ("networks", name)
    assert isinstance(options, VxlanOptions)
    if options.control == "evpn":
        if options.mode != "bridged":
            message = f"control: evpn connects bridges, but the network has mode: {options.mode}"
            yield Finding((*loc, "control"), message, "remove mode, or remove control")
        yield from bgp_rules.findings(name, decoded, layout)
        return
    written = decoded.networks[name].model_fields_set
    for key in _OF_SPEAKERS:
        if key in written:
            where: Loc = (*loc, key)
            yield Finding(where, f"{key} is a key of BGP", f"write control: evpn, or remove {key}")


def clash_keys(name: str, decoded: Decoded) -> Iterator[ClashKey]:
    """Yield what no other network of the same hosts may use."""
    options = decoded.options[name]
    assert isinstance(options, VxlanOptions)
    evpn = options.control == "evpn"
    yield vxlan_port(options.port, "kernel")
    yield vxlan_id(decoded.name, name, options.port, options.vni)
    yield frr_vni(options.vni or default_vni(decoded.name, name), "" if evpn else "static")
    if evpn:
        yield bgp_rules.port_key("control", "leave out control: evpn")
