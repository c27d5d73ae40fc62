"""Mistakes in the keys of `wireguard` networks and of their hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from itertools import combinations
from typing import TYPE_CHECKING

from provision.methods import ClashKey
from provision.methods.wireguard.options import CALLS, WireguardHost, WireguardOptions
from provision.methods.wireguard.peers import next_hop
from provision.model.findings import Finding, Loc
from provision.model.suggest import did_you_mean
from provision.model.text import quoted

if TYPE_CHECKING:
    from provision.model.documents import Decoded, Layout


def port_key(name: str, decoded: Decoded) -> ClashKey:
    """The UDP port: each device has a socket of its own."""
    port = _options(name, decoded).port
    hint = f"write port: {port + 1} in one of them"
    return ClashKey(("udp", port), ("port",), f"use UDP port {port}", hint)


def findings(name: str, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield the mistakes in a network's keys and in those of its hosts."""
    hosts = layout.hosts[name]
    settings = {host: _of_host(host, decoded) for host in hosts}
    mistakes = [finding for host in hosts for finding in _relay(name, host, settings, decoded)]
    yield from mistakes
    for host, document in settings.items():
        yield from _endpoint(name, host, document, decoded)
    if not mistakes:
        yield from _silent(name, settings)


def _options(name: str, decoded: Decoded) -> WireguardOptions:
    options = decoded.options[name]
    assert isinstance(options, WireguardOptions)
    return options


def _of_host(host: str, decoded: Decoded) -> WireguardHost:
    document = getattr(decoded.hosts.get(host), "wireguard", None)
    return document if isinstance(document, WireguardHost) else WireguardHost()


def _relay(
    name: str, host: str, settings: dict[str, WireguardHost], decoded: Decoded
) -> Iterator[Finding]:
    via = settings[host].via
    loc: Loc = ("hosts", host, "wireguard", "via")
    if via is None:
        return
    if via not in decoded.declared["hosts"]:
        yield Finding(loc, f"unknown host {quoted(via)}", did_you_mean(via, decoded.hosts, "hosts"))
    elif via == host:
        yield Finding(loc, "a host cannot pass on its own packets", "name another host")
    elif via not in settings:
        yield Finding(
            loc, f"'{via}' is not a host of network '{name}'", f"add it to {name}'s hosts"
        )
    elif settings[via].via is not None:
        message = f"'{via}' has its own packets passed on by '{settings[via].via}'"
        yield Finding(loc, message, "name a host without 'via'")


def _endpoint(name: str, host: str, document: WireguardHost, decoded: Decoded) -> Iterator[Finding]:
    loc: Loc = ("hosts", host, "wireguard", "endpoint")
    if document.endpoint is None:
        return
    if document.endpoint == CALLS:
        if _options(name, decoded).keepalive == 0:
            message = f"'{host}' must call its peers, but network '{name}' has keepalive: 0"
            yield Finding(loc, message, "write keepalive: 25, or an endpoint")
        return
    address = IPv4Address(document.endpoint.rpartition(":")[0])
    if address in decoded.networks[name].cidr:
        message = f"{address} is in the range of network '{name}', which the tunnel itself carries"
        yield Finding(loc, message, "write the address of the host outside of the tunnel")


def _silent(name: str, settings: dict[str, WireguardHost]) -> Iterator[Finding]:
    """Two hosts without an endpoint cannot call each other."""
    callers = [host for host, document in settings.items() if document.endpoint == CALLS]
    relays = {host: document.via for host, document in settings.items()}.get
    for first, second in combinations(settings, 2):
        hop = next_hop(first, second, relays)
        if hop == second and first in callers and second in callers:
            message = (
                f"neither '{first}' nor '{second}' has an endpoint, so none can call the other"
            )
            hint = "write via: and a host that both reach, or an endpoint"
            yield Finding(("hosts", second, "wireguard", "endpoint"), message, hint)
