"""Containers of others on Docker networks, which keep Docker from removing them. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from provision.resources.lib.docker_api import RUNNING
from provision.resources.on_hosts import Mark


def network_guests(
    containers: list[dict[str, Any]], connected: Collection[str], inventory: str, label: str
) -> dict[str, tuple[str, ...]]:
    """Running containers that `inventory` did not create, by network.

    Each is a name, and after it the other inventory whose container it is. `connected` are id and
    network of those that provision connected, and can disconnect.
    """
    guests: dict[str, list[str]] = {}
    for entry in containers:
        text = (entry["Labels"] or {}).get(label)
        owner = "" if text is None else Mark.parse(text).inventory
        if entry["State"] not in RUNNING or (text is not None and owner in ("", inventory)):
            continue
        name = min(entry["Names"]).removeprefix("/")
        for network in entry["NetworkSettings"]["Networks"] or {}:
            if f"{entry['Id']} {network}" not in connected:
                guests.setdefault(network, []).append(
                    f"{name} of inventory {owner}" if owner else name
                )
    return {network: tuple(sorted(names)) for network, names in guests.items()}
