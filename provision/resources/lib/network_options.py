"""Options of Docker networks: those that methods set, and the daemon's defaults for them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

Pairs = tuple[tuple[str, str], ...]

# https://docs.docker.com/engine/network/drivers/bridge/#options
BRIDGE_NAME = "com.docker.network.bridge.name"
MTU = "com.docker.network.driver.mtu"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
# Docker 28.2 and newer: interfaces behind which other hosts may reach containers directly.
TRUSTED = "com.docker.network.bridge.trusted_host_interfaces"
# Mode `routed` lets other hosts reach containers on Docker 28.0 and 28.1.
GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv4"
# Docker does not set the gateway's address on the bridge.
INHIBIT = "com.docker.network.bridge.inhibit_ipv4"
# https://docs.docker.com/engine/network/drivers/macvlan/: the NIC that containers' links are on.
PARENT = "parent"
# False: containers of the network on one host do not reach each other.
ICC = "com.docker.network.bridge.enable_icc"
# Other modes than `bridge` keep containers on one NIC from each other.
MACVLAN_MODE = "macvlan_mode"
OPTIONS = (
    BRIDGE_NAME, MTU, MASQUERADE, TRUSTED, GATEWAY_MODE, INHIBIT, ICC, PARENT, MACVLAN_MODE,
)  # fmt: skip
"""Options that a method sets or leaves out on purpose; other options are ignored.

Docker adds options of its own, e.g. the daemon's `default-network-opts`."""
USUAL = {ICC: "true", GATEWAY_MODE: "nat", INHIBIT: "false", TRUSTED: "", MACVLAN_MODE: "bridge"}
"""Docker's own values of options that methods leave out: a network with one is like one without.

Only where the daemon's `default-network-opts` say otherwise, they are given to Docker."""
_SPELLINGS = {"1": "true", "t": "true", "0": "false", "f": "false"}
"""Further spellings of truth values that dockerd takes, in small letters."""


def compared(options: Mapping[str, str]) -> tuple[Pairs, Pairs]:
    """Sorted pairs of `OPTIONS` that a network has, and of those with Docker's own values."""
    pairs = sorted(pair for pair in options.items() if pair[0] in OPTIONS)
    usual = tuple(pair for pair in pairs if _is_usual(*pair))
    return tuple(pair for pair in pairs if pair not in usual), usual


def overridden(options: Mapping[str, str], defaults: Mapping[str, str]) -> Pairs:
    """Sorted pairs of options with Docker's own values, which the daemon's defaults change.

    An option that is one of `options` needs none.
    """
    return tuple(
        (key, value)
        for key, value in sorted(USUAL.items())
        if key not in options and not _is_usual(key, defaults.get(key, value))
    )


def _is_usual(key: str, value: str) -> bool:
    """True if an option has Docker's own value."""
    usual, small = USUAL.get(key), value.lower()
    return value == usual or (usual in ("true", "false") and _SPELLINGS.get(small, small) == usual)
