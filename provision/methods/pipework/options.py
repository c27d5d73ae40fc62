"""The keys of a `pipework` network."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeworkOptions:
    """The keys of a `pipework` network, besides those of every network.

    `cidr` is the LAN that the hosts are on. pool: the part of it that Docker may hand out, of which
    each host gets a part. nic: None is the NIC that holds the host's address.
    host_port: with `veth` the host's addresses are on a veth into the bridge, not on the bridge.
    docker0: with `replace` the bridge replaces Docker's own default bridge.
    """

    bridge: str = "bri0"
    nic: str | None = None
    gateway: IPv4Address | None = None
    pool: IPv4Network | None = None
    kind: Literal["linux", "ovs"] = "linux"
    host_port: Literal["bridge", "veth"] = "bridge"
    stp: bool = False
    docker0: Literal["replace"] | None = None
