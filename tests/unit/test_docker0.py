"""The steps that edit daemon.json."""

from __future__ import annotations

from provision.resources.kinds.docker0 import DAEMON_JSON, Docker0
from provision.resources.steps import Run


def test_a_daemon_json_that_somebody_removed_stays_removed() -> None:
    """Destroy used to leave `{}` in its place."""
    removed = Docker0("h1", (), (), "demo", text=None, original_text='{"log-level": "warn"}')
    last = [step for step in removed.delete() if isinstance(step, Run) and DAEMON_JSON in step.argv]
    assert last[-1].stdin is None and "rm -f" in last[-1].argv[2]
