"""The state of one change that is made under the guards of its hosts.

`arming`, `acting` and `ending` carry the change out. They take the changes from the plan, and
report a host's state only by the record on that host.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from provision.engine.applied_from import records
from provision.engine.fleet import Session, each
from provision.engine.guard import TransactionStep, Txn
from provision.engine.journal import Journal
from provision.engine.outcome import Outcome
from provision.engine.plan import Operation, Wave
from provision.engine.report import ChangeResult
from provision.engine.status import current_user
from provision.engine.undo import drop_stash, undo
from provision.model.errors import HostError
from provision.transport.base import Output

WAVE_S = 180.0
"""Seconds that a host has for its steps of one wave, unless some of them may take longer."""

T = TypeVar("T")


@dataclass
class Transaction:
    """One change on some hosts.

    `window_s`: seconds that a host waits for the confirmation before it rolls back. `outcomes`:
    the end of the change on each host, or `pending`.
    """

    session: Session
    verb: str
    window_s: int
    txn: Txn = field(init=False)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    results: list[ChangeResult] = field(default_factory=list)
    errors: list[HostError] = field(default_factory=list)
    armed: list[str] = field(default_factory=list)
    told_to_confirm: set[str] = field(default_factory=set)
    """Hosts to which a confirmation was sent; an interruption may have stopped it."""
    sent_parts: Counter[str] = field(default_factory=Counter)
    """The number of parts of the change that each host has been sent."""

    def __post_init__(self) -> None:
        inventory = self.session.inventory
        # The id is public: it names files and units on hosts. The token stays here until the end.
        self.txn = Txn(
            secrets.token_hex(8), secrets.token_hex(16), current_user(), inventory.name, self.verb
        )
        self.journal = Journal(inventory.path, self.txn.id)
        self._deadlines: dict[str, float] = {}
        self._origins = {} if self.verb == "destroy" else records(inventory)

    def set_deadline(self, host: str, seconds: float) -> None:
        """Note that a host rolls back in `seconds`, by the controller's monotonic clock."""
        self._deadlines[host] = time.monotonic() + seconds

    def remaining_s(self, host: str) -> float:
        """Seconds until the host rolls back; negative once it should have."""
        return self._deadlines.get(host, 0) - time.monotonic()

    def budget_s(self, wave: Wave) -> int:
        """Seconds that each host has for its steps of a wave."""
        takes_long = any(
            operation.change.after is not None and operation.change.after.takes_long
            for operations in wave.values()
            for operation in operations
        )
        timeout_s = self.session.timeout_s
        return int(timeout_s if takes_long else min(timeout_s, WAVE_S))

    def origin(self, host: str) -> str:
        """The record of the inventory file that the host is to keep; empty for none."""
        return self._origins.get(host, "")

    def step(
        self, operations: tuple[Operation, ...], *, permanent: bool = False
    ) -> TransactionStep:
        """The scripts that roll these operations back, or drop their stash."""
        txn = self.txn.id
        return TransactionStep(
            undo(operations, txn=txn), drop_stash(operations, txn=txn), permanent
        )

    def run(self, host: str, script: str, timeout_s: float) -> Output:
        """Run a script on a host, within the session's timeout."""
        limit_s = min(timeout_s, self.session.timeout_s)
        return self.session.transport.run(host, script, timeout_s=limit_s)

    def each(
        self, hosts: Iterable[str], work: Callable[[str], T], *, label: str = "Asking hosts"
    ) -> tuple[dict[str, T], dict[str, HostError]]:
        """`work` on every host at once: its results, and the errors of hosts where it failed."""
        return each(self.session, hosts, work, label=label)


def tail(text: str) -> str:
    """The end of a host's output, for an error message."""
    return text.strip()[-500:] or "no output"
