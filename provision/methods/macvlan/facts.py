"""Facts of a host that `macvlan` networks need: other Docker networks, addresses in use. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from shlex import quote
from typing import Any

from provision.facts.arp import arp_errors, arp_variables
from provision.facts.lines import KeyedLines
from provision.facts.probe import FactsProbe
from provision.resources.kinds.docker_network import LABEL
from provision.resources.lib.network_options import PARENT
from provision.resources.on_hosts import Mark

# Only before the network's first apply: afterwards, the pool's addresses are in use, by us.
_ARP = """
case $answers in *{label}*) ;; *)
  nic={nic}
  [ -n "$nic" ] ||
    nic=$(ip -o -4 address show to {address}/32 | sed -n '1s/^[0-9]*: *\\([^ ]*\\).*/\\1/p')
  set --
  for word in $arp_checks; do
    set -- "$@" "$word"
    case $word in *.*) set -- "$@" "$word" ;; esac # an address is also the name of its target
  done
  [ ! -e "/sys/class/net/${{nic:-.}}/address" ] || perl -e "$arp_program" {name} "$nic" 1500 "$@" ;;
esac
"""


@dataclass(frozen=True, slots=True)
class OtherNetwork:
    """A Docker network without the inventory's mark; `parent` is empty for one on a bridge."""

    name: str
    parent: str
    subnets: tuple[IPv4Network, ...]


@dataclass(frozen=True, slots=True)
class MacvlanFacts:
    """What a host knows about its Docker networks and its LAN.

    `addresses_in_use` are addresses of a pool that another machine has, `router_arp_errors`
    gateways for which no machine answers, or several do; both with the answer.
    """

    others: tuple[OtherNetwork, ...] = ()
    addresses_in_use: Mapping[str, str] = field(default_factory=dict)
    router_arp_errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArpChecks:
    """The addresses of one network to probe by ARP from a host, each with its check.

    `nic` None: the interface with the host's `address` sends the probes.
    """

    mark: Mark
    nic: str | None
    address: IPv4Address
    checks: Mapping[str, str]


def probe(inventory: str, networks: Iterable[ArpChecks]) -> FactsProbe:
    """The probe of a host with these networks of this method."""
    parts = [part for network in networks for part in _arp_script(network)]
    # An empty text where Docker does not answer: another check reports that.
    script = "\n".join(("shared networks", *parts, ":"))
    return FactsProbe("macvlan", script, partial(_parse, inventory=inventory))


def _arp_script(network: ArpChecks) -> Iterator[str]:
    yield from arp_variables(network.checks)
    yield _ARP.format(
        label=quote(f'"{LABEL}":"{network.mark}"'),
        nic=quote(network.nic or ""),
        address=network.address,
        name=quote(network.mark.network),
    )


def _parse(text: str, *, inventory: str) -> MacvlanFacts:
    lines = KeyedLines(text)
    answers = lines.every("answer")
    networks = json.loads(lines.only("networks", "[]"))
    return MacvlanFacts(
        tuple(_other(entry) for entry in networks if _mark(entry).inventory != inventory),
        arp_errors(answers, "duplicate"),
        arp_errors(answers, "arp"),
    )


def _mark(entry: Mapping[str, Any]) -> Mark:
    return Mark.parse((entry.get("Labels") or {}).get(LABEL, ""))


def _other(entry: Mapping[str, Any]) -> OtherNetwork:
    parent = (entry.get("Options") or {}).get(PARENT, "")
    pools = (entry.get("IPAM") or {}).get("Config") or ()
    subnets = [pool["Subnet"] for pool in pools if "." in pool.get("Subnet", "")]
    # Docker stores what `--subnet` says: 10.9.0.7/24 as well as 10.9.0.0/24.
    ranges = tuple(IPv4Network(subnet, strict=False) for subnet in subnets)
    return OtherNetwork(entry["Name"], parent, ranges)
