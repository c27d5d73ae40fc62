"""What each check is about: hosts, containers, ports, ordered pairs; and how a report names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provision.checks import ports
from provision.checks.gather import Evidence, pairs
from provision.inventory import Container


@dataclass(frozen=True, slots=True)
class Check:
    """One judged check; `source` and `target` are containers or hosts, `port` a published one."""

    check: str
    source: str
    target: str
    port: str | None = None
    ok: bool = False
    skipped: str | None = None
    detail: str = ""


Subjects = Mapping[str, tuple[Sequence[Any], Sequence[str]]]


def subjects(seen: Evidence) -> Subjects:
    """By the name of a check's argument, its values and their names."""
    containers = seen.containers
    sharers = [c for c in containers if c.shares]
    loners = [c for c in containers if c.network == "none"]
    published = [(c, port) for c in containers for port in c.ports]
    publications = list(ports.publications(seen.inventory, seen.hosts))
    every = pairs(seen.inventory, containers)
    joined = [pair for pair in every if pair[0].network in seen.inventory.networks]
    return {
        "on": (seen.hosts, seen.hosts),
        "container": (containers, [c.name for c in containers]),
        "sharer": (sharers, [c.name for c in sharers]),
        "loner": (loners, [c.name for c in loners]),
        "published": (published, [f"{c.name}-{port}" for c, port in published]),
        "publication": (
            publications,
            [f"{one.source}-{one.target.name}-{one.port}" for one in publications],
        ),
        "pair": (every, _names(every)),
        "joined": (joined, _names(joined)),
    }


def _names(pairs: list[tuple[Container, Container]]) -> list[str]:
    return [f"{source.name}-{target.name}" for source, target in pairs]


def about(check: str, given: Mapping[str, Any]) -> Check:
    """The check of one subject, not judged yet."""
    (subject, value) = next((name, value) for name, value in given.items())
    match subject:
        case "on":
            return Check(check, value, value)
        case "sharer":
            return Check(check, value.name, value.shares)
        case "published":
            container, port = value
            return Check(check, container.host, container.name, str(port))
        case "publication":
            return Check(check, value.source, value.target.name, str(value.port))
        case "pair" | "joined":
            return Check(check, value[0].name, value[1].name)
        case _:
            return Check(check, value.name, value.name)
