"""Every kind brings a stranger: what others make in its place survives (tests/strangers.py)."""

from __future__ import annotations

from provision.resources.kinds import all_kinds
from tests import strangers


def test_every_kind_that_is_ever_removed_has_a_stranger() -> None:
    """A new kind comes with something of others in its place, and a test that it survives."""
    known = (
        *strangers.KERNEL,
        *strangers.docker_strangers("image"),
        *strangers.ovs_strangers(),
        *strangers.etcd_strangers("demo", "over", "/p"),
    )
    removable = {kind.kind for kind in all_kinds() if not kind.permanent}
    assert {stranger.resource.kind for stranger in known} == removable
