"""How versions of Docker let other hosts reach containers, and what they then cannot do. Pure.

Since version 28, Docker drops packets from other hosts to a container in the raw table, before any
chain that users may fill (docs.docker.com/engine/network/packet-filtering-firewalls).
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.facts.host import HostFacts
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.resources.kinds.lan_bridge import LanBridge
from provision.resources.lib.network_options import GATEWAY_MODE, TRUSTED


def trusts_interfaces(facts: HostFacts) -> bool:
    """True for a Docker that can be told the interfaces of the other hosts."""
    return facts.docker >= (28, 2)


def reachable(facts: HostFacts, nics: tuple[str, ...]) -> dict[str, str]:
    """Options that let other hosts reach containers.

    On a single layer 2 such packets arrive at a port of the bridge, which Docker lets pass.
    """
    if trusts_interfaces(facts):
        # With br_netfilter, what goes to the host's veth passes the raw table at its bridge before.
        bridges = [facts.port_nics[nic].bridge for nic in nics if nic in facts.port_nics]
        below = {bridge.name for bridge in bridges if bridge.kind == LanBridge.kind}
        return {TRUSTED: ":".join(sorted({*nics, *below}))}
    return {GATEWAY_MODE: "routed"} if facts.docker >= (28, 0) else {}


def problems(
    inventory: Inventory, network: Network, facts: HostFacts, *, docker0: bool, single_l2: bool
) -> Iterator[Problem]:
    """Yield what Docker 28.0 and 28.1 cannot do; `docker0`: the network is on that bridge."""
    if facts.docker < (28, 0) or trusts_interfaces(facts):
        return
    if docker0:
        yield Problem(
            facts.host,
            "Docker 28.0 and 28.1 drop packets from other hosts to containers on docker0",
            "use Docker 28.2 or newer, or leave out `bridge: docker0`",
        )
    elif not single_l2:
        yield from _unpublished(inventory, network, facts.host)


def _unpublished(inventory: Inventory, network: Network, host: str) -> Iterator[Problem]:
    """Yield containers with ports: the mode `routed` takes no port of the host for them."""
    containers = inventory.containers.values()
    publishing = [c for c in containers if (c.network, c.host) == (network.name, host) and c.ports]
    if publishing:
        names = ", ".join(container.name for container in publishing)
        yield Problem(
            host,
            f"Docker 28.0 and 28.1 publish no ports on network {network.name}, which lets other "
            f"hosts reach its containers (gateway mode routed): {names}",
            f"use Docker 28.2 or newer, or take `ports` out of {names}",
        )
