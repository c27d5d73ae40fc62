"""The inventory's JSON Schema, from the very documents that decode it; for editors. Pure.

Editors see keys, types and choices; what values mean to each other is `validate`'s matter.
"""

from __future__ import annotations

from typing import Any

from provision import methods
from provision.inventory.schema import network_document
from provision.model.documents import (
    ContainerDocument,
    Document,
    HostDocument,
    HostSshDocument,
    SshDocument,
    TopDocument,
)

_NAMES = {
    "hosts": r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$",
    "groups": r"^[A-Za-z][A-Za-z0-9_-]{0,62}$",
    "networks": r"^[a-z][a-z0-9-]{0,14}$",
    "containers": r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$",
}
_WORDS = {
    "address": "IPv4 address that the other hosts reach",
    "addresses": "with prefix length, IPv4 and IPv6",
    "archive": "file of `docker save` on this machine, relative to this file",
    "backend": "how packets travel between hosts",
    "bridge": "docker0: Docker's own default bridge takes the host's part; of pipework its name",
    "cidr": "range of the network, as 172.20.0.0/16",
    "client_port": "TCP port of etcd for its clients",
    "command": "words of the command; default: the image's own",
    "containers": "containers by Docker's name of them",
    "direct_routing": "hosts on one link send packets as they are",
    "docker0": "replace: the bridge takes the place of Docker's own",
    "egress": "masquerade: containers leave by the host's address; none: they do not",
    "etcd": "where the map of subnets is kept",
    "flanneld": "file with the program; default: the host's own, or one built here",
    "gateway": "router of the LAN's containers",
    "gateway6": "the same for IPv6",
    "groups": "lists of hosts, for networks and --limit",
    "host": "the host that it runs on",
    "host_key": "public host key, as ssh-ed25519 AAAA\u2026; then only this one is accepted",
    "host_port": "veth: the host's addresses on a veth into the bridge",
    "hosts": "hosts by the name that ssh knows",
    "hosts_from": "Ansible inventory (INI or YAML) whose hosts and groups are taken over",
    "image": "reference to pull where it is absent, or {archive: FILE}",
    "interfaces": "interfaces beside Docker's, as pipework gives them",
    "ip_masq": "flannel itself masquerades what leaves the network",
    "jump": "jump hosts, as user@bastion:22, several joined by commas",
    "key": "private key file, relative to this file",
    "kind": "linux, or ovs for Open vSwitch",
    "mac_from": "text that the MAC is a hash of",
    "macvlan": "NIC of the host that a macvlan is on",
    "members": "hosts that hold etcd, an odd number; default: the first three",
    "method": "how the hosts of the network are joined",
    "mtu": "bytes of the largest packet; default: that of the link between the hosts",
    "name": "marks all that this file makes on the hosts",
    "network": "the network that it is on",
    "networks": "networks over several hosts",
    "peer_port": "TCP port of etcd's members among themselves",
    "prefix": "etcd's path of flannel's keys",
    "nic": "link to the peers; default: the one that the route to them takes",
    "packages": "install what hosts lack, or require that they lack nothing",
    "pool": "part of the LAN that Docker may hand out",
    "priority": "place of the rule, lower first",
    "restart": "Docker's restart policy",
    "routes": "routes inside",
    "rules": "rules inside",
    "source": "source address, or range of a rule",
    "ssh": "how to log in; default: what ssh_config says",
    "stp": "spanning tree on the bridge",
    "subnet_max": "last subnet that hosts get",
    "subnet_min": "first subnet that hosts get",
    "subnet_size": "prefix length of each host's part",
    "subnets": "fixed parts, as {h1: 172.20.9.0/24}; default: the next free one",
    "sudo": "run as root by sudo -n",
    "table": "routing table",
    "user": "login name",
    "vlan": "VLAN tag",
    "vni": "number of the VXLAN",
}


def json_schema() -> dict[str, Any]:
    """The schema, of draft 2020-12."""
    top = _object(TopDocument)
    host = _object(HostDocument)
    host["properties"]["ssh"] = _object(HostSshDocument)
    del host["required"]  # what the inventory of hosts_from says need not be said again
    networks = [_network(name) for name in methods.names()]
    items = {
        "hosts": host,
        "groups": {"type": "array", "items": {"type": "string"}},
        "networks": {"oneOf": networks} if len(networks) > 1 else networks[0],
        "containers": _object(ContainerDocument),
    }
    for section, item in items.items():
        top["properties"][section] = {
            "type": ["object", "null"],
            "propertyNames": {"pattern": _NAMES[section]},
            "additionalProperties": item,
        }
    top["properties"]["ssh"] = _object(SshDocument)
    top["required"] = ["name"]  # hosts may come from hosts_from
    _describe(top)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Inventory of provision",
        **top,
    }


def _network(method: str) -> dict[str, Any]:
    found = _object(network_document(method))
    found["properties"]["method"] = {"const": method}
    return found


def _object(document: type[Document]) -> dict[str, Any]:
    """One document's schema, whole: nothing that it refers to lies elsewhere."""
    found = document.model_json_schema()
    parts = found.pop("$defs", {})
    whole = _inlined(found, parts)
    assert isinstance(whole, dict)
    return _tidy(whole)


def _inlined(node: Any, parts: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, parts) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inlined(parts[node["$ref"].rsplit("/", 1)[1]], parts)
    return {key: _inlined(value, parts) for key, value in node.items()}


def _tidy(schema: dict[str, Any]) -> dict[str, Any]:
    """Without pydantic's titles, class docstrings, and formats that editors do not know."""
    for key, value in schema.get("properties", {}).items():
        schema["properties"][key] = _plain(value)
    return {key: value for key, value in schema.items() if key not in ("title", "description")}


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    unsaid = {"title", "description"} | ({"format"} if "ipv4" in str(node.get("format")) else set())
    return {key: _plain(value) for key, value in node.items() if key not in unsaid}


def _describe(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _describe(item)
    if not isinstance(node, dict):
        return
    for key, value in node.get("properties", {}).items():
        if isinstance(value, dict) and key in _WORDS:
            value.setdefault("description", _WORDS[key])
    for value in node.values():
        _describe(value)
