"""The services of a Compose file as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from provision.inventory.yaml_reader import Node
from provision.model.findings import Loc, Position


@dataclass(slots=True)
class Dependency:
    """A service that starts before another one, by `condition` of Compose."""

    service: str
    condition: str
    node: Node


@dataclass(slots=True)
class ComposeService:
    """A service: `keys` are those of an entry of `containers`, without host and network.

    `positions` are those of the keys and the entries below them; `hosts` are those of its
    `x-provision`, `replicas` is None where the file has none.
    """

    name: str
    key: Node
    keys: dict[str, Any] = field(default_factory=dict)
    positions: dict[Loc, Position] = field(default_factory=dict)
    hosts: list[tuple[str, Node]] = field(default_factory=list)
    replicas: int | None = None
    container_name: Node | None = None
    network_mode: Node | None = None
    networks: list[Node] = field(default_factory=list)
    depends_on: list[Dependency] = field(default_factory=list)
    profiles: bool = False
