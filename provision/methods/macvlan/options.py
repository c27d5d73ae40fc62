"""The keys of a `macvlan` network."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated

from pydantic import AfterValidator

from provision.methods._shared.lan_pool import LanOptions
from provision.model.fields import names
from provision.model.help import Help
from provision.model.inventory import Network

_Nic = Annotated[str, AfterValidator(names.nic_name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MacvlanOptions(LanOptions):
    """The keys of a `macvlan` network: `pool` is required, as Docker has no other addresses."""

    gateway: Annotated[
        IPv4Address | None, Help("the LAN's router; default: containers reach only the LAN")
    ] = None
    pool: Annotated[IPv4Network, Help("part of cidr from which Docker gives addresses")]
    nic: Annotated[
        _Nic | None, Help("NIC on the LAN; default: the one with the host's address")
    ] = None


def placeholder(part: IPv4Network, cidr: IPv4Network) -> IPv4Address | None:
    """The gateway of a host's part on a LAN without a router: its first address, which nobody has.

    Docker would choose it as well, but shows its own choice only after its next restart (seen with
    20.10, 26.1 and 28.5), which would then look like a difference. None where the part holds
    nothing but the network or broadcast address of `cidr`.
    """
    ends = (cidr.network_address, cidr.broadcast_address)
    return next((address for address in part if address not in ends), None)


def macvlan_options(network: Network) -> MacvlanOptions:
    """The options of a network of this method."""
    assert isinstance(network.options, MacvlanOptions)
    return network.options
