"""The verdicts of `provision verify --json` on hosts, networks and containers. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from provision.model.errors import UsageError

OK, FAILED = "ok", "failed"
SIZE_LIMIT = 256 << 20
"""The largest file in bytes that is read."""
_KINDS = (
    "docker_network", "lan_bridge", "lan_bridge_ovs", "ovs_bridge", "ovs_tunnel", "ovs_uplink",
    "vxlan", "route",
)  # fmt: skip
"""Kinds of resources whose names are those of bridges, tunnels and routes in a drawing."""
DriftKey = tuple[str, str, str]
"""Host, kind and name of a resource that drifted."""
_HOST, _CONTAINER = "host", "container"
Subject = tuple[str, str]
"""`host` or `container`, and the name: a container may have that of a host."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hosts and containers whose checks passed or failed, and the resources in drift.

    Every method returns `ok`, `failed`, or an empty string if no check was about its subject.
    """

    passed: frozenset[Subject]
    failed: frozenset[Subject]
    drift: frozenset[DriftKey]

    def container(self, host: str, name: str) -> str:
        """The verdict on a container: its checks, and whether it drifted."""
        kinds = ("container", "guest", "shared_namespace")
        if any((host, kind, name) in self.drift for kind in kinds):
            return FAILED
        of_host = (key[2] for key in self.drift if key[:2] == (host, "connection"))
        if any(connection.partition("/")[0] == name for connection in of_host):
            return FAILED
        return self._checked((_CONTAINER, name))

    def resource(self, host: str, *names: str) -> str:
        """The verdict on a bridge, tunnel or route of a host: `failed` if one of them drifted."""
        drift = ((host, kind, name) in self.drift for kind in _KINDS for name in names)
        return FAILED if any(drift) else ""

    def host(self, name: str) -> str:
        """The verdict on a host: `failed` if anything on it drifted, or it did not answer."""
        if any(host == name for host, _, _ in self.drift):
            return FAILED
        return self._checked((_HOST, name))

    def _checked(self, subject: Subject) -> str:
        return FAILED if subject in self.failed else OK if subject in self.passed else ""


UNCHECKED = Verdict(frozenset(), frozenset(), frozenset())


def read(text: str, source: str) -> Verdict:
    """The verdict in the output of `verify --json`; `source` names its file in the error.

    Raises UsageError for any other text.
    """
    # RecursionError: Python's decoder recurses for each level of nesting.
    try:
        result = json.loads(text)
        subjects = list(_subjects(result))
        drift = frozenset(
            (change["host"], change["kind"], change["name"]) for change in result["drift"]
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{source} is not the output of verify --json",
            "write it by: provision verify INVENTORY --json > FILE",
        ) from error
    return Verdict(
        frozenset(subject for subject, ok in subjects if ok),
        frozenset(subject for subject, ok in subjects if not ok),
        drift,
    )


def _subjects(result: dict[str, Any]) -> Iterator[tuple[Subject, bool]]:
    """Each host or container that was checked, and True if the check passed."""
    for check in result["checks"]:
        if check["skipped"] is None:
            for end in ("from", "to"):
                for kind in _kinds(check, end):
                    yield (kind, str(check[end])), bool(check["ok"])
    for error in result.get("errors", ()):
        if error.get("host"):
            yield (_HOST, str(error["host"])), False


def _kinds(check: dict[str, Any], end: str) -> tuple[str, ...]:
    """What an end of a check may be: earlier versions did not write `host_ends`."""
    if "host_ends" not in check:
        return (_HOST, _CONTAINER)
    return (_HOST,) if end in check["host_ends"] else (_CONTAINER,)
