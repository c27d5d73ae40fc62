"""Firewalls of hosts: what they drop, and what they have taken away. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision import methods
from provision.engine.plan import Conflict
from provision.facts.firewall import Blocker
from provision.facts.host import HostFacts
from provision.model.inventory import Inventory, Network
from provision.model.needs import Need
from provision.model.problems import Problem
from provision.resources.base import Ref, State
from provision.resources.kinds.iptables_chain import IptablesChain, in_docker_user


def problems(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield the packets of a network that a firewall of the host drops."""
    for need in methods.of(network).firewall_needs(inventory, network, facts):
        blocker = facts.firewall.blocker(need)
        if blocker is not None:
            hint = f"run `{blocker.command}` on {facts.host}"
            yield Problem(facts.host, _dropped(network, need, blocker), hint)


def host_problems(facts: HostFacts) -> Iterator[Problem]:
    """Yield the files that switch forwarding off, and rules in a second backend of iptables."""
    if other := facts.firewall.other_backend:
        message = f"iptables has rules in a second backend, {other}, which packets pass as well"
        program = "iptables-legacy-save" if other == "legacy" else "iptables-nft-save"
        yield Problem(facts.host, message, f"look at them: `{program}`")
    if facts.firewall.forward_was_drop and facts.firewall.forward_policy == "ACCEPT":
        message = "the policy of FORWARD is ACCEPT, where Docker had DROP: it forwards everything"
        yield Problem(facts.host, message, "run `iptables -P FORWARD DROP`")
    for path, setting in facts.firewall.stops_forwarding:
        message = f"{path} has {setting}: the host then forwards nothing for up to 10 s"
        yield Problem(facts.host, message, "remove that line")


def cause(inventory: Inventory, network: Network, facts: HostFacts) -> str:
    """The firewall that drops a network's packets, and the command that lets them through."""
    for need in methods.of(network).firewall_needs(inventory, network, facts):
        blocker = facts.firewall.blocker(need)
        if blocker is not None:
            return f"{facts.host}: {_dropped(network, need, blocker)}: `{blocker.command}`"
    return ""


def _dropped(network: Network, need: Need, blocker: Blocker) -> str:
    return f"{blocker.name} drops {need}, which network {network.name} needs"


def conflicts(facts: Mapping[str, HostFacts], wanted: State) -> Iterator[Conflict]:
    """Yield the hosts that need DOCKER-USER, and whose Docker runs without it."""
    users = {r.host for r in wanted.values() if isinstance(r, IptablesChain) and in_docker_user(r)}
    for host in sorted(users & facts.keys()):
        if not (facts[host].docker and facts[host].firewall.was_flushed):
            continue
        message = "chain DOCKER-USER is gone: the firewall was flushed: systemctl restart docker"
        hint = f"run `systemctl restart docker` on {host}"
        if not facts[host].default_bridge:
            message = (
                'Docker has made no chain DOCKER-USER, because daemon.json says "bridge": "none"'
            )
            hint = "remove that, or create a Docker network on the host first"
        yield Conflict(Ref(host, IptablesChain.kind, "filter/DOCKER-USER"), message, hint=hint)
