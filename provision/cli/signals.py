"""Signals that interrupt a run: Ctrl-C, SIGTERM and the loss of the terminal are one."""

from __future__ import annotations

import os
import signal
import time

from provision.model.errors import ExitStatus

REPEAT_S = 0.25
"""Seconds within which another signal is the same interruption."""
HANGUP_S = 5.0
"""The same for two SIGHUPs: a shell that loses its terminal sends one to its jobs, the kernel
another one, and nobody is there to mean the second."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LAST = b"Ended at once. `provision status INVENTORY` shows what the hosts do\n"


class _Interrupter:
    """Raises KeyboardInterrupt for the first interruption and for the second; then ends."""

    def __init__(self) -> None:
        self.count = 0
        self.number, self.at = 0, 0.0

    def handle(self, number: int, _frame: object) -> None:
        """Interrupt the main thread, which may wait for threads in calls."""
        now = time.monotonic()
        hangups = number == self.number == signal.SIGHUP
        if self.count and now - self.at < (HANGUP_S if hangups else REPEAT_S):
            return
        self.count, self.number, self.at = self.count + 1, number, now
        if self.count > 2:
            _exit_at_once()
        raise KeyboardInterrupt


def _exit_at_once() -> None:
    # The first interruption rolls back and the second leaves that to the hosts, so that only
    # output is left, which may be stuck.
    try:
        os.set_blocking(2, False)
        os.write(2, _LAST)
    except OSError:
        pass
    os._exit(ExitStatus.INTERRUPTED)


def install() -> None:
    """Handle the signals of interruptions."""
    interrupter = _Interrupter()
    for number in _SIGNALS:
        # A signal that is ignored stays ignored: `nohup` ignores SIGHUP for its command, and a
        # shell SIGINT for one in the background.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupter.handle)
