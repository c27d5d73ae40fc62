"""The keys of a `pipework` network."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from provision.model.help import Help


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeworkOptions:
    """The keys of a `pipework` network, besides those of every network.

    `cidr` is the LAN that the hosts are on.
    """

    bridge: Annotated[str, Help("name of the bridge")] = "bri0"
    nic: Annotated[
        str | None, Help("NIC that becomes a port; default: the one with the host's address")
    ] = None
    gateway: Annotated[
        IPv4Address | None, Help("the LAN's router; default: containers leave by their host")
    ] = None
    pool: Annotated[
        IPv4Network | None, Help("part of the LAN from which Docker gives addresses")
    ] = None
    kind: Annotated[Literal["linux", "ovs"], Help("linux, or ovs for Open vSwitch")] = "linux"
    host_port: Annotated[
        Literal["bridge", "veth"],
        Help("bridge: the host's addresses are on the bridge; veth: on a veth into it"),
    ] = "bridge"
    stp: Annotated[bool, Help("spanning tree protocol on the bridge")] = False
    docker0: Annotated[
        Literal["replace"] | None, Help("replace: the bridge replaces Docker's default bridge")
    ] = None
