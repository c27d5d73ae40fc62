"""Limits of the programs that check: they grow with the number of peers of one source. Pure."""

from __future__ import annotations

from dataclasses import dataclass

USUAL_FILES = 1024
"""Open files that a process may have on most hosts, unless it asks for more."""
_SPARE_FILES = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for sources that each open connections to at most `peers` others at once."""

    peers: int

    @property
    def _more_s(self) -> int:
        return self.peers // 20

    @property
    def call_s(self) -> int:
        """Seconds for all connections of one source, their bytes and their return."""
        return 10 + self._more_s

    @property
    def round_s(self) -> int:
        """Seconds for one round of checks on one host."""
        return 120 + 4 * self._more_s

    @property
    def listen_s(self) -> int:
        """Seconds after which listeners and sniffers end, whatever becomes of the controller."""
        return 180 + 8 * self._more_s

    @property
    def files(self) -> str:
        """Shell text by which the processes of a script may open a socket to each peer."""
        files = self.peers + _SPARE_FILES
        if files <= USUAL_FILES:
            return ":"
        # POSIX has no -n, but dash and bash do. If the limit stays, sockets fail and say so.
        return f"# shellcheck disable=SC3045\nulimit -n {files} 2>/dev/null || :"
