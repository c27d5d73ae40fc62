"""Settings of dockerd that change its networks: `default-network-opts` and `icc`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from provision.facts.lines import KeyedLines
from provision.resources.lib.network_options import ICC


def parse(lines: KeyedLines) -> dict[str, dict[str, str]]:
    """The options of new networks, by driver, of dockerd's file and of its arguments.

    A file that is no JSON has been written since dockerd started.
    """
    try:
        setting = json.loads(f"{{{lines.only('docker_network_opts', '')}}}")
    except ValueError:
        setting = {}
    defaults = {
        str(driver): {str(key): str(value) for key, value in options.items()}
        for by_driver in setting.values()
        if isinstance(by_driver, dict)
        for driver, options in by_driver.items()
        if isinstance(options, dict)
    }
    for argument in lines.every("docker_network_opt"):
        driver, _, option = argument.partition("=")
        key, _, value = option.partition("=")
        defaults.setdefault(driver, {})[key] = value
    return defaults


def isolates_docker0(networks: Iterable[Mapping[str, Any]]) -> bool:
    """True if containers on Docker's default bridge do not reach each other."""
    options = [entry.get("Options") or {} for entry in networks if entry["Name"] == "bridge"]
    return any(of_bridge.get(ICC) == "false" for of_bridge in options)
