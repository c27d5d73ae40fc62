"""Pings between containers for as long as something happens, ten each second."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.hosts import Hosts

Pair = tuple[str, str, str]
"""The host and the name of a container, and the address that it pings."""

_START = (
    "nsenter -t $(docker inspect -f '{{{{.State.Pid}}}}' {container}) -n "
    "ping -i 0.1 {address} >/run/pings-{address} 2>&1 & echo $!"
)
_END = "kill -INT {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.1; done; cat {file}; rm {file}"


@contextmanager
def pings(hosts: Hosts, pairs: tuple[Pair, ...]) -> Iterator[dict[Pair, list[int]]]:
    """The numbers of the pings of each pair that were lost; they are known at the end."""
    lost: dict[Pair, list[int]] = {}
    running: dict[Pair, str] = {}
    try:
        for pair in pairs:
            host, container, address = pair
            start = _START.format(container=container, address=address)
            running[pair] = hosts.ssh(host, start).strip()
        yield lost
    finally:
        for pair, pid in running.items():
            output = hosts.ssh(pair[0], _END.format(pid=pid, file=f"/run/pings-{pair[2]}"))
            answered = {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", output)}
            assert len(answered) > 20, output
            lost[pair] = sorted({*range(1, max(answered) + 1)} - answered)
