"""The inventory file that a host's resources were applied from.

A mark on a host has only the name of an inventory, and two files may have the same name. So a host
keeps the path and the user of the last file in `/var/lib/provision/origins/NAME`; its guard writes
that when a change is confirmed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath

from provision.engine.plan import Change, Conflict
from provision.engine.status import current_user
from provision.facts.host import AppliedFrom, HostFacts
from provision.model.inventory import Inventory
from provision.model.text import count, listed
from provision.resources.base import Ref
from provision.resources.rows import row_changes

HINT = (
    "if this file is the same inventory, moved or checked out elsewhere, add --take-over; "
    "otherwise choose another name"
)


def records(inventory: Inventory) -> dict[str, str]:
    """The record, as JSON, for each host on which the inventory has something."""
    hosts = {container.host for container in inventory.containers.values()}
    hosts.update(*(network.hosts for network in inventory.networks.values()))
    source = _source(inventory)
    return dict.fromkeys(hosts, json.dumps({"owner": source.owner, "path": source.path}) + "\n")


def conflicts(
    inventory: Inventory, facts: Mapping[str, HostFacts], changes: Iterable[Change]
) -> tuple[Conflict, ...]:
    """Changes that take away what a file in another folder, or on another machine, has made."""
    changed, source = tuple(changes), _source(inventory)
    harm = dict.fromkeys((change.ref.host for change in changed), 0)
    for change in changed:
        harm[change.ref.host] += _takes_away(change)
    return tuple(
        Conflict(Ref(host, "inventory", inventory.name), _message(inventory, origin, harm[host]))
        for host, origin in _other_files(source, facts, harm)
        if harm[host] and not _is_same_place(origin, source)
    )


def warnings(
    inventory: Inventory, facts: Mapping[str, HostFacts], changes: Iterable[Change]
) -> Iterator[str]:
    """Yield a line for each other file from which hosts that change were applied last."""
    hosts: dict[AppliedFrom, list[str]] = {}
    changed = {change.ref.host for change in changes}
    for host, origin in _other_files(_source(inventory), facts, changed):
        hosts.setdefault(origin, []).append(host)
    for origin, names in hosts.items():
        yield f"{listed(tuple(names))}: {_applied_from(inventory, origin)}, not from this file"


def _other_files(
    source: AppliedFrom, facts: Mapping[str, HostFacts], hosts: Iterable[str]
) -> Iterator[tuple[str, AppliedFrom]]:
    """Hosts that were applied from another file; a host of an earlier version has no record."""
    for host in sorted(hosts):
        origin = facts[host].applied_from if host in facts else None
        if origin is not None and not _is_same_file(origin, source):
            yield host, origin


def _source(inventory: Inventory) -> AppliedFrom:
    """This file, on this machine."""
    return AppliedFrom(str(inventory.path.resolve()), current_user())


def _is_same_file(origin: AppliedFrom, source: AppliedFrom) -> bool:
    return (origin.path, origin.machine) == (source.path, source.machine)


def _is_same_place(origin: AppliedFrom, source: AppliedFrom) -> bool:
    """True for files of one folder: a project may have a file for each method, all of one name."""
    # The user may differ, as with sudo.
    return (PurePath(origin.path).parent, origin.machine) == (
        PurePath(source.path).parent,
        source.machine,
    )


def _takes_away(change: Change) -> bool:
    if change.before is None or change.adopts:
        return False
    if change.verb != "update" or change.disruption is not None:
        return True
    return any(row.after is None for row in row_changes(change.before, change.after))


def _message(inventory: Inventory, origin: AppliedFrom, harm: int) -> str:
    applied = _applied_from(inventory, origin)
    return f"{applied}; {count(harm, 'change')} would remove or disturb its resources"


def _applied_from(inventory: Inventory, origin: AppliedFrom) -> str:
    return f"inventory '{inventory.name}' was applied from {origin.path} by {origin.owner}"
