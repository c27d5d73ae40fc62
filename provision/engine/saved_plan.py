"""A plan in a file, and whether it is still the plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from provision.engine.plan import Change
from provision.engine.report import Report, change_json, plan_json
from provision.model.errors import StalePlanError, UsageError
from provision.model.fields.files import read_regular

LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """Where a plan came from, and a digest of the changes of each host that it was about."""

    inventory: Path
    limit: str | None
    digests: Mapping[str, str]


def save(path: Path, inventory: Path, limit: str | None, found: Report) -> None:
    """Write a plan without conflicts or errors."""
    changes = [done.change for done in found.results]
    shape = {
        "inventory": str(inventory.resolve()),
        "limit": limit,
        "digests": _digests(found.hosts, changes),
        "plan": plan_json(found),
    }
    path.write_text(json.dumps(shape, indent=2) + "\n")


def read(path: Path) -> SavedPlan:
    """The plan of a file. Raises UsageError."""
    try:
        shape = json.loads(read_regular(path, LARGEST))
        digests = {str(host): str(digest) for host, digest in shape["digests"].items()}
        return SavedPlan(Path(shape["inventory"]), shape["limit"], digests)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no saved plan: {error}", "make one: plan -o FILE") from error


def still_true(saved: SavedPlan, changes: Iterable[Change]) -> None:
    """Raises StalePlanError when what is to be done now is not what was saved."""
    now = _digests(saved.digests, changes)
    stale = [
        f"{host}: the plan was made from another state ({saved.digests.get(host, 'none')} then, "
        f"{now[host]} now)"
        for host in now
        if now[host] != saved.digests.get(host)
    ]
    if stale:
        raise StalePlanError(
            "\n".join(stale), "the hosts or the inventory have changed: plan again"
        )


def _digests(hosts: Iterable[str], changes: Iterable[Change]) -> dict[str, str]:
    by_host: dict[str, list[str]] = {host: [] for host in hosts}
    for change in changes:
        by_host.setdefault(change.ref.host, []).append(json.dumps(change_json(change)))
    return {
        host: sha256("\n".join(texts).encode()).hexdigest()[:8] for host, texts in by_host.items()
    }
