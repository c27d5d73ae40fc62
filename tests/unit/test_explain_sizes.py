"""The size of the large probe by which `explain` finds an MTU that is too small."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from provision.checks.explain.mtu import largest


def link(mtu: int | None) -> SimpleNamespace | None:
    """An interface with this MTU; None: there is no such interface."""
    return None if mtu is None else SimpleNamespace(mtu=mtu)


def end(own: int | None, first: int | None) -> SimpleNamespace:
    """An end whose container's interface has the MTU `own`; on its host, every device `first`."""
    root = SimpleNamespace(link=lambda _name: link(first))
    return SimpleNamespace(link=link(own), bridge="br", topology=SimpleNamespace(root=root))


@pytest.mark.parametrize(
    ("source", "target", "size"),
    [
        (end(1500, 1500), end(1500, 1500), 1500),
        # Between containers, a bridge that is smaller is a fault to be found.
        (end(1500, 1500), end(1500, 1400), 1500),
        # A host that reaches the containers of a tunnel learns their size by ICMP.
        (end(None, 1500), end(1462, 1462), 1462),
        (end(None, 1500), end(None, 1400), 1500),
        (end(None, 1500), None, 1500),
        (end(None, None), end(1462, 1462), 0),
        (end(65536, 1500), end(65536, 1500), 9000),
    ],
)
def test_the_large_probe_fills_a_packet_of_the_source(
    source: SimpleNamespace, target: SimpleNamespace | None, size: int
) -> None:
    """At most 9000 bytes; 0 if the interface is unknown."""
    points = [SimpleNamespace(device="eth1")]
    case: Any = SimpleNamespace(source_side=source, target_side=target, points=points)
    assert largest(case) == size
