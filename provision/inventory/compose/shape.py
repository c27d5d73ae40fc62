"""The services of a Compose file as values. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from provision.inventory.yaml_reader import Node
from provision.model.findings import Loc, Position


@dataclass(slots=True)
class Dependency:
    """A service that starts before another one, by `condition` of Compose.

    One that is not `required` may be left out by its profiles.
    """

    service: str
    condition: str
    node: Node
    required: bool = True


@dataclass(frozen=True, slots=True)
class ServiceNetwork:
    """A network of the inventory that a service is on, and the position of its name there."""

    name: str
    position: Position
    address: tuple[Any, Position] | None = None


@dataclass(slots=True)
class ComposeService:
    """A service: `keys` are those of an entry of `containers`, without host and network.

    `positions` are those of the keys and the entries below them; `hosts` are those of its
    `x-provision`, `replicas` is None where the file has none. `addresses` and `macs` are those of
    `networks` that have one, by the name in the file; `joined` are these networks in the inventory.
    `is_misplaced`: there is a mistake in `x-provision`.
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
    addresses: dict[str, tuple[str, Node]] = field(default_factory=dict)
    macs: dict[str, tuple[str, Node]] = field(default_factory=dict)
    joined: list[ServiceNetwork] = field(default_factory=list)
    depends_on: list[Dependency] = field(default_factory=list)
    profiles: bool = False
    is_misplaced: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """An item of `compose`: the hosts of services and the network, with their positions.

    `positions` has ("hosts", SERVICE) and ("network",). `others` are all networks of the inventory.
    """

    hosts: Mapping[str, list[str]]
    network: str
    positions: Mapping[Loc, Position]
    others: Collection[str] = ()
