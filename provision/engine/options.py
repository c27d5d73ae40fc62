"""The options of a change: its strategy, its canary, and who confirms it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """The options of a change.

    `all_or_none`: a failure on one host rolls back all hosts. `canary`: the host that is changed
    first, alone. `group_size`: so many hosts are changed at a time, in the order of the inventory,
    each group in a transaction of its own; None for all at once. `max_failures`: the next group is
    changed while at most so many hosts have failed. `window_s`: seconds that hosts wait for the
    confirmation. `manual`: a person gives it. `take_over`: also change what a file of another
    folder or machine has made. `restart_docker`: restart Docker where only that brings its firewall
    rules back.
    """

    destroy: bool = False
    all_or_none: bool = True
    canary: str | None = None
    group_size: int | None = None
    max_failures: int = 0
    window_s: int = 90
    manual: bool = False
    take_over: bool = False
    restart_docker: bool = False

    def groups(self, hosts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """The groups of hosts that are changed one after the other, each in one transaction."""
        if self.canary is not None:
            yield (self.canary,)
            yield tuple(host for host in hosts if host != self.canary)
            return
        size = self.group_size or max(1, len(hosts))
        for first in range(0, len(hosts), size):
            yield hosts[first : first + size]

    @property
    def verb(self) -> str:
        """The command that makes such a change."""
        return "destroy" if self.destroy else "apply"
