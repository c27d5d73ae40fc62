"""Rules for `depends_on`: containers of one host that start in order. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from provision.model.documents import Decoded
from provision.model.findings import Finding, Loc
from provision.model.suggest import did_you_mean
from provision.model.text import quoted

_MOST_CIRCLES = 100
"""Each search looks at all containers."""


def findings(decoded: Decoded) -> Iterator[Finding]:
    """Yield the findings about all `depends_on`."""
    declared = frozenset(decoded.declared["containers"])
    for name, container in decoded.containers.items():
        for k, before in enumerate(container.depends_on):
            loc: Loc = ("containers", name, "depends_on", k)
            predecessor = decoded.containers.get(before)
            if before not in declared:
                hint = did_you_mean(before, decoded.declared["containers"], "containers")
                yield Finding(loc, f"unknown container {quoted(before)}", hint)
            elif predecessor is not None and predecessor.host != container.host:
                message = (
                    f"container '{before}' is on {predecessor.host}, and a host starts its"
                    " containers without waiting for others"
                )
                hosts = frozenset((predecessor.host, container.host))
                hint = "remove it, or name a container of the same host"
                yield Finding(loc, message, hint, hosts=hosts)
    yield from _cycles(decoded)


def _cycles(decoded: Decoded) -> Iterator[Finding]:
    graph = {name: _predecessors(name, decoded) for name in decoded.containers}
    order = {name: k for k, name in enumerate(decoded.containers)}
    for _ in range(_MOST_CIRCLES):
        if not (circle := cycle(graph)):
            return
        # From the container that the file has first.
        start = circle.index(min(circle, key=order.__getitem__))
        names = [*circle[start:], *circle[: start + 1]]
        key = "depends_on" if decoded.containers[names[0]].depends_on else "network"
        loc = ("containers", names[0], key)
        yield Finding(loc, f"containers wait for each other: {' → '.join(names)}", "remove one")
        graph = {name: before for name, before in graph.items() if name not in circle}


def _predecessors(name: str, decoded: Decoded) -> list[str]:
    """The containers that are created before a container."""
    container = decoded.containers[name]
    mode, _, owner = container.network.partition(":")
    names = [*container.depends_on, *([owner] if mode == "container" and owner != name else [])]
    return [before for before in names if before in decoded.containers]


def cycle(graph: Mapping[str, list[str]]) -> list[str]:
    """The names of a circle, each before those that it waits for; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        nodes: list[str] = error.args[1]
        return nodes[:0:-1]
    return []
