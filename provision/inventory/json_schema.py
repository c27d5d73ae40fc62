"""The JSON Schema of an inventory for editors, made from the documents that decode it. Pure.

It has keys, types and choices. Rules between values are checked by `validate` only.
"""

from __future__ import annotations

from typing import Any, get_type_hints

from provision import methods
from provision.inventory.schema import host_document, method_keys, network_document, options_of
from provision.model.documents import (
    ComposeDocument,
    ContainerDocument,
    Document,
    GuestDocument,
    HostSshDocument,
    SshDocument,
    TopDocument,
)
from provision.model.help import Help

_NAMES = {
    "hosts": r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$",
    "groups": r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$",
    "networks": r"^[a-z][a-z0-9-]{0,14}$",
    "containers": r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$",
    "guests": r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$",
}
_DESCRIPTIONS = {
    "access": "who else may reach the containers: hosts, a range, or an interface of the hosts",
    "absent": "refuse: the guest must exist at the first apply; wait: it may come later",
    "address": "IPv4 address that the other hosts reach",
    "addresses": "addresses with prefix length, IPv4 and IPv6",
    "aliases": "further names of the container in DNS",
    "archive": "file of `docker save` on the controller, relative to this file",
    "cidr": "range of the network, such as 172.20.0.0/16",
    "cap_add": "capabilities besides Docker's own, such as NET_ADMIN",
    "cap_drop": "capabilities to remove, such as ALL",
    "command": "arguments of the command; default: the command of the image",
    "container": "name in Docker of the container that others make",
    "compose": "Compose files whose services are containers",
    "containers": "containers by their name in Docker",
    "cpus": "number of processors that the container may use",
    "depends_on": "containers of the same host to create before this one",
    "devices": "devices of the host: SOURCE:TARGET:PERMISSIONS",
    "egress": "masquerade: containers leave by the host's address; none: by their own addresses",
    "entrypoint": "arguments of the entrypoint; default: that of the image",
    "env_file": "files with variables, in the format of Compose",
    "extra_hosts": "addresses by name for /etc/hosts",
    "env": "environment variables: text, {file: FILE} or {from_env: VARIABLE}",
    "file": "file that holds the value, relative to this file",
    "from_env": "environment variable of the controller that holds the value",
    "gateway": "IPv4 address of the router",
    "gateway6": "IPv6 address of the router",
    "groups": "lists of hosts, for networks and --limit",
    "guests": "containers that others make, which join a network",
    "healthcheck": "command with which Docker checks the container",
    "hostname": "host name inside the container",
    "host": "host that runs the container",
    "host_key": "public host key, such as ssh-ed25519 AAAA\u2026; no other key is accepted",
    "hosts": "hosts by the name that ssh knows",
    "firewall": "open the hosts' firewalls for the networks, or only report what they drop",
    "hosts_from": "Ansible inventory (INI, YAML or JSON) with further hosts and groups",
    "image": "reference to pull if it is absent, or {archive: FILE}",
    "interfaces": "interfaces in addition to Docker's",
    "init": "run an init that reaps processes",
    "labels": "labels of the container",
    "logging": "log driver of Docker and its options",
    "mem_limit": "limit of memory, such as 512m",
    "jump": "jump hosts, such as user@bastion:22, several joined by commas",
    "key": "private key file, relative to this file",
    "mac_from": "text that the MAC address is a hash of",
    "label": "label KEY=VALUE of the container that others make",
    "macvlan": "NIC of the host that is the parent of the macvlan",
    "method": "how the hosts of the network are joined",
    "mtu": "size of the largest packet in bytes; default: derived from the hosts' NICs",
    "name": "mark of everything on hosts that this file describes",
    "names": "true, or a domain: containers find each other by name on all hosts",
    "network": "network of the container or interface",
    "networks": "networks over several hosts",
    "only": "hosts and groups to import from the Ansible inventory; default: all",
    "nic": "NIC to the other hosts; default: that of the route to them",
    "packages": "install packages that hosts lack, or require that hosts have them",
    "priority": "priority of the rule; lower numbers apply first",
    "project": "name of the Compose project; default: that of the file, or of its folder",
    "restart": "Docker's restart policy",
    "routes": "routes inside the container",
    "rules": "routing rules inside the container",
    "source": "source address of a route, or source range of a rule",
    "shm_size": "size of /dev/shm, such as 64m",
    "stop_grace_period": "time from the stop signal to the kill",
    "sysctls": "kernel settings of the container's namespaces",
    "tmpfs": "options of file systems in memory, by their path",
    "ulimits": "resource limits: a number, or {soft, hard}",
    "working_dir": "folder in which the command runs",
    "service": "name in DNS that several containers may share",
    "ssh": "login on hosts; default: ssh_config",
    "subnet_size": "prefix length of each host's subnet",
    "subnets": "fixed subnets of hosts, such as {h1: 172.20.9.0/24}; default: the next free one",
    "sudo": "run as root by sudo -n",
    "table": "number of the routing table",
    "user": "login name on hosts; user of a container",
    "vlan": "VLAN tag",
}
_FIXED = "fixed address in the host's subnet; default: Docker assigns one"
# Keys that mean something else elsewhere.
_OF_CONTAINER = {
    "address": _FIXED,
    "networks": "further networks, in order; the default route is that of network",
}
_OF_GUEST = {"address": _FIXED, "network": "network that the guest joins"}
_OF_COMPOSE = {
    "file": "Compose file, relative to this file",
    "hosts": "host of each service, or list of hosts; default: x-provision.host of the service",
    "network": "network of all services of the file",
}


