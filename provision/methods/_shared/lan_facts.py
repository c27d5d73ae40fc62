"""Facts of a host that networks on the hosts' LAN need. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provision.facts.arp import arp_errors, arp_variables
from provision.facts.lines import KeyedLines
from provision.facts.probe import FactsProbe
from provision.resources.render import program_text


@dataclass(frozen=True, slots=True)
class LanFacts:
    """What a host knows about its LAN, before its NIC becomes a port of a bridge.

    `dns` are lines of resolv.conf, without comments. `filters_vlans` is False when a Linux bridge
    of the host has no VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING); a host without any bridge is
    taken for one that has it. `addresses_in_use` are addresses wanted for containers that another
    machine has, `router_arp_errors` routers for which no machine answers, or several do; both with
    the answer.
    """

    dns: tuple[str, ...] = ()
    filters_vlans: bool = True
    addresses_in_use: Mapping[str, str] = field(default_factory=dict)
    router_arp_errors: Mapping[str, str] = field(default_factory=dict)


def probe(arp_checks: Mapping[str, str]) -> FactsProbe:
    """The probe of a host; `arp_checks` are addresses to probe by ARP before the first apply.

    Each has its check of `checks/lan.pl`: `own` (no machine may have it) or `router` (one must).
    """
    script = "\n".join((*arp_variables(arp_checks), program_text("look/lan.sh")))
    return FactsProbe("lan", script, _parse)


def _parse(text: str) -> LanFacts:
    lines = KeyedLines(text)
    answers = lines.every("answer")
    return LanFacts(
        dns=lines.every("dns"),
        filters_vlans="unfiltered" not in lines,
        addresses_in_use=arp_errors(answers, "duplicate"),
        router_arp_errors=arp_errors(answers, "arp"),
    )
