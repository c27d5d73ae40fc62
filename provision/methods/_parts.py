"""Values of the contract of a method: facts, rows of tables, clashes and checks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from provision.facts.host import HostFacts
from provision.model.inventory import Inventory, Network

Row = tuple[str, ...]
Facts = Mapping[str, HostFacts]
"""The facts of the hosts that answered, by host."""


@dataclass(frozen=True, slots=True)
class ClashKey:
    """A resource of a host that two networks must not both use, such as a port or a VNI.

    `option`: the path of the key that chooses it; `use`: the predicate of the message, such as
    "use UDP port 4789". Networks with the same `driver` can share it; empty: none can.
    """

    resource: tuple[object, ...]
    option: tuple[str, ...]
    use: str
    hint: str
    driver: str = ""


@dataclass(frozen=True, slots=True)
class HostCheck:
    """A check of `verify`, judged for each network of a method on each of its hosts.

    `name` is its name in reports, and what `-k` matches: a word in lower case. `error` returns what
    is wrong, or an empty text. Its last argument is the method's status of the host. `applies`
    tells which networks of the method have the check.
    """

    name: str
    error: Callable[[Inventory, Network, HostFacts, Any], str]
    applies: Callable[[Network], bool] = lambda _: True
