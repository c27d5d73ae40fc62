"""Keys that the overlay methods share, and the bytes that each encapsulation adds to a packet."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from provision.model.fields.scalars import Port, between, number_range

VXLAN_PORT = 4789
# Outer IPv4, UDP, VXLAN and the inner Ethernet header: 20 + 8 + 8 + 14 bytes (RFC 7348).
VXLAN_OVERHEAD = 50
# Outer IPv4, GRE and the inner Ethernet header: 20 + 4 + 14 bytes; a key adds 4 (RFC 2890).
GRE_OVERHEAD, KEY_OVERHEAD = 38, 4

Vni = Annotated[int, AfterValidator(between(1, 2**24 - 1, "vni")), number_range(1, 2**24 - 1)]
Key = Annotated[int, AfterValidator(between(0, 2**32 - 1, "key")), number_range(0, 2**32 - 1)]
UdpPort = Port
