"""Changes over slow and lossy lines to hosts with a kernel of their own."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from provision.lab import links, power
from provision.lab.line import Line
from tests.lab.faults import Faults
from tests.lab.own_kernels import SLOW, faults

pytestmark = [pytest.mark.lab, pytest.mark.kernel, pytest.mark.full, pytest.mark.timeout(7200)]
__all__ = ["faults"]

BAD = Line(delay_ms=300, loss_percent=2, rate_kbit=1000)
SSH = ("host0",)
SHORT = ("--confirm-window", "120", "--timeout", "600")
"""Of a change whose hosts wait for their deadline, as the line is cut: the test waits as well."""
ROLLED_BACK = (4, 5)
"""Exit statuses of a change that was not begun, or was undone on all hosts."""


@pytest.fixture(autouse=True)
def good_lines(faults: Faults) -> Iterator[None]:
    """The lines are good again before the hosts are cleaned up."""
    yield
    power.start(faults.hosts.lab, say=print)
    links.change(faults.hosts.lab, faults.hosts.names, Line())


def change(faults: Faults, *arguments: str) -> bool:
    """Run a change; True if it succeeded. One that did not was undone whole."""
    begin = time.monotonic()
    with faults.start(*arguments, *SLOW) as run:
        output, _ = run.communicate()
    print(f"{arguments[0]}: {time.monotonic() - begin:.0f} s, exit status {run.returncode}")
    assert run.returncode in (0, *ROLLED_BACK), output
    if run.returncode:
        assert not {"unknown", "pending"} & set(output.split()), output
        faults.assert_nothing_left()
    return run.returncode == 0


def until_changed(faults: Faults, *arguments: str) -> None:
    """Repeat a change until it succeeds, three times at most."""
    assert any(change(faults, *arguments) for _ in range(3))


def test_a_slow_and_lossy_line(faults: Faults) -> None:
    """Over 300 ms, 2 % of loss and 1 Mbit/s, each change succeeds or is undone whole."""
    inventory = faults.hosts.inventory("routes.yml")
    links.change(faults.hosts.lab, faults.hosts.names, BAD, SSH)
    if not change(faults, "apply", inventory):
        faults.assert_restored()
        until_changed(faults, "apply", inventory)
    faults.hosts.verified(inventory, within_s=600)
    until_changed(faults, "destroy", inventory, "--yes")
    faults.assert_restored()


@contextmanager
def flapping(faults: Faults, first_s: float, seconds: float) -> Iterator[threading.Event]:
    """The lines for SSH are cut after `first_s`, and then mended and cut in turn.

    The event is set once they have been cut.
    """
    hosts, ended, cut = faults.hosts, threading.Event(), threading.Event()

    def flap() -> None:
        lines = itertools.cycle((Line(loss_percent=100), Line()))
        pause = first_s
        while not ended.wait(pause):
            links.change(hosts.lab, hosts.names, next(lines), SSH)
            cut.set()
            pause = seconds

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        yield cut
    finally:
        ended.set()
        thread.join()
        links.change(hosts.lab, hosts.names, Line(), SSH)


def test_a_line_that_flaps(faults: Faults) -> None:
    """Cut for 20 s and back for 20 s: once the hosts have decided, each is old or new."""
    inventory = faults.hosts.inventory("routes.yml")
    with flapping(faults, 4, 20) as cut, faults.start("apply", inventory, *SHORT) as run:
        output, _ = run.communicate()
        assert cut.is_set(), f"the apply had ended before the first cut: {output}"
    faults.until(
        inventory,
        lambda states: all(
            state.startswith(("confirmed", "reverted", "unchanged")) for state in states.values()
        ),
        1800,
    )
    print(output[-1000:])
    states = faults.states(inventory)
    differences = faults.differences()
    changes = faults.hosts.json("plan", inventory)["changes"]
    for name, state in states.items():
        applied = not any(change["host"] == name for change in changes)
        assert applied if state == "confirmed" else not differences[name], (name, state, output)
    faults.assert_nothing_left()
    # A host that was never begun is `unchanged`, and as old as one that is `reverted`.
    agreed = len({state == "confirmed" for state in states.values()}) == 1
    assert run.returncode == 0 or agreed or run.returncode == 6, output
