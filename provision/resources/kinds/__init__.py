"""The registry of resource kinds: one module each; every Resource class in it is a kind."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from provision.resources.base import Resource


@cache
def all_kinds() -> tuple[type[Resource], ...]:
    """Every kind, sorted by its word."""
    found: list[type[Resource]] = []
    for module in pkgutil.iter_modules(__path__):
        room = import_module(f"{__name__}.{module.name}")
        found += [
            thing
            for thing in vars(room).values()
            if isinstance(thing, type)
            and issubclass(thing, Resource)
            and thing.__module__ == room.__name__
        ]
    return tuple(sorted(found, key=lambda kind: kind.kind))
