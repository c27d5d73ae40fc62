"""The keys of a `wireguard` network, and those of a host for its networks of this method."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Annotated

from pydantic import AfterValidator

from provision.methods._shared.docker_bridge import BridgeOptions
from provision.model.documents import Document
from provision.model.fields.overlays import UdpPort
from provision.model.fields.scalars import between, number_range
from provision.model.findings import BadValueError
from provision.model.help import Help
from provision.model.inventory import Inventory, Network
from provision.model.text import quoted

PORT = 51820
# Outer IPv6 (40) or IPv4 (20), UDP (8), WireGuard's header (16) and authenticator (16). WireGuard
# itself counts 80, so that a path over IPv6 fits as well.
OVERHEAD = 80
CALLS = "none"
"""The value of `endpoint` for a host that nobody can call: it calls the others."""


def _endpoint(text: str) -> str:
    address, _, port = text.rpartition(":")
    try:
        # `int` also reads 5_1, +5, digits of other scripts, and blanks around a number.
        number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else 0
        if text == CALLS or (IPv4Address(address) and 0 < number < 2**16):
            return text
    except ValueError:
        pass
    hint = f'write "203.0.113.7:{PORT}", or {CALLS} if it must call the others'
    raise BadValueError(f"{quoted(text)} is not an IPv4 address and a port", hint)


class WireguardHost(Document):
    """The key `wireguard` of a host."""

    endpoint: Annotated[
        Annotated[str, AfterValidator(_endpoint)] | None,
        Help(
            "ADDRESS:PORT that the peers call, or none; default: the host's address, network's port"
        ),
    ] = None
    via: Annotated[str | None, Help("host that passes on what this one exchanges with others")] = (
        None
    )


_Keepalive = Annotated[
    int, AfterValidator(between(0, 2**16 - 1, "keepalive")), number_range(0, 2**16 - 1)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireguardOptions(BridgeOptions):
    """The keys of a `wireguard` network, besides those of every network."""

    port: Annotated[UdpPort, Help("UDP port of the device on every host")] = PORT
    keepalive: Annotated[
        _Keepalive, Help("seconds between packets that keep a path through NAT open; 0: none")
    ] = 25
    psk: Annotated[bool, Help("each pair of hosts also has a preshared key")] = False


def options(network: Network) -> WireguardOptions:
    """The options of a network of this method."""
    assert isinstance(network.options, WireguardOptions)
    return network.options


def of_host(network: Network, host: str) -> WireguardHost:
    """The key `wireguard` of a host; its defaults where the file has none."""
    document = network.host_options.get(host)
    return document if isinstance(document, WireguardHost) else WireguardHost()


def endpoint(inventory: Inventory, network: Network, host: str) -> str:
    """The ADDRESS:PORT at which the peers call a host; empty if it calls."""
    settings = of_host(network, host).endpoint
    if settings is None:
        return f"{inventory.hosts[host].address}:{options(network).port}"
    return "" if settings == CALLS else settings
