"""Conflicts of changes that give a host another secret key without its peers. Pure.

The peers of a host have to know its new key before its device uses it, so one change has to include
all hosts of the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.engine.plan import Change, Conflict
from provision.model.inventory import Inventory
from provision.model.text import listed
from provision.resources.kinds.wireguard_key import WireguardKey

HINT = "change all hosts of the network together: apply without --limit and --strategy"


def conflicts(
    inventory: Inventory, changes: Iterable[Change], groups: Iterable[tuple[str, ...]]
) -> Iterator[Conflict]:
    """Yield a conflict for each new key whose peers change in another group, or not at all.

    The hosts of a group keep a change together, or none does.
    """
    group_of = {host: frozenset(group) for group in groups for host in group}
    for change in changes:
        if _is_renewal(change):
            host, network = change.ref.host, change.ref.name
            members = inventory.networks[network].hosts
            missing = tuple(peer for peer in members if peer not in group_of.get(host, ()))
            if missing:
                message = f"{listed(missing)} would not learn its new key in network {network}"
                yield Conflict(change.ref, message, hint=HINT)


def _is_renewal(change: Change) -> bool:
    key = change.before
    return change.after is not None and isinstance(key, WireguardKey) and bool(key.renewal)
