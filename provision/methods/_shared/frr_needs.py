"""The ports of a BGP speaker, and the packets that its host's firewalls must let through. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.facts.host import HostFacts
from provision.methods._shared import firewall_needs
from provision.methods._shared.bgp_options import BFD_PORT, PORT, reflectors, speaker_options
from provision.model.inventory import Inventory, Network
from provision.model.needs import Need


def needs(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Need]:
    """Yield the packets of BGP and BFD that the firewalls of one host must let through."""
    if speaker_options(network).bfd:
        yield from firewall_needs.of_udp(inventory, network, facts, (BFD_PORT,))
    if facts.host in reflectors(network):
        yield from firewall_needs.of_tcp(inventory, network, facts, (PORT,))


def ports(network: Network, host: str) -> tuple[str, ...]:
    """Ports of the host that the speaker takes."""
    bfd = (f"udp/{BFD_PORT}",) if speaker_options(network).bfd else ()
    return (*((f"tcp/{PORT}",) if host in reflectors(network) else ()), *bfd)
