"""The causes that snapshots of hosts tell for checks that fail. Pure."""

from __future__ import annotations

from provision import methods
from provision.checks.gather import Evidence
from provision.engine import firewalls
from provision.model.inventory import Container, Network


def firewall_cause(evidence: Evidence, source: str, target: str) -> str:
    """The firewall on the way between two containers that drops packets; empty if none does."""
    containers = evidence.inventory.members
    ends = [containers[name] for name in (target, source) if name in containers]
    network = evidence.inventory.networks.get(ends[0].network) if ends else None
    if network is None:
        return ""
    return firewall_cause_on(evidence, network, *(end.host for end in ends))


def firewall_cause_on(evidence: Evidence, network: Network, *hosts: str) -> str:
    """The firewall of one of the hosts that drops packets of a network."""
    causes = (
        firewalls.cause(evidence.inventory, network, evidence.facts[host])
        for host in hosts
        if host in evidence.facts
    )
    return next((f"; {cause}" for cause in causes if cause), "")


def stopped_dns(evidence: Evidence, container: Container) -> str:
    """The DNS server of a container's host, if it does not run; empty if it does."""
    network = methods.dns_network(evidence.inventory, container)
    assert network is not None, container
    unit = methods.dns_unit(evidence.inventory, network)
    for change in evidence.drift[container.host].changes:
        if change.ref.name == unit and not getattr(change.before, "active", False):
            return f"; {container.host}: {unit} does not run: `systemctl start {unit}`"
    return firewall_cause_on(evidence, network, container.host)
