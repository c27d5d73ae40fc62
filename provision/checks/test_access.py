"""The checks of networks with `access`; pytest runs them once for each probe."""

from __future__ import annotations

import pytest

from provision.checks import access_probe
from provision.checks.access_probe import AccessProbe
from provision.checks.gather import Evidence
from provision.checks.require import require_docker, require_reached, require_tools
from provision.model.inventory import Container


def test_access(evidence: Evidence, allowed_host: AccessProbe) -> None:
    """A host that may reach the container does so by its own address: nothing hides it."""
    source, target = allowed_host.source, allowed_host.target
    require_reached(evidence, source)
    require_tools(evidence, source)
    _require_running(evidence, target)
    answer = evidence.answers.get(("access", source, target.name))
    if answer is None:
        pytest.fail(f"{source} gave no answer")
    assert not answer.status, answer.text
    address = answer.text.removeprefix("same ")
    held = {str(a.ip) for link in evidence.facts[source].links.values() for a in link.addresses}
    assert address in held, f"{target.name} saw {address} as source, which {source} does not have"


def test_refused(evidence: Evidence, stranger: AccessProbe) -> None:
    """The container's host drops packets from an address that `access` does not allow."""
    host = stranger.target.host
    require_reached(evidence, stranger.source)
    _require_running(evidence, stranger.target)
    address = evidence.endpoints[stranger.target.name].address
    source, capture = stranger.stranger, evidence.captures.get(host)
    assert address is not None and source is not None
    if reason := access_probe.skip_reason(capture, source, address):
        pytest.skip(f"{host}: {reason}")
    assert capture is not None
    devices = access_probe.passed_on(capture, source, address)
    text = ", ".join(devices)
    assert not devices, f"{host} passes on packets from {source} to {address} by {text}"


def _require_running(evidence: Evidence, container: Container) -> None:
    require_reached(evidence, container.host)
    require_docker(evidence, container.host)
    if container.name not in evidence.endpoints:
        pytest.fail(f"container {container.name} does not run on {container.host} with an address")
    require_tools(evidence, container.host)
