"""Imported hosts and groups that nothing in our own file uses: mistakes in them do not count. Pure.

A whole fleet stands in an Ansible inventory: mail servers without an address, Windows, the
controller itself. Only the hosts that networks and containers use have to be reachable by SSH.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

Data = dict[str, Any]
ALL = "all"
"""Every host, in --limit and in the `hosts` of a network."""


def unused_hosts(data: Data, imported: Collection[str], local: Collection[str]) -> frozenset[str]:
    """The imported hosts that no network and no container uses.

    `local`: hosts that Ansible does not reach by SSH because they are the controller. A network
    without `hosts` has all others.
    """
    hosts, groups = mapping(data.get("hosts")), mapping(data.get("groups"))
    used: set[str] = set()
    for name in _names(data):
        if name == ALL:
            used |= hosts.keys() - set(local)
        members = (name,) if name in hosts else groups.get(name, ())
        used |= {member for member in members if isinstance(member, str)}
    return frozenset(imported) - used


def unused_groups(data: Data, imported: Collection[str]) -> frozenset[str]:
    """The imported groups that no network names."""
    return frozenset(imported) - set(_names(data))


def without(data: Data, hosts: Collection[str], groups: Collection[str]) -> Data:
    """The data without these hosts and groups."""
    remaining = {
        name: [member for member in members if member not in hosts]
        if isinstance(members, list)
        else members
        for name, members in mapping(data.get("groups")).items()
        if name not in groups
    }
    kept = {name: host for name, host in mapping(data.get("hosts")).items() if name not in hosts}
    return {**data, "hosts": kept, "groups": remaining}


def _names(data: Data) -> Iterator[str]:
    """The hosts and groups that networks and containers name; ALL for a network without hosts."""
    networks, containers = mapping(data.get("networks")), mapping(data.get("containers"))
    if not networks and not containers:
        yield ALL
    for network in networks.values():
        members = mapping(network).get("hosts")
        if not isinstance(members, list):
            yield ALL
            continue
        yield from (member for member in members if isinstance(member, str))
    for container in (*containers.values(), *mapping(data.get("guests")).values()):
        host = mapping(container).get("host")
        if isinstance(host, str):
            yield host


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else none: `decode` reports the others."""
    return value if isinstance(value, dict) else {}
