"""The routes that a daemon of provision makes, as the files of the daemon name them. Pure.

The comment at the head of a unit file or a program has the mark, and a line such as
`# routes 186,241 172.27.0.0/16 10.200.0.0/16`, of which the first range is that of the network; a
further one, such as `# routers 10.78.0.1,10.78.0.2`, has the machines that the daemon talks to and
that are no hosts. Two files have them, so that one that
somebody deletes can be restored while the routes stand.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import takewhile
from typing import NamedTuple

from provision.model.ipv4 import ipv4_network
from provision.resources.on_hosts import UNMARKED, Mark

_ROUTES, _ROUTERS, _MARK = "# routes ", "# routers ", "# provision:"


class DaemonRange(NamedTuple):
    """Routes with one of the kernel's protocol numbers `protocols` into one of `ranges`.

    `routers` are the addresses of peers of the daemon that are no hosts.
    """

    mark: Mark
    protocols: tuple[int, ...]
    ranges: tuple[IPv4Network, ...]
    routers: tuple[str, ...] = ()


def daemon_range(text: str) -> DaemonRange | None:
    """The routes that a file names; None without any, and where somebody has edited the line."""
    mark, routes = UNMARKED, None
    routers: tuple[str, ...] = ()
    for line in takewhile(lambda line: line.startswith("#"), text.split("\n", 20)[:20]):
        if line.startswith(_MARK) and mark == UNMARKED:
            mark = Mark.of_tag(line.removeprefix("# "))
        elif line.startswith(_ROUTES):
            numbers, *ranges = line.removeprefix(_ROUTES).split(" ")
            try:
                routes = (tuple(map(int, numbers.split(","))), tuple(map(ipv4_network, ranges)))
            except ValueError:
                return None
        elif line.startswith(_ROUTERS):
            routers = tuple(line.removeprefix(_ROUTERS).split(","))
    return DaemonRange(mark, *routes, routers) if routes and routes[1] else None
