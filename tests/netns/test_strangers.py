"""What a stranger makes between a snapshot and the change survives the change, kind by kind."""

from __future__ import annotations

import pytest

from provision.resources.script import PRELUDE
from tests.netns.test_kinds import Namespace, namespace
from tests.strangers import HOST, KERNEL, Stranger, assert_survives

pytestmark = pytest.mark.netns
__all__ = ["namespace"]


@pytest.mark.parametrize("stranger", KERNEL, ids=lambda stranger: str(stranger.resource.ref))
def test_what_a_stranger_made_survives(namespace: Namespace, stranger: Stranger) -> None:
    """Creation, removal, destroy and every rollback leave it."""

    def sh(text: str) -> str:
        return namespace.transport.run(HOST, PRELUDE + text, timeout_s=60).stdout

    assert_survives(sh, stranger)
