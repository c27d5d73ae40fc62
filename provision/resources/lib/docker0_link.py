"""The link of a container to Docker's own default bridge, of which no resource is made. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from provision.resources.lib import bridge_state, default_bridge
from provision.resources.lib.bridge_state import BridgeLinks
from provision.resources.steps import Steps


@dataclass(frozen=True, slots=True)
class Docker0Link:
    """What the kernel lacks of the link, and how it is repaired.

    `address` is that of docker0 with its prefix length. `restarts` is True if only a start of the
    container makes its interface again.
    """

    container: str
    address: str
    subnet: IPv4Network
    lacks: str = ""
    restarts: bool = False

    def heal(self) -> Steps:
        """Make what is missing."""
        restarted = (self.container,) if self.restarts else ()
        if not self.lacks:
            return ()
        return (bridge_state.heal("docker0", "bridge", self.address, self.subnet, None, restarted),)

    def undo(self) -> Steps:
        """Take away what `heal` has made, as far as the fingerprint of docker0 has it."""
        return bridge_state.without_address(self.address, self.lacks)


class Docker0Links:
    """The links of the containers on docker0, from the lines of a probe.

    The lines are only read where a container is on docker0: most hosts have none.
    """

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        networks = json.loads(dict(lines).get("networks", "[]"))
        self._kernel = BridgeLinks.parse(lines) if default_bridge.is_docker0(networks) else None

    def of(self, entry: Mapping[str, Any]) -> Docker0Link | None:
        """The link of an inspected container; None where it cannot be compared."""
        endpoint = (entry["NetworkSettings"]["Networks"] or {}).get("bridge") or {}
        # The network itself has no gateway in Docker 20.10 before its first restart.
        gateway, length = endpoint.get("Gateway"), endpoint.get("IPPrefixLen")
        if self._kernel is None or not gateway or not length:
            return None
        bridge, container = IPv4Interface(f"{gateway}/{length}"), entry["Name"].removeprefix("/")
        state = self._kernel.bridge("docker0", "bridge", str(bridge), bridge.network, container)
        return Docker0Link(
            container, str(bridge), bridge.network, state.lacks, bool(state.restarted)
        )
