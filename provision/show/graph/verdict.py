"""The JSON of `provision verify --json` → what is well and what is not. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from provision.model.errors import UsageError

OK, FAILED = "ok", "failed"
Thing = tuple[str, str, str]
"""Host, kind and name, as a change names them; host is empty where a container is meant."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What checks passed and failed; what neither names was not checked."""

    passed: frozenset[str]
    failed: frozenset[str]
    drift: frozenset[Thing]

    def container(self, host: str, name: str) -> str:
        """`ok`, `failed` or, when no check was about it, nothing."""
        kinds = ("container", "shared_namespace")
        if name in self.failed or any((host, kind, name) in self.drift for kind in kinds):
            return FAILED
        return OK if name in self.passed else ""

    def network(self, host: str, name: str) -> str:
        """Docker's network on a host: `failed` when it drifted."""
        return FAILED if (host, "docker_network", name) in self.drift else ""

    def host(self, name: str) -> str:
        """A host: `failed` when anything on it drifted, or it could not be asked."""
        if name in self.failed or any(host == name for host, _, _ in self.drift):
            return FAILED
        return OK if name in self.passed else ""


UNCHECKED = Verdict(frozenset(), frozenset(), frozenset())


def read(text: str, where: str) -> Verdict:
    """Raises UsageError when it is not what `verify --json` prints."""
    try:
        found = json.loads(text)
        judged = list(_judged(found))
        drift = frozenset((one["host"], one["kind"], one["name"]) for one in found["drift"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{where} is not what verify found",
            "make it by: provision verify INVENTORY --json > FILE",
        ) from error
    return Verdict(
        frozenset(name for name, well in judged if well),
        frozenset(name for name, well in judged if not well),
        drift,
    )


def _judged(found: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    for check in found["checks"]:
        if check["skipped"] is None:
            for end in {str(check["from"]), str(check["to"])}:
                yield end, bool(check["ok"])
    for error in found.get("errors", ()):
        if error.get("host"):
            yield str(error["host"]), False
