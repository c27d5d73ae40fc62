"""Ports of the host that a network needs, and at which another program listens. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from provision import methods
from provision.engine.plan import Conflict
from provision.facts.host import HostFacts, PortListener
from provision.model.grouping import grouped
from provision.model.inventory import Inventory, Network
from provision.model.needs import Inbound
from provision.resources.base import Ref
from provision.resources.script import quoted

_EVERY_ADDRESS = ("0.0.0.0", "*")
DNS_PORT = 53


def conflicts(inventory: Inventory, facts: Mapping[str, HostFacts]) -> Iterator[Conflict]:
    """Yield each port of a tunnel or of etcd that is taken on a host.

    Without this, a VXLAN device would not come up, and etcd not start, in the midst of a change.
    """
    for network in inventory.networks.values():
        for host in network.hosts:
            if host not in facts:
                continue
            needs = methods.of(network).firewall_needs(inventory, network, facts[host])
            ports = {
                (need.protocol, port)
                for need in needs
                if isinstance(need, Inbound)
                for port in need.ports
            }
            for listener in facts[host].listeners:
                port = (listener.protocol, listener.port)
                if port in ports and _excludes(listener, inventory.hosts[host].address):
                    yield _conflict(Ref(host, "network", network.name), listener)
            if network.names is not None:
                yield from _names(network, facts[host])


def _excludes(listener: PortListener, address: IPv4Address) -> bool:
    """True if nothing else can listen there: tunnels take all addresses, etcd only the host's own.

    `[::]` is IPv6 alone; `ss` prints `*` for a socket that takes both.
    """
    if listener.address.startswith("["):
        return False
    return listener.protocol == "udp" or listener.address in (*_EVERY_ADDRESS, str(address))


def _names(network: Network, facts: HostFacts) -> Iterator[Conflict]:
    """Yield the programs that have port 53 of all addresses, or of the bridge."""
    address = str(methods.dns_address(network, facts.host))
    listeners = (each for each in facts.listeners if each.port == DNS_PORT)
    for program, group in grouped(listeners, lambda each: each.program).items():
        if any(each.address in (*_EVERY_ADDRESS, address) for each in group):
            message = f"{program} listens at port 53 of {address}, which its names need"
            hint = f"let {program} listen at addresses of its own, or remove 'names'"
            command = quoted(("ss", "-lntup", "sport = :53"))
            yield Conflict(Ref(facts.host, "network", network.name), message, command, hint=hint)


def _conflict(ref: Ref, listener: PortListener) -> Conflict:
    protocol, port = listener.protocol, listener.port
    message = f"{listener.program} listens at {protocol.upper()} port {port}, which it needs"
    option = "-lnup" if protocol == "udp" else "-lntp"
    hint = f"stop {listener.program}, or write another port for network {ref.name}"
    command = quoted(("ss", option, f"sport = :{port}"))
    return Conflict(ref, message, command, hint=hint)
