"""Hosts with two NICs on one LAN, of which only one carries a network. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.facts.host import HostFacts
from provision.methods._shared import firewall_needs
from provision.model.inventory import Inventory, Network
from provision.model.needs import Need, Transit
from provision.model.problems import Problem

_HINT = (
    "give the NICs ranges of their own, or let each answer for its own address:"
    " `sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2`"
)


def problems(
    inventory: Inventory,
    network: Network,
    facts: HostFacts,
    needs: Iterable[Need],
    *,
    bound: bool,
) -> Iterator[Problem]:
    """Yield each NIC by which packets of a network may come in, and are dropped then.

    A host answers ARP requests for any of its addresses by each of its NICs, unless arp_ignore is
    set, so that peers may send to another NIC than the one with the address. `bound` is that of
    `Method.is_bound_to_nics`.
    """
    routed = {need.nic for need in needs if isinstance(need, Transit)}
    for nic, source in firewall_needs.sources(inventory, network, facts):
        for link in facts.links.values():
            shares = any(address.network == source for address in link.addresses)
            if link.name == nic or not link.up or not shares or facts.arp_ignore(link.name):
                continue
            strict = facts.filters_strictly(link.name)
            if strict or bound or nic in routed:
                reason = "its rp_filter is 1, strict" if strict else f"only {nic} is let in"
                message = (
                    f"{nic} and {link.name} are both on {source}: packets of network"
                    f" {network.name} that come in by {link.name} are dropped ({reason})"
                )
                yield Problem(facts.host, message, _HINT)
