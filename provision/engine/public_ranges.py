"""What a plan says of networks with public addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.model.inventory import Inventory


def warnings(inventory: Inventory) -> Iterator[str]:
    """Yield a line for each network whose range the internet routes to somebody (RFC 6890)."""
    for network in inventory.networks.values():
        if network.cidr.is_global:
            yield (
                f"network '{network.name}': {network.cidr} has public addresses. Its hosts and "
                "containers no longer reach those of the internet: unless the range is yours, take "
                "one of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"
            )
