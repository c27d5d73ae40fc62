"""Firewalls of hosts: what they drop, and the rules that open them. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from provision import methods
from provision.engine.plan import Conflict
from provision.facts.firewall import FIREWALLD, UFW, Blocker, firewalld_rules, ufw_rule
from provision.facts.firewalld import DOCKER
from provision.facts.host import HostFacts
from provision.model.inventory import Inventory, Network
from provision.model.needs import Inbound, Need, Transit
from provision.model.problems import Problem
from provision.resources.base import Ref, Resource, State
from provision.resources.kinds.docker_firewall import CHAIN, TABLE, DockerFirewall
from provision.resources.kinds.firewall_rule import FirewallRule
from provision.resources.kinds.forward_policy import ForwardPolicy
from provision.resources.kinds.iptables_chain import IptablesChain, in_docker_user
from provision.resources.kinds.nft_table import OwnNftTable


def problems(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield the packets of a network that a firewall of the host drops, or whose senders it hides.

    Those that `firewall: manage` opens are left out.
    """
    for need in methods.firewall_needs(inventory, network, facts):
        blocker = facts.firewall.blocker(need)
        if blocker is None or (inventory.firewall == "manage" and blocker.tool):
            continue
        yield Problem(facts.host, _dropped(network, need, blocker), _hint(facts.host, blocker))


def host_problems(facts: HostFacts) -> Iterator[Problem]:
    """Yield lost rules of Docker, rules in a second backend, and files that stop forwarding."""
    if facts.docker and facts.default_bridge and facts.firewall.has_lost_nat:
        message = (
            "Docker's rules of the table nat are gone, by which it publishes ports of containers"
        )
        yield Problem(facts.host, message, f"run `systemctl restart docker` on {facts.host}")
    if other := facts.firewall.other_backend:
        message = f"iptables has rules in a second backend, {other}, which packets pass as well"
        program = "iptables-legacy-save" if other == "legacy" else "iptables-nft-save"
        yield Problem(facts.host, message, f"look at them: `{program}`")
    for path, setting in facts.firewall.stops_forwarding:
        message = f"{path} has {setting}: the host then forwards nothing for up to 10 s"
        yield Problem(facts.host, message, "remove that line")


def cause(inventory: Inventory, network: Network, facts: HostFacts) -> str:
    """The firewall that drops a network's packets, and the command that lets them through."""
    for need in methods.firewall_needs(inventory, network, facts):
        blocker = facts.firewall.blocker(need)
        if blocker is not None:
            dropped = f"{facts.host}: {_dropped(network, need, blocker)}"
            return f"{dropped}: `{blocker.command}`{blocker.saved}"
    return ""


def _dropped(network: Network, need: Need, blocker: Blocker) -> str:
    packets = blocker.packets or need
    return f"{blocker.name} {blocker.verb} {packets}, which network {network.name} needs"


def _hint(host: str, blocker: Blocker) -> str:
    manage = ", or write firewall: manage" if blocker.tool else ""
    return f"run `{blocker.command}` on {host}{blocker.saved}{manage}"


def rules(inventory: Inventory, facts: Mapping[str, HostFacts]) -> Iterator[FirewallRule]:
    """Yield the rules that `firewall: manage` adds.

    A rule is wanted if a packet is dropped without it, or if it is there and ours. Where a rule of
    the user lets the packet in, none is wanted.
    """
    if inventory.firewall != "manage":
        return
    for host, host_facts in facts.items():
        if host_facts.firewall.firewalld is None:
            # It does not run, so its zones are unknown: it keeps what it has of ours.
            for claim in sorted(host_facts.firewall.claims):
                tool, zone, rule = claim.split(" ", 2)
                if tool == FIREWALLD:
                    yield FirewallRule(host, tool, zone, rule, inventory.name)
    for network in inventory.networks.values():
        for host in network.hosts:
            if host in facts:
                yield from _rules(inventory, network, facts[host])


def repairs(facts: Mapping[str, HostFacts], wanted: State) -> Iterator[Resource]:
    """Yield what Docker had made, and what something else has taken away since."""
    hosts = {r.host for r in wanted.values() if isinstance(r, IptablesChain | OwnNftTable)}
    flushed = set(_flushed(facts, wanted))
    for host in sorted(hosts & facts.keys()):
        firewall = facts[host].firewall
        if facts[host].nftables_backend:
            if host in flushed:
                yield DockerFirewall(host, rules=TABLE)
            continue  # Docker of this backend sets no policy of iptables
        if host in flushed and facts[host].default_bridge:
            yield DockerFirewall(host)
        was_drop = firewall.forward_was_drop and not firewall.forwards_at_boot
        if was_drop and firewall.forward_policy == "ACCEPT":
            yield ForwardPolicy(host, "DROP")


def conflicts(facts: Mapping[str, HostFacts], wanted: State) -> Iterator[Conflict]:
    """Yield the hosts whose Docker has made no chain DOCKER-USER, because it has no bridge."""
    for host in _flushed(facts, wanted):
        if not facts[host].default_bridge and not facts[host].nftables_backend:
            message = (
                'Docker has made no chain DOCKER-USER, because daemon.json says "bridge": "none"'
            )
            hint = "remove that, or create a Docker network on the host first"
            yield Conflict(Ref(host, DockerFirewall.kind, CHAIN), message, hint=hint)


def _flushed(facts: Mapping[str, HostFacts], wanted: State) -> list[str]:
    """The hosts whose Docker runs without its own rules, with which ours must be."""
    users = {
        r.host
        for r in wanted.values()
        if (isinstance(r, IptablesChain) and in_docker_user(r)) or isinstance(r, OwnNftTable)
    }
    running = (host for host in sorted(users & facts.keys()) if facts[host].docker)
    return [host for host in running if facts[host].firewall.was_flushed]


def _rules(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[FirewallRule]:
    firewall = facts.firewall
    for need in methods.firewall_needs(inventory, network, facts):
        blocker = firewall.blocker(need)
        tool = blocker.tool if blocker else ""
        for rule in _rules_of(inventory, facts, need):
            if rule.tool == tool or rule.claim in firewall.claims:
                yield rule


def _rules_of(inventory: Inventory, facts: HostFacts, need: Need) -> Iterator[FirewallRule]:
    """Yield the rules by which each firewall of the host lets such packets through."""
    host, name = facts.host, inventory.name
    # Also while ufw is off: it would miss the rule when it is on again.
    if isinstance(need, Inbound):
        yield FirewallRule(host, UFW, "", shlex.join(ufw_rule(need)), name)
    if facts.firewall.firewalld is None:
        return
    if isinstance(need, Transit) and DOCKER not in facts.firewall.firewalld.zones:
        return
    for _, zone, option, value in firewalld_rules(facts.firewall, need):
        text = f"source {value}" if isinstance(need, Transit) else value
        assert option.startswith("--add-")
        yield FirewallRule(host, FIREWALLD, zone, text, name)
