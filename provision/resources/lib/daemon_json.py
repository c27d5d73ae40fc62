"""daemon.json settings for Docker's default bridge, and the values that Docker then reports. Pure.

Both are sorted pairs: the settings of key and JSON value, the reported ones (`masquerade`, `mtu`,
`subnet`, `range`) as kind `docker0` reads them from `docker network inspect bridge`.
"""

from __future__ import annotations

import json
from typing import Any

Pairs = tuple[tuple[str, str], ...]


def docker0_settings(
    *, gateway: str, subnet: str, mtu: int, direct: bool, ip_range: str = ""
) -> tuple[Pairs, Pairs]:
    """Settings and reported values for docker0 with the address `gateway`.

    `direct`: this Docker drops packets that other hosts send to containers, unless it is allowed
    to take them (28.2 and newer). `ip_range`: the part of the subnet from which Docker assigns
    addresses; empty: all of it.
    """
    values: dict[str, Any] = {"bip": gateway, "mtu": mtu, "ip-masq": False}
    if direct:
        values["allow-direct-routing"] = True
    if ip_range:
        values["fixed-cidr"] = ip_range
    return _encoded(values), _reported(mtu, subnet, ip_range)


def host_bridge_settings(
    *, bridge: str, subnet: str, part: str, gateway: str | None, mtu: int
) -> tuple[Pairs, Pairs]:
    """The same for a bridge of the host that replaces docker0; Docker assigns from `part`."""
    values: dict[str, Any] = {"bridge": bridge, "fixed-cidr": part, "mtu": mtu, "ip-masq": False}
    if gateway:
        # Without it containers get the bridge's own address as their default gateway.
        values["default-gateway"] = gateway
    return _encoded(values), _reported(mtu, subnet, part)


def _encoded(values: dict[str, Any]) -> Pairs:
    return tuple(sorted((key, json.dumps(value)) for key, value in values.items()))


def _reported(mtu: int, subnet: str, ip_range: str) -> Pairs:
    reported = (("masquerade", "false"), ("mtu", str(mtu)), ("subnet", subnet))
    return (*reported, *((("range", ip_range),) if ip_range else ()))
