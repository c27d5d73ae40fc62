"""What a check needs of a host before it can be judged: fail or skip the check without it."""

from __future__ import annotations

import pytest

from provision.checks.gather import Evidence


def require_finished(evidence: Evidence, host: str) -> None:
    """The host has run all rounds of the checks."""
    require_reached(evidence, host)
    require_tools(evidence, host)
    if host not in evidence.after:
        pytest.fail(f"{host} gave no answer")


def require_reached(evidence: Evidence, host: str) -> None:
    """The host has answered without an error."""
    if host in evidence.errors:
        pytest.fail(str(evidence.errors[host]))


def require_docker(evidence: Evidence, host: str) -> None:
    """The host's Docker has told what containers it has."""
    facts = evidence.facts.get(host)
    if facts is not None and not facts.docker:
        pytest.fail(f"the containers of {host} cannot be seen: dockerd does not answer")


def require_tools(evidence: Evidence, host: str) -> None:
    """The host has the tools of the checks."""
    if host in evidence.missing_tools:
        pytest.skip(f"{host} lacks {', '.join(evidence.missing_tools[host])}")
