"""The keys of a `pipework` network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator

from provision.methods._shared.lan_pool import LanOptions
from provision.model.fields import names
from provision.model.help import Help

_Bridge = Annotated[str, AfterValidator(names.bridge_name)]
_Nic = Annotated[str, AfterValidator(names.nic_name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeworkOptions(LanOptions):
    """The keys of a `pipework` network, besides those of every network on the hosts' LAN."""

    bridge: Annotated[_Bridge, Help("name of the bridge")] = "bri0"
    nic: Annotated[
        _Nic | None, Help("NIC that becomes a port; default: the one with the host's address")
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