def json_schema() -> dict[str, Any]:
    """The schema, in draft 2020-12."""
    top = _object(TopDocument)
    keys = method_keys(methods.names())
    host = _object(host_document(keys))
    host["properties"]["ssh"] = _object(HostSshDocument)
    for key in keys:
        document = methods.named(key).HostOptions
        assert document is not None
        host["properties"][key] = _object(document)
        _describe_options(host["properties"][key]["properties"], document)
    del host["required"]  # the inventory of hosts_from may have the address
    container, guest = _object(ContainerDocument), _object(GuestDocument)
    compose = _object(ComposeDocument)
    for schema, texts in ((container, _OF_CONTAINER), (guest, _OF_GUEST), (compose, _OF_COMPOSE)):
        for key, text in texts.items():
            schema["properties"][key]["description"] = text
    networks = [_network(name) for name in methods.names()]
    items = {
        "hosts": host,
        "groups": {"type": "array", "items": {"type": "string"}},
        "networks": {"oneOf": networks} if len(networks) > 1 else networks[0],
        "containers": container,
        "guests": guest,
    }
    for section, item in items.items():
        top["properties"][section] = {
            "type": ["object", "null"],
            "propertyNames": {"pattern": _NAMES[section]},
            "additionalProperties": item,
        }
    top["properties"]["ssh"] = _object(SshDocument)
    top["properties"]["compose"] = {
        "type": ["array", "null"],
        "items": compose,
    }
    top["required"] = ["name"]  # hosts may come from hosts_from
    _describe(top)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Inventory of provision",
        **top,
    }


def _network(method: str) -> dict[str, Any]:
    schema = _object(network_document(method))
    schema["properties"]["method"] = {"const": method}
    _describe_options(schema["properties"], options_of(method))
    return schema


def _describe_options(properties: dict[str, Any], options: type) -> None:
    """Add the descriptions of a method's own keys, those of a mapping below a key included."""
    for key, hint in get_type_hints(options, include_extras=True).items():
        for text in (
            each.text for each in getattr(hint, "__metadata__", ()) if isinstance(each, Help)
        ):
            properties[key]["description"] = text
        document = hint.__origin__ if hasattr(hint, "__metadata__") else hint
        if isinstance(document, type) and issubclass(document, Document):
            _describe_options(properties[key]["properties"], document)


def _object(document: type[Document]) -> dict[str, Any]:
    """The schema of a document, with the definitions that it refers to put in their place."""
    schema = document.model_json_schema()
    definitions = schema.pop("$defs", {})
    inlined = _inlined(schema, definitions)
    assert isinstance(inlined, dict)
    return _without_titles(inlined)


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inlined(definitions[node["$ref"].rsplit("/", 1)[1]], definitions)
    return {key: _inlined(value, definitions) for key, value in node.items()}


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """Remove pydantic's titles, class docstrings, and formats that editors do not know."""
    for key, value in schema.get("properties", {}).items():
        schema["properties"][key] = _plain(value)
    return {key: value for key, value in schema.items() if key not in ("title", "description")}


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    removed = {"title", "description"}
    if "ipv4" in str(node.get("format")):  # ipv4network is pydantic's own
        removed.add("format")
    return {key: _plain(value) for key, value in node.items() if key not in removed}


def _describe(node: Any) -> None:
    """Add descriptions to all properties below `node`."""
    if isinstance(node, list):
        for item in node:
            _describe(item)
    if not isinstance(node, dict):
        return
    for key, value in node.get("properties", {}).items():
        if isinstance(value, dict) and key in _DESCRIPTIONS:
            value.setdefault("description", _DESCRIPTIONS[key])
    for value in node.values():
        _describe(value)
