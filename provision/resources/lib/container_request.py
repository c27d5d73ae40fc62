"""The body of Docker's `POST /containers/create`, as `docker run` would send it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import Any

from provision.model.inventory import ContainerSetting
from provision.resources.lib import container_settings

_MODES = ("host", "none", "container")
"""Network modes without an endpoint of the container's own."""


def body(
    *,
    image: str,
    command: Iterable[str],
    env: Iterable[tuple[str, str]],
    labels: Mapping[str, str],
    stop_signal: str | None,
    network: str,
    address: IPv4Address | None,
    mac: str | None,
    restart: str,
    ports: Iterable[str],
    volumes: Iterable[str],
    dns: Iterable[str] = (),
    settings: Iterable[ContainerSetting] = (),
    has_default_route: bool = False,
) -> str:
    """The body as JSON; `network`, `restart`, `ports`, `volumes` and `dns` as in `docker run`.

    `has_default_route`: the container gets further networks, which must not take the default route.
    """
    endpoints = _endpoints(network, address, mac)
    if has_default_route:
        # Docker 28 and newer (API 1.48); older ones leave the key out.
        endpoints = {network: endpoints.get(network, {}) | {"GwPriority": 1}}
    bindings = _port_bindings(ports)
    request: dict[str, Any] = {
        "Image": image,
        "Cmd": list(command) or None,
        "Env": ["=".join(variable) for variable in env],
        "Labels": dict(labels),
        "StopSignal": stop_signal,
        # Before API 1.44 (Docker 25), Docker reads the address here, since then in the endpoint;
        # the docker command writes both, too.
        "MacAddress": mac,
        "ExposedPorts": {port: {} for port in bindings},
        "HostConfig": {
            "NetworkMode": network,
            "RestartPolicy": _restart_policy(restart),
            "PortBindings": bindings,
            "Binds": list(volumes),
            **({"Dns": servers} if (servers := list(dns)) else {}),
        },
        "NetworkingConfig": {"EndpointsConfig": endpoints},
    }
    container_settings.apply(settings, request)
    return json.dumps({key: value for key, value in request.items() if value is not None})


def _restart_policy(restart: str) -> dict[str, Any]:
    name, _, retries = restart.partition(":")
    return {"Name": name} | ({"MaximumRetryCount": int(retries)} if retries else {})


def _port_bindings(ports: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """[ADDRESS:]PUBLISHED:TARGET/PROTOCOL → the bindings of each port of the container."""
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        published, _, target = port.rpartition(":")
        address, _, number = published.rpartition(":")
        bindings.setdefault(target, []).append({"HostIp": address, "HostPort": number})
    return bindings


def _endpoints(network: str, address: IPv4Address | None, mac: str | None) -> dict[str, Any]:
    if network.partition(":")[0] in _MODES or not (address or mac):
        return {}
    endpoint: dict[str, Any] = {"IPAMConfig": {"IPv4Address": str(address)}} if address else {}
    return {network: endpoint | ({"MacAddress": mac} if mac else {})}
