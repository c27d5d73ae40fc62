"""What etcd holds, as a look printed it: `etcd NETWORK JSON` of `etcdctl get -w json`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from provision.resources.base import Origin, Ref
from provision.resources.lib.base64_text import plain

OWN = "/provision"
"""Keys that say what is ours are below `/provision/<inventory>/<network>/`."""
DOWN = "down"


@dataclass(frozen=True, slots=True)
class Lease:
    """A subnet key: whose it is by its own words; `backend` is empty for udp."""

    key: str
    subnet: IPv4Network
    address: str
    backend: str


def ctl(inventory: str, network: str) -> str:
    """The command on each host that asks the network's etcd."""
    return f"/etc/provision/{inventory}/etcdctl-{network}"


def own(inventory: str, network: str) -> str:
    """Below this are the keys that say what is ours."""
    return f"{OWN}/{inventory}/{network}"


def config_key(prefix: str) -> str:
    return f"{prefix}/config"


def subnet_key(prefix: str, subnet: IPv4Network) -> str:
    """As flannel writes it: with `-` for `/`."""
    return f"{prefix}/subnets/{str(subnet).replace('/', '-')}"


def networks(text: str) -> Iterator[tuple[str, Mapping[str, str] | None]]:
    """Of each network its keys and values; None where etcd did not answer."""
    for line in text.splitlines():
        word, network, answer = line.split(" ", 2)
        if word == "etcd":
            yield network, None if answer == DOWN else values(answer)


def values(answer: str) -> Mapping[str, str]:
    """Keys and values of one answer."""
    return {
        plain(entry["key"]): plain(entry.get("value", ""))
        for entry in json.loads(answer).get("kvs") or ()
    }


def leases(found: Mapping[str, str], prefix: str) -> tuple[Lease, ...]:
    """Every subnet key below a prefix, sorted by key."""
    below = f"{prefix}/subnets/"
    return tuple(
        _lease(key, value) for key, value in sorted(found.items()) if key.startswith(below)
    )


def _lease(key: str, value: str) -> Lease:
    said = words(value)
    subnet = IPv4Network(key.rsplit("/", 1)[1].split("&")[0].replace("-", "/"))
    return Lease(key, subnet, str(said.get("PublicIP", "")), str(said.get("BackendType", "")))


def words(value: str) -> dict[str, Any]:
    """A JSON object; anything else says nothing."""
    try:
        found = json.loads(value)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def stands_on(found: Mapping[str, str], network: str, scope: Origin) -> tuple[Ref, ...]:
    """What a host asks etcd by, and etcd itself: to be removed after the keys."""
    said = words(found.get(f"{own(scope.inventory, network)}/config", ""))
    service = f"provision-{scope.inventory}-{network}-etcd.service"
    return (
        Ref(scope.host, "file", ctl(scope.inventory, network)),
        Ref(scope.host, "certificate", f"{network}.client"),
        *(Ref(str(member), "service", service) for member in said.get("members", ())),
    )
