"""Flannel networks as one host sees them: configuration, leases, certificates. Pure.

`show` prints them; the checks of `verify` compare them with the inventory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import provision.methods.flannel.etcd_checks as etcd_checks
from provision.methods.flannel.etcd_checks import EtcdAnswer
from provision.methods.flannel.options import options
from provision.model.inventory import Inventory, Network
from provision.resources.base import Origin
from provision.resources.kinds.certificate import Certificate
from provision.resources.lib import etcd_keys

Row = tuple[str, ...]

CONFIG_COLUMNS = ("network", "config", "seen from")
LEASE_COLUMNS = ("network", "subnet", "host", "address", "backend", "seen from")
CERTIFICATE_COLUMNS = ("host", "network", "role", "valid until", "renewed by the next apply")


@dataclass(frozen=True, slots=True)
class HostLease:
    """A lease; `host` is the inventory's name of its address, empty for another machine's."""

    subnet: str
    host: str
    address: str
    backend: str


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """A certificate of one host; `fresh`: the next apply does not renew it."""

    role: str
    expires: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class FlannelStatus:
    """One network as one host sees it. `config` is flannel's own JSON, as text."""

    host: str
    network: str
    etcd: EtcdAnswer
    config: str
    leases: tuple[HostLease, ...]
    certificates: tuple[CertificateStatus, ...]


Statuses = tuple[FlannelStatus, ...]
"""The statuses of all flannel networks of a host, or of several hosts."""


def script(inventory: Inventory, networks: Iterable[Network]) -> str:
    """A script that reads each etcd of a host's networks, and the host's certificates."""
    texts = [etcd_checks.script(inventory, network) for network in networks]
    return "".join([*texts, f"name={inventory.name}\n{Certificate.probe.strip()}\n"])


def parse(inventory: Inventory, networks: Iterable[Network], host: str, text: str) -> Statuses:
    """The status of each network, from the output of `script` on one host."""
    answers = etcd_checks.parse(text)
    lines = "\n".join(re.findall(r"^(?:issued|sum) .*$", text, re.M))
    resources = [entry.resource for entry in Certificate.parse(lines, Origin(host, inventory.name))]
    certificates = [resource for resource in resources if isinstance(resource, Certificate)]
    return tuple(
        _status(
            inventory,
            network,
            host,
            answers.get(network.name, EtcdAnswer({}, {}, "no answer")),
            [c for c in certificates if c.network == network.name],
        )
        for network in networks
    )


def _status(
    inventory: Inventory,
    network: Network,
    host: str,
    answer: EtcdAnswer,
    certificates: list[Certificate],
) -> FlannelStatus:
    prefix = options(network).etcd.prefix
    return FlannelStatus(
        host,
        network.name,
        answer,
        answer.keys.get(etcd_keys.config_key(prefix), ""),
        tuple(_leases(inventory, etcd_keys.leases(answer.keys, prefix))),
        tuple(CertificateStatus(c.role, c.expires, c.fresh) for c in certificates),
    )


def _leases(inventory: Inventory, leases: Iterable[etcd_keys.Lease]) -> Iterator[HostLease]:
    names = {str(host.address): name for name, host in inventory.hosts.items()}
    for lease in leases:
        host = names.get(lease.address, "")
        # flannel writes no backend into the leases of udp.
        yield HostLease(str(lease.subnet), host, lease.address, lease.backend or "udp")


def as_json(statuses: Iterable[FlannelStatus]) -> list[dict[str, Any]]:
    """The JSON of `show --json`: one object for each network and host that answered."""
    return [
        {
            "network": status.network,
            "host": status.host,
            "config": etcd_keys.decode_object(status.config) or None,
            "subnets": [
                {
                    "subnet": lease.subnet,
                    "host": lease.host or None,
                    "address": lease.address,
                    "backend": lease.backend,
                }
                for lease in status.leases
            ],
            "members": [
                {"address": address, "health": state.split(":")[0]}
                for address, state in sorted(status.etcd.health.items())
            ],
            "certificates": [
                {"role": c.role, "until": c.expires, "fresh": c.fresh} for c in status.certificates
            ],
            "trouble": status.etcd.error or None,
        }
        for status in statuses
    ]


def tables(statuses: Statuses) -> Iterator[tuple[str, Row, tuple[Row, ...]]]:
    """Title, names of columns and rows of each table that is not empty."""
    for title, columns, rows in (
        ("flannel's settings", CONFIG_COLUMNS, config_rows(statuses)),
        ("flannel's subnets", LEASE_COLUMNS, lease_rows(statuses)),
        ("certificates", CERTIFICATE_COLUMNS, certificate_rows(statuses)),
    ):
        if rows:
            yield title, columns, rows


def config_rows(statuses: Iterable[FlannelStatus]) -> tuple[Row, ...]:
    """Each configuration, or the reason why there is none, with the hosts that see it so."""
    hosts: dict[Row, list[str]] = {}
    for status in statuses:
        row = (status.network, status.config or status.etcd.error)
        hosts.setdefault(row, []).append(status.host)
    return tuple((*row, " ".join(names)) for row, names in hosts.items())


def lease_rows(statuses: Iterable[FlannelStatus]) -> tuple[Row, ...]:
    """Each lease once, with the hosts that see it so."""
    hosts: dict[Row, list[str]] = {}
    for status in statuses:
        for lease in status.leases:
            holder = (lease.host or "stranger", lease.address, lease.backend)
            row = (status.network, lease.subnet, *holder)
            hosts.setdefault(row, []).append(status.host)
    return tuple((*row, " ".join(names)) for row, names in hosts.items())


def certificate_rows(statuses: Iterable[FlannelStatus]) -> tuple[Row, ...]:
    """Each certificate of each host."""
    return tuple(
        (status.host, status.network, c.role, c.expires, "no" if c.fresh else "yes")
        for status in statuses
        for c in status.certificates
    )
