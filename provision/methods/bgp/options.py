"""The keys of a `bgp` network, and the numbers of its routes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from provision.methods._shared.bgp_options import SpeakerOptions
from provision.model.inventory import Network

PROTOCOL = 186
"""The kernel's number for routes of BGP: RTPROT_BGP of linux/rtnetlink.h."""
KEPT = 241
"""The number for copies of these routes, which stand while the daemons learn them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpOptions(SpeakerOptions):
    """The keys of a `bgp` network, besides those of every network."""


def options(network: Network) -> BgpOptions:
    """The options of a network of this method."""
    assert isinstance(network.options, BgpOptions)
    return network.options
