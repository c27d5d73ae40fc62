"""Keys of a flannel network's etcd, and the reading of `etcd NETWORK JSON` lines of probes. Pure.

The JSON is that of `etcdctl get -w json`: keys and values are in base64.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network
from typing import Any

from provision.model.ipv4 import ipv4_network
from provision.resources.base import Origin, Ref
from provision.resources.lib.base64_text import decode_text
from provision.resources.on_hosts import ETC, service_name

CLAIMS = "/provision"
"""Keys below `/provision/INVENTORY/NETWORK/` tell which of flannel's keys an inventory made."""
DOWN = "down"
"""Instead of JSON: etcd did not answer."""

Keys = Mapping[str, str]
"""Keys and values of an etcd, decoded."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A subnet key of flannel; `address` is that of its host, `backend` is empty for udp.

    `mac` is that of the host's VTEP; empty for other backends, and until flanneld has run there.
    """

    key: str
    subnet: IPv4Network
    address: str
    backend: str
    mac: str = ""


def ctl(inventory: str, network: str) -> str:
    """The etcdctl command of a network, on each of its hosts."""
    return f"{ETC}/{inventory}/etcdctl-{network}"


def claims_prefix(inventory: str, network: str) -> str:
    """The prefix of the keys that tell which of flannel's keys an inventory made."""
    return f"{CLAIMS}/{inventory}/{network}"


def config_key(prefix: str) -> str:
    """The key of a network's configuration."""
    return f"{prefix}/config"


def subnet_key(prefix: str, subnet: IPv4Network) -> str:
    """The key of a lease; flannel writes the subnet with `-` for `/`."""
    return f"{prefix}/subnets/{str(subnet).replace('/', '-')}"


def networks(text: str) -> Iterator[tuple[str, Keys | None]]:
    """Each network with its keys; None where etcd did not answer.

    There is a line for each prefix that is read; most networks have one.
    """
    answers: dict[str, list[str]] = {}
    for line in text.splitlines():
        kind, network, answer = line.split(" ", 2)
        if kind == "etcd":
            answers.setdefault(network, []).append(answer)
    for network, parts in answers.items():
        yield network, None if DOWN in parts else _merged(tuple(parts))


# Most hosts get the same answer: decoded for each, 500 hosts with 1000 keys would be 150 MB.
@lru_cache(maxsize=8)
def _merged(answers: tuple[str, ...]) -> Keys:
    return {key: value for answer in answers for key, value in decode_keys(answer).items()}


def decode_keys(answer: str) -> Keys:
    """Keys and values of one answer of etcdctl."""
    return {
        decode_text(entry["key"]): decode_text(entry.get("value", ""))
        for entry in json.loads(answer).get("kvs") or ()
    }


def leases(keys: Keys, prefix: str) -> tuple[Lease, ...]:
    """Every lease below a network's prefix, sorted by key.

    Keys that name no subnet are left out, as flannel does (ParseSubnetKey of its subnet.go).
    """
    below = f"{prefix}/subnets/"
    entries = ((key, value) for key, value in sorted(keys.items()) if key.startswith(below))
    return tuple(lease for key, value in entries if (lease := _lease(key, value)))


def _lease(key: str, value: str) -> Lease | None:
    fields = decode_object(value)
    try:
        # With IPv6 flannel appends `&` and the IPv6 subnet.
        subnet = ipv4_network(key.rsplit("/", 1)[1].split("&")[0].replace("-", "/"))
    except ValueError:
        return None
    address, backend = str(fields.get("PublicIP", "")), str(fields.get("BackendType", ""))
    return Lease(key, subnet, address, backend, _vtep_mac(fields.get("BackendData")))


def _vtep_mac(backend: object) -> str:
    mac = backend.get("VtepMAC") if isinstance(backend, dict) else None
    return mac if isinstance(mac, str) and re.fullmatch("([0-9a-f]{2}:){5}[0-9a-f]{2}", mac) else ""


def decode_object(value: str) -> dict[str, Any]:
    """A JSON object; an empty one for any other text, which others may have written there."""
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


PEERS_PROBE = """
shared etcd
echo "peers $peers"
"""
"""Prints the answers of etcd, and the addresses of the other hosts of the inventory."""


def split_peers(text: str) -> tuple[str, frozenset[str]]:
    """The answers that `PEERS_PROBE` printed, and the addresses of the other hosts."""
    # Without a blank: an inventory of one host has no peers.
    answers, peers = text.rsplit("peers", 1)
    return answers, frozenset(peers.split())


def settings_host(keys: Keys, inventory: str, network: str, host: str, peers: Set[str]) -> str:
    """The host whose resource flannel's settings are; empty if nobody wrote them.

    The one that wrote them, as long as it is in the network. After that the first other one with a
    lease, so that the settings go with the last host. `peers` are the addresses of the hosts of the
    inventory, besides that of `host`.
    """
    prefix = claims_prefix(inventory, network)
    writer = str(decode_object(keys.get(f"{prefix}/config", "")).get("host", ""))
    below = f"{prefix}/hosts/"
    if not writer or f"{below}{writer}" in keys:
        return writer
    for key in (key for key in keys if key.startswith(below)):
        record, name = decode_object(keys[key]), key.removeprefix(below)
        if record.get("key") in keys and (name == host or record.get("address") in peers):
            return name
    return writer


def prerequisites(keys: Keys, network: str, origin: Origin) -> tuple[Ref, ...]:
    """What the host needs to reach etcd, and etcd's members: removed only after the keys."""
    config = decode_object(keys.get(f"{claims_prefix(origin.inventory, network)}/config", ""))
    service = service_name(origin.inventory, network, "etcd")
    members = tuple(Ref(str(member), "service", service) for member in config.get("members", ()))
    return (
        Ref(origin.host, "file", ctl(origin.inventory, network)),
        Ref(origin.host, "certificate", f"{network}.client"),
        # An etcd without members is one of the user.
        *(members or _external_files(origin, network)),
    )


def _external_files(origin: Origin, network: str) -> Iterator[Ref]:
    for ending in ("ca.crt", "crt", "key"):
        path = f"{ETC}/{origin.inventory}/pki/{network}.external.{ending}"
        yield Ref(origin.host, "tls_file", path)
