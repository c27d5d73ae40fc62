"""Differences of hosts from the inventory in a person's words, the most telling first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision.engine.change_fields import sides
from provision.engine.plan import Change
from provision.resources.kinds.routes import LOST
from provision.resources.kinds.sysctl import Sysctl
from provision.resources.rows import SHOWN, RowChange, row_changes, row_fields, row_summary

_NOUNS: Mapping[str, str] = {
    "service": "service",
    "ovs_daemon": "the daemon of Open vSwitch",
    "docker0": "Docker's default bridge",
    "docker_firewall": "Docker's chain",
    "forward_policy": "the policy of the chain",
    "sysctl": "the kernel setting",
    "ovs_uplink": "the uplink of Open vSwitch",
    "lan_bridge": "bridge",
    "lan_bridge_ovs": "Open vSwitch bridge",
    "docker_network": "Docker network",
    "vxlan": "VXLAN device",
    "ovs_bridge": "Open vSwitch bridge",
    "ovs_tunnel": "Open vSwitch tunnel",
    "ovs_veth": "veth of Open vSwitch",
    "wireguard": "WireGuard device",
    "flannel": "flannel network",
    "routes": "routes of network",
    "iptables_chain": "firewall chain",
    "nft_table": "firewall table",
    "nic_drop_rule": "firewall rule of NIC",
    "firewall_rule": "firewall rule",
    "container": "container",
    "attachment": "interface",
    "guest": "connection of guest",
    "connection": "connection of container",
    "shared_namespace": "shared namespace of container",
    "arp_ignore": "ARP setting of",
    "etcd_data": "data of etcd",
    "etcd_config": "keys of etcd",
    "etcd_lease": "subnet lease",
    "certificate": "certificate",
    "tls_request": "certificate request",
    "tls_file": "certificate file",
    "wireguard_key": "WireGuard key of network",
    "wireguard_psk": "preshared keys of network",
    "secret_file": "secrets of service",
    "dns_records": "hosts file of network",
    "package": "package",
    "image": "image",
    "image_archive": "image archive",
    "binary": "program",
    "file": "file",
    "systemd_unit": "service file",
}
"""Kind → its noun. A kind stands before the kinds whose differences often follow from its own."""
_RANKS = {kind: number for number, kind in enumerate(_NOUNS)}
_OMITTED = ("host", "mark", "inventory")
_LONGEST = 60


def rank(change: Change) -> int:
    """The smaller, the more the change tells about why packets are lost."""
    return _RANKS.get(change.ref.kind, len(_RANKS))


def describe(change: Change) -> str:
    """One difference: `route 172.30.1.0/24 via 10.88.0.12 dev eth1 is missing`."""
    name, before, after = _name(change), change.before, change.after
    if isinstance(before, Sysctl) and isinstance(after, Sysctl):
        return f"{after.key} is {before.value}, not {after.value}"
    if change.ref.kind == "routes" and (rows := row_changes(before, after)):
        more = [f"{len(rows) - SHOWN} more routes differ"] if len(rows) > SHOWN else []
        return ", ".join((*map(_route, rows[:SHOWN]), *more))
    resource = before or after
    if resource is not None and (cause := resource.drift_cause()):
        return cause
    verb = "are" if change.ref.kind == "routes" else "is"
    match change.verb:
        case "create":
            return f"{name} {verb} missing"
        case "delete":
            return f"{name} {verb} not in the inventory"
        case _:
            return f"{name} differs{_differences(change) or row_summary(before, after)}"


def _route(row: RowChange) -> str:
    """One route of a table; of a lost one only the claim is left."""
    if row.after is None:
        return f"route {row.key} {row.before} is not in the inventory"
    if row.before in (None, LOST):
        return f"route {row.key} {row.after} is missing"
    return f"route {row.key} goes {row.before}, not {row.after}"


def _name(change: Change) -> str:
    noun = _NOUNS.get(change.ref.kind, change.ref.kind.replace("_", " "))
    return noun if _is_single(change.ref.kind) else f"{noun} {change.ref.name}"


def _is_single(kind: str) -> bool:
    """True for kinds of which a host has one."""
    return kind in ("docker0", "ovs_daemon")


def _differences(change: Change) -> str:
    """The first fields that differ, if their values are short enough to be read."""
    texts = list(_fields(change))
    return f" ({', '.join(texts[:3])})" if texts else ""


def _fields(change: Change) -> Iterator[str]:
    before, after = sides(change, show_secrets=False)
    resource = change.after or change.before
    assert resource is not None
    for key, value in (after or {}).items():
        current = (before or {}).get(key)
        text = _difference(key, current, value)
        simple = not isinstance(value, list) and not isinstance(current, list)
        shown = key not in _OMITTED and key not in row_fields(resource)
        if shown and current != value and simple and len(text) <= _LONGEST:
            yield text


def _difference(key: str, current: object, value: object) -> str:
    """`mtu 1450, not 1500`. A true-or-false field shows its present value alone: `not enabled`."""
    if key == "lacks":
        return f"lacks {current}"
    if isinstance(value, bool):
        return key.replace("_", " ") if current else f"not {key.replace('_', ' ')}"
    return f"{key} {current or 'none'}, not {value or 'none'}"
