"""What each check is about: hosts, containers, ports, ordered pairs; and how a report names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provision.checks import ports
from provision.checks.gather import Evidence, pairs
from provision.methods.flannel import leases as overlay


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
    sharers = [c for c in containers if c.namespace_owner]
    loners = [c for c in containers if c.network == "none" and not c.interfaces]
    published = [(c, port) for c in containers for port in c.ports]
    publications = list(ports.publications(seen.inventory, seen.hosts))
    overlaid = [(host, n) for host in seen.hosts for n in overlay.networks(seen.inventory, host)]
    every = pairs(seen.inventory, containers)
    joined = [pair for pair in every if pair[0].network in seen.inventory.networks]
    words = {"reach": ("reach", "router"), "direct": ("reach",), "own": ("own",)}
    lan = {
        name: [one for one in seen.questions if one.word in kinds]
        for name, kinds in (words | {"apart": ("apart",)}).items()
    }
    moved = [host for host in seen.hosts if host in seen.lost]
    return {
        **{
            name: (each, [f"{w.source.name}-{w.target}" for w in each])
            for name, each in lan.items()
        },
        "moved": (moved, moved),
        "on": (seen.hosts, seen.hosts),
        "overlaid": (overlaid, [f"{host}-{network.name}" for host, network in overlaid]),
        "container": (containers, [c.name for c in containers]),
        "sharer": (sharers, [c.name for c in sharers]),
        "loner": (loners, [c.name for c in loners]),
        "published": (published, [f"{c.name}-{port}" for c, port in published]),
        "publication": (
            publications,
            [f"{one.source}-{one.target.name}-{one.port}" for one in publications],
        ),
        "pair": (every, [f"{source.name}-{target.name}" for source, target in every]),
        "joined": (joined, [f"{source.name}-{target.name}" for source, target in joined]),
    }


def about(check: str, given: Mapping[str, Any]) -> Check:
    """The check of one subject, not judged yet."""
    (subject, value) = next((name, value) for name, value in given.items())
    match subject:
        case "reach" | "direct" | "own" | "apart":
            return Check(check, value.source.name, value.target)
        case "on" | "moved":
            return Check(check, value, value)
        case "overlaid":
            return Check(check, value[0], value[0])
        case "sharer":
            return Check(check, value.name, value.namespace_owner)
        case "published":
            container, port = value
            return Check(check, container.host, container.name, str(port))
        case "publication":
            return Check(check, value.source, value.target.name, str(value.port))
        case "pair" | "joined":
            return Check(check, value[0].name, value[1].name)
        case _:
            return Check(check, value.name, value.name)
