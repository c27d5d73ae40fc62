"""Problems of a host whose settings take a network's packets, links or answers away. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.facts.host import HostFacts
from provision.methods._shared.docker_bridge import bridge_name
from provision.model.inventory import Inventory, Network
from provision.model.needs import Need, Transit
from provision.model.problems import Problem


def policy_problems(
    inventory: Inventory, network: Network, facts: HostFacts, needs: Iterable[Need]
) -> Iterator[Problem]:
    """Yield the rules of the host's `ip rule` that take the network's packets from their routes."""
    if not facts.policy.rules:
        return
    links = sorted({need.nic for need in needs if isinstance(need, Transit)})
    bridge, own = bridge_name(inventory, network), network.subnets[facts.host]
    priorities: set[int] = set()
    for peer, subnet in network.subnets.items():
        directions = [(own, subnet, bridge), *((subnet, own, link) for link in links)]
        for direction in directions:
            diversion = facts.policy.diversion(*direction, within=network.cidr)
            if peer == facts.host or diversion is None or diversion[0] in priorities:
                continue
            priority, destination = diversion
            priorities.add(priority)
            yield Problem(
                facts.host,
                f"rule {priority} of `ip rule` takes packets of network {network.name} from the "
                f"main table: {destination}",
                f"run `ip rule del priority {priority}` on {facts.host}, or leave {network.cidr} "
                "out of that rule",
            )


def networkd_problems(
    inventory: Inventory, network: Network, facts: HostFacts, devices: tuple[str, ...]
) -> Iterator[Problem]:
    """Yield the file by which systemd-networkd manages the bridge, or one of a tunnel's `devices`.

    A catch-all file (`Name=*`) does. When networkd restarts, it takes away the addresses and the
    masters that it does not know.
    """
    bridge = bridge_name(inventory, network)
    losses = {bridge: "the bridge loses its address and its ports"}
    losses |= dict.fromkeys(devices, "the device loses its address and its routes")
    names = " ".join((*losses, "veth*"))
    for link in (link for link in losses if link in facts.networkd_files):
        yield Problem(
            facts.host,
            f"{facts.networkd_files[link]} makes systemd-networkd manage {link}: when networkd "
            f"restarts, {losses[link]}",
            f"let that file match the NICs only, or write `[Match]`, `Name={names}`, "
            "`[Link]`, `Unmanaged=yes` to /etc/systemd/network/01-unmanaged.network, and run "
            "`networkctl reload`",
        )
