"""The routes that a daemon of provision makes, as the files of the daemon name them. Pure.

The comment at the head of a unit file or a program has the mark, and a line such as
`# routes 186,241 172.27.0.0/16`. Two files have it, so that one that somebody deletes can be
restored while the routes stand.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import takewhile
from typing import NamedTuple

from provision.model.ipv4 import ipv4_network
from provision.resources.on_hosts import UNMARKED, Mark

_ROUTES, _MARK = "# routes ", "# provision:"


class DaemonRange(NamedTuple):
    """Routes with one of the kernel's protocol numbers `protocols` into the range `cidr`."""

    mark: Mark
    protocols: tuple[int, ...]
    cidr: IPv4Network


def daemon_range(text: str) -> DaemonRange | None:
    """The routes that a file names; None without any, and where somebody has edited the line."""
    mark, routes = UNMARKED, None
    for line in takewhile(lambda line: line.startswith("#"), text.split("\n", 20)[:20]):
        if line.startswith(_MARK) and mark == UNMARKED:
            mark = Mark.of_tag(line.removeprefix("# "))
        elif line.startswith(_ROUTES):
            numbers, _, cidr = line.removeprefix(_ROUTES).partition(" ")
            try:
                routes = (tuple(map(int, numbers.split(","))), ipv4_network(cidr))
            except ValueError:
                return None
    return DaemonRange(mark, *routes) if routes else None
