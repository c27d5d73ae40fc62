"""The shelf of network methods: one module each, found by its name (`-` in YAML is `_` here)."""

from __future__ import annotations

import pkgutil


def names() -> tuple[str, ...]:
    """Every method's name as YAML writes it, sorted."""
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__)))
