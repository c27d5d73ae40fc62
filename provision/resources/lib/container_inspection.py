"""What `docker inspect` prints about a container, as the values of kind `container`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from typing import Any

COMMAND_LABEL = "provision.command"
"""`own` or `image`: inspection shows the image's command like one of the inventory's."""
ENV_LABEL = "provision.env"
"""The names of the inventory's variables as JSON: inspection mixes them with the image's."""
MAC_LABEL = "provision.mac"
"""The MAC address of the inventory: inspection also shows one that Docker chose."""


def network(entry: dict[str, Any], names: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The network of a container, in the form of `docker run --network`, and its endpoint.

    The network is empty if the container was disconnected from it. `names` are names of containers
    by id.
    """
    mode = entry["HostConfig"]["NetworkMode"]
    # Before Docker 28, a container without --network has the mode `default`.
    mode = "bridge" if mode == "default" else mode
    kind, _, container = mode.partition(":")
    if kind == "container":
        # Docker keeps the id, not the name: a container that was created again has another id, and
        # its namespace is no longer shared.
        return f"container:{names.get(container, container)}", {}
    endpoint = (entry["NetworkSettings"]["Networks"] or {}).get(mode)
    return ("", {}) if endpoint is None else (mode, endpoint)


def mac(entry: dict[str, Any], endpoint: Mapping[str, Any]) -> str | None:
    """The MAC address that the inventory has given, or what a running container has instead.

    Docker 25 and newer forget it when the container is disconnected and connected again. Of a
    stopped container, they go on telling the old one (seen with 26.1 and 28.5).
    """
    wanted = (entry["Config"]["Labels"] or {}).get(MAC_LABEL)
    runs = entry["State"]["Status"] in ("running", "paused")
    current = endpoint.get("MacAddress") if wanted and runs else None
    return str(current).lower() if current else wanted


def command(entry: dict[str, Any]) -> tuple[str, ...]:
    """The command of the inventory; empty if the container runs the image's."""
    settings = entry["Config"]
    from_image = (settings["Labels"] or {}).get(COMMAND_LABEL) == "image"
    return () if from_image else tuple(settings["Cmd"] or ())


def environment(entry: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Names and values of the inventory's variables."""
    settings = entry["Config"]
    values = dict(variable.partition("=")[::2] for variable in settings["Env"] or ())
    names = json.loads((settings["Labels"] or {}).get(ENV_LABEL, "[]"))
    return tuple((name, values.get(name, "")) for name in names)


def restart(entry: dict[str, Any]) -> str:
    """The restart policy, in the form of `docker run --restart`."""
    policy = entry["HostConfig"]["RestartPolicy"]
    name, retries = policy["Name"] or "no", policy.get("MaximumRetryCount") or 0
    return f"{name}:{retries}" if name == "on-failure" and retries else str(name)


def ports(entry: dict[str, Any]) -> tuple[str, ...]:
    """The published ports, in the form of `docker run --publish`, sorted."""
    return tuple(sorted(_ports(entry["HostConfig"]["PortBindings"] or {})))


def _ports(bindings: dict[str, list[dict[str, str]]]) -> Iterator[str]:
    for container_port, host_ports in bindings.items():
        for host_port in host_ports:
            address = host_port["HostIp"]
            prefix = f"{address}:" if address not in ("", "0.0.0.0") else ""
            yield f"{prefix}{host_port['HostPort']}:{container_port}"


def address(text: str | None) -> IPv4Address | None:
    """An address of the API, where the empty text means none."""
    return IPv4Address(text) if text else None
