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


@dataclass(frozen=True, slots=True)
class Verdict:
    """Names of hosts and containers whose checks passed or failed, and the resources in drift.

    Every method returns `ok`, `failed`, or an empty string if no check was about its subject.
    """

    passed: frozenset[str]
    failed: frozenset[str]
    drift: frozenset[DriftKey]

    def container(self, host: str, name: str) -> str:
        """The verdict on a container: its checks, and whether it drifted."""
        kinds = ("container", "guest", "shared_namespace")
        if name in self.failed or any((host, kind, name) in self.drift for kind in kinds):
            return FAILED
        of_host = (key[2] for key in self.drift if key[:2] == (host, "connection"))
        if any(connection.partition("/")[0] == name for connection in of_host):
            return FAILED
        return OK if name in self.passed else ""

    def resource(self, host: str, *names: str) -> str:
        """The verdict on a bridge, tunnel or route of a host: `failed` if one of them drifted."""
        drift = ((host, kind, name) in self.drift for kind in _KINDS for name in names)
        return FAILED if any(drift) else ""

    def host(self, name: str) -> str:
        """The verdict on a host: `failed` if anything on it drifted, or it did not answer."""
        if name in self.failed or any(host == name for host, _, _ in self.drift):
            return FAILED
        return OK if name in self.passed else ""


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
        frozenset(name for name, ok in subjects if ok),
        frozenset(name for name, ok in subjects if not ok),
        drift,
    )


def _subjects(result: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """The name of each host or container that was checked, and True if the check passed."""
    for check in result["checks"]:
        if check["skipped"] is None:
            for name in {str(check["from"]), str(check["to"])}:
                yield name, bool(check["ok"])
    for error in result.get("errors", ()):
        if error.get("host"):
            yield str(error["host"]), False
