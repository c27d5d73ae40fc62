"""Docker's default bridge as daemon.json, dockerd's command line and its API describe it. Pure."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from typing import Any

from provision.resources.lib.docker_api import RUNNING

Pairs = tuple[tuple[str, str], ...]

KEYS = (
    "bip",
    "mtu",
    "ip-masq",
    "allow-direct-routing",
    "bridge",
    "fixed-cidr",
    "default-gateway",
)
"""Keys of daemon.json that provision sets and removes; all others are left as they are."""
EXCLUSIVE_KEYS = ("bridge", "bip", "fixed-cidr", "default-gateway", "mtu", "ip-masq")
"""Keys that provision must not take over from somebody who has set them.

As flags of dockerd they cannot be changed at all: dockerd refuses to start when a setting is in
daemon.json and on its command line.
"""


def json_object(text: str | None) -> dict[str, Any]:
    """The settings in a daemon.json; None, the empty text: none. Raises ValueError."""
    value = json.loads(text) if text and text.strip() else {}
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def dump(values: dict[str, Any]) -> str:
    """The text of a daemon.json."""
    return json.dumps(values, indent=2) + "\n"


def without_keys(text: str | None, original: str | None) -> dict[str, Any]:
    """The settings of the daemon.json `text`, with the values of `KEYS` that `original` has.

    Changes of others since the original file are kept.
    """
    originals = json_object(original)
    values = {key: value for key, value in json_object(text).items() if key not in KEYS}
    return values | {key: originals[key] for key in KEYS if key in originals}


def settings(text: str | None) -> Pairs:
    """Sorted pairs of a key of `KEYS` in a daemon.json and its JSON value."""
    try:
        values = json_object(text)
    except ValueError:
        return ()  # `Docker0.blocking_reason` reports it
    return tuple(sorted((key, json.dumps(values[key])) for key in KEYS if key in values))


def effective(networks: list[dict[str, Any]]) -> Pairs:
    """The values of the network `bridge` that dockerd runs with, from `GET /networks`.

    Pairs of masquerade, mtu, subnet and, if there is one, range; options that dockerd leaves out
    have their defaults. Empty where dockerd has no default bridge: `"bridge": "none"`.
    """
    bridge = next((entry for entry in networks if entry["Name"] == "bridge"), None)
    if bridge is None:
        return ()
    pool, options = bridge["IPAM"]["Config"][0], bridge["Options"] or {}
    # With `bip`, older versions print the bridge's address as the subnet.
    subnet = ip_network(pool["Subnet"], strict=False)
    masquerade = options.get("com.docker.network.bridge.enable_ip_masquerade", "true")
    mtu = options.get("com.docker.network.driver.mtu", "1500")
    pairs = (("masquerade", masquerade), ("mtu", mtu), ("subnet", str(subnet)))
    ip_range = pool.get("IPRange", "")
    return (*pairs, *((("range", ip_range),) if ip_range else ()))


def is_docker0(networks: list[dict[str, Any]]) -> bool:
    """True if the network `bridge` of `GET /networks` is on docker0, not on another bridge."""
    key = "com.docker.network.bridge.name"
    names = [(e.get("Options") or {}).get(key) for e in networks if e["Name"] == "bridge"]
    return names == ["docker0"]


def bridge_address(links: list[dict[str, Any]]) -> str:
    """The IPv4 address of docker0 with its prefix length, from `ip -j address`; empty: none."""
    for link in links:
        for address in link.get("addr_info", ()) if link["ifname"] == "docker0" else ():
            if address["family"] == "inet":
                return f"{address['local']}/{address['prefixlen']}"
    return ""


def running_ids(containers: list[dict[str, Any]]) -> tuple[str, ...]:
    """Ids of the containers that run, from `GET /containers/json`."""
    return tuple(entry["Id"] for entry in containers if entry["State"] in RUNNING)


def exclusive_flags(command_line: str) -> tuple[str, ...]:
    """The arguments of dockerd that set what a key of `EXCLUSIVE_KEYS` would."""
    flags = {f"--{key}" for key in EXCLUSIVE_KEYS}
    arguments = command_line.split()
    return tuple(text for text in arguments if text == "-b" or text.split("=")[0] in flags)


def mode_and_owner(text: str) -> str:
    """Check the mode and owner that `stat` has printed. Raises ValueError."""
    if not re.fullmatch(r"[0-7]{1,4} [0-9]{1,10}:[0-9]{1,10}", text):
        raise ValueError(f"not the mode and owner of a file: {text!r}")
    return text
