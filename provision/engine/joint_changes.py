"""Conflicts of changes that all hosts of a network have to keep together. Pure.

The peers of a host have to know its new key, for example, before its device uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.engine.plan import Change, Conflict
from provision.model.inventory import Inventory
from provision.model.text import listed

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
        network = change.after.joint_network(change.before)
        group = group_of.get(change.ref.host, frozenset())
        members = inventory.networks[network].hosts if network else ()
        if missing := tuple(peer for peer in members if peer not in group):
            message = f"{listed(missing)} would not learn its new key"
            yield Conflict(change.ref, message, hint=HINT)
