"""Method `routes`: each host holds a part of the network; static routes lead to the other parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What YAML may say of a `routes` network, beside the keys of every network.

    bridge: `docker0` lets Docker's own default bridge take the host's part; None makes a
    Docker network of its own and restarts no daemon.
    """

    method: ClassVar[str] = "routes"
    bridge: Literal["docker0"] | None = None
