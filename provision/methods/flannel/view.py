"""A flannel network as one host sees it, for `show`: settings, subnets, and certificates' dates.

Pure. `script` goes after any other script of a look; `seen` reads what it printed. The three
look-ups of etcdctl (settings, list of subnets, one subnet's host) have their answers here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import provision.methods.flannel.leases as look
from provision.methods.flannel.options import options
from provision.model.inventory import Inventory
from provision.resources.base import Origin
from provision.resources.kinds.certificate import Certificate
from provision.resources.lib import etcd_keys as keys

Row = tuple[str, ...]

CONFIGS = ("network", "config", "seen from")
SUBNETS = ("network", "subnet", "host", "address", "backend", "seen from")
CERTIFICATES = ("host", "network", "role", "valid until", "renewed by the next apply")


@dataclass(frozen=True, slots=True)
class Subnet:
    """A lease; `host` is the inventory's name of its address, empty for a stranger's."""

    subnet: str
    host: str
    address: str
    backend: str


@dataclass(frozen=True, slots=True)
class Overlay:
    """One network as one host sees it. `config` is flannel's own JSON, as text."""

    host: str
    network: str
    config: str
    subnets: tuple[Subnet, ...]
    members: tuple[tuple[str, str], ...]
    certificates: tuple[tuple[str, str, bool], ...]
    trouble: str


def script(inventory: Inventory, host: str) -> str:
    """Asks each etcd of a host's networks, and reads its certificates; empty for no network."""
    if not look.networks(inventory, host):
        return ""
    probe = f"(\nname={inventory.name}\n{Certificate.probe.strip()}\n)\n"
    return look.script(inventory, host) + probe


def seen(inventory: Inventory, host: str, text: str) -> tuple[Overlay, ...]:
    """What `script` printed on one host."""
    maps = look.seen(text)
    lines = "\n".join(re.findall(r"^(?:issued|sum) .*$", text, re.M))
    held = [one.resource for one in Certificate.parse(lines, Origin(host, inventory.name))]
    found = []
    for network in look.networks(inventory, host):
        known = maps.get(network.name, look.Map({}, {}, "no answer"))
        prefix = options(network).etcd.prefix
        mine = [
            (one.role, one.expires, one.fresh)
            for one in held
            if isinstance(one, Certificate) and one.network == network.name
        ]
        found.append(
            Overlay(
                host,
                network.name,
                known.values.get(keys.config_key(prefix), ""),
                tuple(_subnets(inventory, keys.leases(known.values, prefix))),
                tuple(sorted(known.health.items())),
                tuple(mine),
                known.trouble,
            )
        )
    return tuple(found)


def _subnets(inventory: Inventory, leases: Iterable[keys.Lease]) -> Iterator[Subnet]:
    names = {str(host.address): name for name, host in inventory.hosts.items()}
    for lease in leases:
        owner = names.get(lease.address, "")
        yield Subnet(str(lease.subnet), owner, lease.address, lease.backend or "udp")


def shape(found: Iterable[Overlay]) -> list[dict[str, Any]]:
    """The JSON of `show --json`: one object for each network and host that was asked."""
    return [
        {
            "network": one.network,
            "host": one.host,
            "config": keys.decode_object(one.config) or None,
            "subnets": [
                {
                    "subnet": subnet.subnet,
                    "host": subnet.host or None,
                    "address": subnet.address,
                    "backend": subnet.backend,
                }
                for subnet in one.subnets
            ],
            "members": [{"address": at, "health": said.split(":")[0]} for at, said in one.members],
            "certificates": [
                {"role": role, "until": until, "fresh": fresh}
                for role, until, fresh in one.certificates
            ],
            "trouble": one.trouble or None,
        }
        for one in found
    ]


def tables(found: tuple[Overlay, ...]) -> Iterator[tuple[str, Row, tuple[Row, ...]]]:
    """Title, names of columns and rows of each table that is not empty."""
    for title, columns, rows in (
        ("flannel's settings", CONFIGS, config_rows(found)),
        ("flannel's subnets", SUBNETS, subnet_rows(found)),
        ("certificates", CERTIFICATES, certificate_rows(found)),
    ):
        if rows:
            yield title, columns, rows


def config_rows(found: Iterable[Overlay]) -> tuple[Row, ...]:
    """Under CONFIGS: the settings, or why they are not known, with the hosts that see it so."""
    seers: dict[Row, list[str]] = {}
    for one in found:
        seers.setdefault((one.network, one.config or one.trouble), []).append(one.host)
    return tuple((*row, " ".join(hosts)) for row, hosts in seers.items())


def subnet_rows(found: Iterable[Overlay]) -> tuple[Row, ...]:
    """Under SUBNETS: every lease once, with the hosts that see it so."""
    seers: dict[Row, list[str]] = {}
    for one in found:
        for subnet in one.subnets:
            words = (subnet.host or "stranger", subnet.address, subnet.backend)
            seers.setdefault((one.network, subnet.subnet, *words), []).append(one.host)
    return tuple((*row, " ".join(hosts)) for row, hosts in seers.items())


def certificate_rows(found: Iterable[Overlay]) -> tuple[Row, ...]:
    """Under CERTIFICATES."""
    return tuple(
        (one.host, one.network, role, until, "no" if fresh else "yes")
        for one in found
        for role, until, fresh in one.certificates
    )
