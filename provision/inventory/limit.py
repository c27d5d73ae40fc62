"""Select hosts by `--limit`, by Ansible's rules for host patterns. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from provision.model.errors import InventoryError, UsageError
from provision.model.inventory import Inventory
from provision.model.suggest import did_you_mean
from provision.model.text import quoted


def select(inventory: Inventory, pattern: str | None) -> tuple[str, ...]:
    """The hosts that match a pattern, in the inventory's order; all hosts if it is None.

    Terms are joined by `,` or `:`. Each is a host, a group, a glob of either, or `all`. `!term`
    removes hosts and `&term` keeps only its hosts; both apply after all other terms, at whatever
    position. Raises UsageError for an unknown name, and if no host is left, and InventoryError for
    an imported host that was left out of the inventory for its mistakes.
    """
    if pattern is None:
        return tuple(inventory.hosts)
    terms = [term.strip() for term in re.split("[,:]", pattern)]
    included = [term for term in terms if term and term[0] not in "!&"]
    hosts = _union(inventory, included) if included else set(inventory.hosts)
    for term in terms:
        if term.startswith("&"):
            hosts &= _matches(inventory, term[1:])
    for term in terms:
        if term.startswith("!"):
            hosts -= _matches(inventory, term[1:])
    if not hosts or not any(terms):
        raise UsageError(f"--limit {quoted(pattern)} matches no host", _known_names(inventory))
    return tuple(host for host in inventory.hosts if host in hosts)


def _union(inventory: Inventory, terms: Iterable[str]) -> set[str]:
    return set().union(*(_matches(inventory, term) for term in terms))


def _matches(inventory: Inventory, term: str) -> set[str]:
    if term == "all":
        return set(inventory.hosts)
    if term in inventory.left_out:
        raise InventoryError(inventory.left_out[term])
    if term in inventory.hosts:  # also if a group has this name, as for Ansible
        return {term}
    hosts = {host for host in inventory.hosts if fnmatchcase(host, term)}
    groups = [name for name in inventory.groups if fnmatchcase(name, term)]
    for name in groups:
        hosts.update(inventory.groups[name])
    # Ansible only warns here and goes on with fewer hosts; a typo must not shrink a change.
    if not hosts and not groups:
        known = (*inventory.hosts, *inventory.groups)
        hint = did_you_mean(term, known, "hosts and groups")
        raise UsageError(f"--limit: no host or group matches {quoted(term)}", hint)
    return hosts


def _known_names(inventory: Inventory) -> str:
    return did_you_mean("", (*inventory.hosts, *inventory.groups), "hosts and groups")
