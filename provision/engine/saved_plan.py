"""A plan in a file, which `apply --plan` makes if the hosts have not changed since."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import scrypt, sha256
from pathlib import Path

from provision.engine.change_fields import hidden_values
from provision.engine.plan import Change
from provision.engine.report import Report, change_json, plan_json
from provision.model.errors import StalePlanError, UsageError
from provision.model.fields.files import read_regular

SIZE_LIMIT = 64 << 20
"""The largest file in bytes that is read as a plan."""


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """The inventory and the limit of a plan, and a digest of the changes of each of its hosts.

    `salt` and `secrets_digest`, both in hex, stand for the values that the plan hides.
    """

    inventory: Path
    limit: str | None
    digests: Mapping[str, str]
    salt: str = ""
    secrets_digest: str = ""


def text(inventory: Path, limit: str | None, report: Report) -> str:
    """The file of a plan without conflicts or errors."""
    changes = [result.change for result in report.results]
    salt = secrets.token_hex(16)
    shape = {
        "inventory": str(inventory.resolve()),
        "limit": limit,
        "digests": _digests(report.hosts, changes),
        "salt": salt,
        "secrets_digest": _secrets_digest(changes, salt),
        "plan": plan_json(report),
    }
    return json.dumps(shape, indent=2) + "\n"


def read(path: Path) -> SavedPlan:
    """Read a saved plan. Raises UsageError."""
    try:
        shape = json.loads(read_regular(path, SIZE_LIMIT))
        digests = {str(host): str(digest) for host, digest in shape["digests"].items()}
        limit = None if shape["limit"] is None else str(shape["limit"])
        salt, secrets_digest = str(shape.get("salt", "")), str(shape.get("secrets_digest", ""))
        bytes.fromhex(salt)
        return SavedPlan(Path(shape["inventory"]), limit, digests, salt, secrets_digest)
    # RecursionError: Python's decoder recurses for each level of nesting.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path} is not a saved plan: {error}", "save one by plan -o FILE"
        ) from error


def require_same(saved: SavedPlan, changes: Iterable[Change]) -> None:
    """Raises StalePlanError if `changes` are not those of the saved plan."""
    changes = tuple(changes)
    now = _digests(saved.digests, changes)
    stale = [
        f"{host}: its changes are not those of the plan ({saved.digests.get(host, 'none')} then, "
        f"{now[host]} now)"
        for host in now
        if now[host] != saved.digests.get(host)
    ]
    if not stale and _secrets_digest(changes, saved.salt) != saved.secrets_digest:
        stale = ["values of environment variables or passwords are not those of the plan"]
    if stale:
        raise StalePlanError(
            "\n".join(stale), "the host or the inventory has changed since: make a new plan"
        )


def _digests(hosts: Iterable[str], changes: Iterable[Change]) -> dict[str, str]:
    by_host: dict[str, list[str]] = {host: [] for host in hosts}
    for change in changes:
        by_host.setdefault(change.ref.host, []).append(json.dumps(change_json(change)))
    # 32 bits find a change by accident; who can write the file could replace the digest as well.
    return {
        host: sha256("\n".join(texts).encode()).hexdigest()[:8] for host, texts in by_host.items()
    }


def _secrets_digest(changes: Iterable[Change], salt: str) -> str:
    """A digest of the values that `change_json` hides; empty if there are none."""
    values = [(str(change.ref), hidden_values(change)) for change in changes]
    if not any(pairs for _, pairs in values):
        return ""
    # With a plain sha256, everybody who gets the file could try out short passwords.
    text = json.dumps(values).encode()
    return scrypt(text, salt=bytes.fromhex(salt), n=1 << 14, r=8, p=1).hex()
