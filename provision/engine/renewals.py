"""Conflicts of changes that give a host another secret key without its peers. Pure.

The peers of a host have to know its new key before its device uses it, so one change has to include
all hosts of the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.engine.plan import Change, Conflict
from provision.model.inventory import Inventory
from provision.model.text import listed
from provision.resources.kinds.wireguard import Wireguard
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
        group = group_of.get(change.ref.host, frozenset())
        missing = tuple(peer for peer in _peers(inventory, change) if peer not in group)
        if missing:
            message = f"{listed(missing)} would not learn its new key"
            yield Conflict(change.ref, message, hint=HINT)


def _peers(inventory: Inventory, change: Change) -> tuple[str, ...]:
    """The hosts that have to learn the key with which a change replaces another one."""
    before, after = change.before, change.after
    if isinstance(before, WireguardKey) and isinstance(after, WireguardKey) and before.renewal:
        return inventory.networks[after.network].hosts
    # The key was drawn by an earlier change, which a person has confirmed before its end.
    if isinstance(before, Wireguard) and isinstance(after, Wireguard):
        hosts = tuple(ref.host for ref in after.after() if ref.host != after.host)
        return hosts if before.public != after.public else ()
    return ()
