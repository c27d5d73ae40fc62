"""The checks themselves; pytest runs them once for each host or ordered pair of containers."""

from __future__ import annotations

import pytest

from provision.checks.gather import Evidence
from provision.inventory import Container


def test_drift(seen: Evidence, on: str) -> None:
    """The host is as the inventory says."""
    if on in seen.errors:
        pytest.fail(str(seen.errors[on]))
    changes = [f"{c.verb} {c.ref.kind} {c.ref.name}" for c in seen.drift[on]]
    assert not changes, "differs: " + "; ".join(changes)


def test_ping(seen: Evidence, pair: tuple[Container, Container]) -> None:
    """Every packet to the container's own address is answered."""
    _answered(seen, "ping", pair)


def test_source(seen: Evidence, pair: tuple[Container, Container]) -> None:
    """The far side sees the container's own address: nothing on the way translates it."""
    answer = _answered(seen, "tcp", pair)
    own = str(seen.endpoints[pair[0].name].address)
    assert answer == f"same {own}", f"{pair[1].name} saw {answer.removeprefix('same ')}, not {own}"


def test_mtu(seen: Evidence, pair: tuple[Container, Container]) -> None:
    """A packet of exactly the network's MTU passes without being split."""
    _answered(seen, "mtu", pair)


def test_tcp(seen: Evidence, pair: tuple[Container, Container]) -> None:
    """What is sent comes back unchanged."""
    assert _answered(seen, "tcp", pair).startswith("same ")


def _answered(seen: Evidence, check: str, pair: tuple[Container, Container]) -> str:
    source, target = pair
    for container in pair:
        if container.host in seen.errors:
            pytest.fail(str(seen.errors[container.host]))
        if container.name not in seen.endpoints:
            pytest.fail(f"container {container.name} does not run on {container.host}")
    if source.host in seen.absent:
        pytest.skip(f"{source.host} lacks {', '.join(seen.absent[source.host])}")
    if check == "tcp" and target.host in seen.absent:
        pytest.skip(f"{target.host} lacks {', '.join(seen.absent[target.host])}")
    answer = seen.answers.get((check, source.name, target.name))
    if answer is None:
        pytest.fail(f"{source.host} gave no answer")
    if answer.status:
        pytest.fail(answer.text or f"exit status {answer.status}")
    return answer.text
