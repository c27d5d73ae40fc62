"""Why a plan replaces networks: another size of packets, which the hosts' NICs decide. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from provision.engine.plan import Change
from provision.facts.host import HostFacts
from provision.model.inventory import Inventory
from provision.resources.kinds.docker_network import DockerNetwork


def warnings(
    inventory: Inventory, facts: Mapping[str, HostFacts], changes: Iterable[Change]
) -> Iterator[str]:
    """Yield a line for each network whose packets change their size without a word in the file."""
    sizes: dict[str, tuple[int, int]] = {}
    for change in changes:
        before, after = change.before, change.after
        if not (isinstance(before, DockerNetwork) and isinstance(after, DockerNetwork)):
            continue
        if before.mtu != after.mtu:
            sizes.setdefault(change.ref.name, (before.mtu, after.mtu))
    for name, (old, new) in sizes.items():
        network = inventory.networks.get(name)
        if network is None or network.mtu is not None:
            continue
        links = [
            (link.mtu, host, link.name)
            for host in network.hosts
            if host in facts and (link := facts[host].link_with(inventory.hosts[host].address))
        ]
        for mtu, host, nic in sorted(links)[:1]:
            yield (
                f"network '{name}': the MTU of its containers changes from {old} to {new}, since "
                f"{nic} of {host} has MTU {mtu}, the smallest of its hosts"
            )
