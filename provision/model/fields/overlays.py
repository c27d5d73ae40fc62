"""Words and numbers that the overlay methods share: what their packets grow by, and their ids."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from provision.model.fields.scalars import Port, between

VXLAN_PORT = 4789
# Outer IPv4, UDP, VXLAN and the inner Ethernet header: 20 + 8 + 8 + 14.
VXLAN_OVERHEAD = 50
# Outer IPv4, GRE and the inner Ethernet header: 20 + 4 + 14; a key takes 4 more.
GRE_OVERHEAD, KEY_OVERHEAD = 38, 4

Vni = Annotated[
    int,
    AfterValidator(between(1, 2**24 - 1, "vni")),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 2**24 - 1}),
]
Key = Annotated[
    int,
    AfterValidator(between(0, 2**32 - 1, "key")),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 2**32 - 1}),
]
UdpPort = Port
