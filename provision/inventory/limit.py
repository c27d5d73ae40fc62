"""Which hosts `--limit` means, by Ansible's rules for host patterns. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from provision.model.errors import UsageError
from provision.model.inventory import Inventory
from provision.model.suggest import did_you_mean
from provision.model.text import quoted


def select(inventory: Inventory, pattern: str | None) -> tuple[str, ...]:
    """The hosts of a pattern, in the inventory's order; all of them without one.

    Terms are joined by `,` or `:`. Each is a host, a group, a glob of either, or `all`; `!term`
    takes hosts away and `&term` keeps only its hosts, both after all other terms, wherever they
    stand. Raises UsageError for an unknown name and where no host is left.
    """
    if pattern is None:
        return tuple(inventory.hosts)
    terms = [term.strip() for term in re.split("[,:]", pattern)]
    wanted = [term for term in terms if term and term[0] not in "!&"]
    chosen = _union(inventory, wanted) if wanted else set(inventory.hosts)
    for term in terms:
        if term.startswith("&"):
            chosen &= _meant(inventory, term[1:])
    for term in terms:
        if term.startswith("!"):
            chosen -= _meant(inventory, term[1:])
    if not chosen or not any(terms):
        raise UsageError(f"--limit {quoted(pattern)} leaves no host", _names(inventory))
    return tuple(host for host in inventory.hosts if host in chosen)


def _union(inventory: Inventory, terms: Iterable[str]) -> set[str]:
    return set().union(*(_meant(inventory, term) for term in terms))


def _meant(inventory: Inventory, term: str) -> set[str]:
    if term == "all":
        return set(inventory.hosts)
    found = {host for host in inventory.hosts if fnmatchcase(host, term)}
    groups = [name for name in inventory.groups if fnmatchcase(name, term)]
    for name in groups:
        found.update(inventory.groups[name])
    if not found and not groups:
        known = (*inventory.hosts, *inventory.groups)
        hint = did_you_mean(term, known, "hosts and groups")
        raise UsageError(f"--limit: no host or group is named {quoted(term)}", hint)
    return found


def _names(inventory: Inventory) -> str:
    return did_you_mean("", (*inventory.hosts, *inventory.groups), "hosts and groups")
