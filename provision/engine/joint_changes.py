"""Conflicts of changes that all hosts of a network have to keep together. Pure.

The peers of a host have to know its new key before its device uses it, and the DNS servers of two
hosts must not ask each other for the same name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.engine.plan import Change, Conflict
from provision.model.inventory import Inventory, Network
from provision.model.names import gateway
from provision.model.text import listed
from provision.resources.joint import JointChange

HINT = "change all hosts of the network together: apply without --limit and --strategy"


def conflicts(
    inventory: Inventory, changes: Iterable[Change], groups: Iterable[tuple[str, ...]]
) -> Iterator[Conflict]:
    """Yield a conflict for each change that a host of its network makes in another group, or not.

    The hosts of a group keep a change together, or none does.
    """
    group_of = {host: frozenset(group) for group in groups for host in group}
    for change in changes:
        if change.before is None or change.after is None:
            continue
        joint = change.after.joint_change(change.before)
        if joint is None:
            continue
        group = group_of.get(change.ref.host, frozenset())
        members = _members(inventory.networks[joint.network], joint)
        if missing := tuple(peer for peer in members if peer not in group):
            yield Conflict(change.ref, f"{listed(missing)} {joint.effect}", hint=HINT)


def _members(network: Network, joint: JointChange) -> Iterator[str]:
    """Yield the hosts that have to make a change."""
    for host in network.hosts:
        if joint.gateways is None or gateway(network.subnets[host]) in joint.gateways:
            yield host
