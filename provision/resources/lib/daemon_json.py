"""What to ask of dockerd for its default bridge, and how that shows. Pure."""

from __future__ import annotations

import json
from typing import Any


def settings(
    *, gateway: str, subnet: str, mtu: int, direct: bool, ip_range: str = ""
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """What to ask of dockerd, and how that shows in `docker network inspect bridge`.

    `direct`: this Docker needs to be told that other hosts may reach containers (28.2 and newer).
    `ip_range`: the part of the subnet that Docker takes addresses from; empty: all of it.
    """
    values: dict[str, Any] = {"bip": gateway, "mtu": mtu, "ip-masq": False}
    if direct:
        values["allow-direct-routing"] = True
    if ip_range:
        values["fixed-cidr"] = ip_range
    asked = tuple(sorted((key, json.dumps(value)) for key, value in values.items()))
    shown = (("masquerade", "false"), ("mtu", str(mtu)), ("subnet", subnet))
    return asked, (*shown, *((("range", ip_range),) if ip_range else ()))


def replaced(
    *, bridge: str, subnet: str, part: str, gateway: str | None, mtu: int
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """The same for a bridge of the host's that takes the place of docker0."""
    values: dict[str, Any] = {"bridge": bridge, "fixed-cidr": part, "mtu": mtu, "ip-masq": False}
    if gateway:
        values["default-gateway"] = gateway  # the bridge's own address is it anyway
    asked = tuple(sorted((key, json.dumps(value)) for key, value in values.items()))
    shown = (("masquerade", "false"), ("mtu", str(mtu)), ("subnet", subnet))
    return asked, (*shown, ("range", part))
