"""The registry of resource kinds: every Resource class that a module here defines is a kind."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType

from provision.resources.base import Resource


@cache
def all_kinds() -> tuple[type[Resource], ...]:
    """Every kind, sorted by its name."""
    modules = [import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    classes = [kind for module in modules for kind in _defined_in(module)]
    return tuple(sorted(classes, key=lambda kind: kind.kind))


def _defined_in(module: ModuleType) -> list[type[Resource]]:
    """The kinds that a module defines; those that it imports belong to other modules."""
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    return [
        value
        for value in classes
        if issubclass(value, Resource) and value.__module__ == module.__name__
    ]
