"""The JSON of `provision show --json`. Its keys are a contract with scripts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from provision import methods
from provision.engine.report import errors_json
from provision.facts.topology import (
    ContainerInfo,
    DnatRule,
    HostTopology,
    NamespaceLink,
    NetNamespace,
)
from provision.model.inventory import Inventory, Network
from provision.show.members import joined_networks, other_members
from provision.show.view import (
    View,
    bridge,
    bridges,
    docker_network,
    namespace_name,
    published_rule,
    unmatched_rules,
)


def shape(view: View) -> dict[str, Any]:
    """The whole view, by host."""
    errors = {"errors": errors_json(view.errors)} if view.errors else {}
    topologies = view.topologies.items()
    return {
        "inventory": view.inventory.name,
        "networks": [_network(view, network) for network in view.inventory.networks.values()],
        **_of_methods(view),
        "hosts": {host: _host(view.inventory, topology) for host, topology in topologies},
        **errors,
    }


def _of_methods(view: View) -> dict[str, Any]:
    shapes = (methods.named(name).show_json(statuses) for name, statuses in view.statuses.items())
    return {key: value for shape in shapes for key, value in shape.items()}


def _network(view: View, network: Network) -> dict[str, Any]:
    parts = {}
    for host, subnet in network.subnets.items():
        if host in view.hosts:
            topology = view.topologies.get(host)
            link = bridge(topology, network) if topology else None
            parts[host] = {"subnet": str(subnet), "bridge": link.name if link else None}
    return {
        "network": network.name,
        "method": network.method,
        "cidr": str(network.cidr),
        **({"names": network.names or True} if network.names is not None else {}),
        "hosts": parts,
    }


def _host(inventory: Inventory, topology: HostTopology) -> dict[str, Any]:
    containers = topology.containers.values()
    return {
        "address": str(inventory.hosts[topology.host].address),
        "undocked": topology.docker_error or None,
        "namespace": topology.root.inode,
        "interfaces": [_link(link) for link in topology.root.links],
        "routes": _routes(topology.root),
        "bridges": [_bridge(topology, link) for link in bridges(topology)],
        "containers": [_container(inventory, topology, container) for container in containers],
        "ports": list(_ports(topology)),
        "nat": list(topology.nat),
        **_several_networks(inventory, topology),
        **_guests(inventory, topology),
    }


def _several_networks(inventory: Inventory, topology: HostTopology) -> dict[str, Any]:
    """The networks of the containers that are on several, if there are any."""
    rows = [
        {
            "container": joined.container,
            "network": joined.network,
            "address": joined.address or None,
            "default_route": joined.has_default_route,
        }
        for joined in joined_networks(inventory, topology)
    ]
    return {"several_networks": rows} if rows else {}


def _guests(inventory: Inventory, topology: HostTopology) -> dict[str, Any]:
    """The containers of others on the networks, if there are any."""
    members = [
        {
            "container": member.container or None,
            "guest": member.guest or None,
            "network": member.network,
            "address": member.address or None,
        }
        for member in other_members(inventory, topology)
    ]
    return {"guests": members} if members else {}


def _link(link: NamespaceLink) -> dict[str, Any]:
    return {
        "interface": link.name,
        "kind": link.kind or None,
        "addresses": [str(address) for address in link.addresses],
        "mac": link.mac or None,
        "mtu": link.mtu,
        "up": link.up,
        "master": link.master or None,
    }


def _routes(netns: NetNamespace) -> list[dict[str, Any]]:
    return [
        {"to": route.dst, "via": route.via or None, "dev": route.dev or None}
        for route in netns.routes
    ]


def _bridge(topology: HostTopology, link: NamespaceLink) -> dict[str, Any]:
    ports = []
    for port in topology.ports(link.name):
        end = topology.container_end(port)
        names = {
            "container": end[0].name if end else None,
            "interface": end[1].name if end else None,
        }
        ports.append({"port": port.name, "kind": port.kind or None, "up": port.up, **names})
    return {
        "bridge": link.name,
        "network": docker_network(topology, link) or None,
        "addresses": [str(address) for address in link.addresses],
        "up": link.up,
        "ports": ports,
    }


def _container(
    inventory: Inventory, topology: HostTopology, container: ContainerInfo
) -> dict[str, Any]:
    netns = topology.namespaces.get(container.net)
    owner = namespace_name(topology, container)
    links = []
    # In the host's namespace a container's interfaces are the host's own, and no veth leads to it.
    for link in netns.links if netns else ():
        host_end = topology.host_end(link) if owner != "host" else None
        master = (host_end.master or None) if host_end else None
        links.append(_link(link) | {"port": host_end.name if host_end else None, "bridge": master})
    return {
        "container": container.name,
        "ours": container.mark.inventory == inventory.name,
        "image": container.image,
        "status": container.status,
        "mode": container.mode,
        "namespace": container.net or None,
        "namespace_of": owner or None,
        "interfaces": links,
        "routes": _routes(netns) if netns else [],
    }


def _ports(topology: HostTopology) -> Iterator[dict[str, Any]]:
    """Published ports, then the DNAT rules that belong to none."""
    for container in topology.containers.values():
        for published, target in container.published:
            rule = published_rule(topology, container, published, target)
            port = {"container": container.name, "published": published, "to": target}
            yield {**port, "rule": _rule(rule) if rule else None}
    for rule in unmatched_rules(topology):
        yield {"container": None, "published": None, "to": None, "rule": _rule(rule)}


def _rule(rule: DnatRule) -> dict[str, Any]:
    return {
        "ip": str(rule.ip) if rule.ip else None,
        "protocol": rule.protocol,
        "port": rule.port,
        "to": f"{rule.to}:{rule.target}",
        "packets": rule.packets,
        "bytes": rule.bytes,
    }
