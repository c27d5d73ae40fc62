"""A view → the JSON of `provision show --json`, whose keys keep their meaning. Pure."""

from __future__ import annotations

from typing import Any

from provision.engine.report import errors_json
from provision.facts.topology import (
    ContainerInfo,
    DnatRule,
    HostTopology,
    NamespaceLink,
    NamespaceRoute,
    NetNamespace,
)
from provision.methods.flannel import view as overlay
from provision.model.inventory import Inventory, Network
from provision.show.view import View, bridge, bridges, docker_network, rule, stray, whose


def shape(view: View) -> dict[str, Any]:
    """Everything that was found, by host."""
    errors = {"errors": errors_json(view.errors)} if view.errors else {}
    return {
        "inventory": view.inventory.name,
        "networks": [_network(view, network) for network in view.inventory.networks.values()],
        **({"overlays": overlay.shape(view.overlays)} if view.overlays else {}),
        "hosts": {host: _host(view.inventory, found) for host, found in view.found.items()},
        **errors,
    }


def _network(view: View, network: Network) -> dict[str, Any]:
    parts = {}
    for host, subnet in network.subnets.items():
        if host in view.hosts:
            found = view.found.get(host)
            on = bridge(found, network) if found else None
            parts[host] = {"subnet": str(subnet), "bridge": on.name if on else None}
    words = {"network": network.name, "method": network.method, "cidr": str(network.cidr)}
    return {**words, "hosts": parts}


def _host(inventory: Inventory, found: HostTopology) -> dict[str, Any]:
    lodgers = found.containers.values()
    return {
        "address": str(inventory.hosts[found.host].address),
        "undocked": found.docker_error or None,
        "namespace": found.root.inode,
        "interfaces": [_link(link) for link in found.root.links],
        "routes": _routes(found.root),
        "bridges": [_bridge(found, link) for link in bridges(found)],
        "containers": [_container(inventory, found, lodger) for lodger in lodgers],
        "ports": [
            _port(found, lodger, place, inside)
            for lodger in lodgers
            for place, inside in lodger.published
        ]
        + [{"container": None, "published": None, "to": None, "rule": _rule(one)}
           for one in stray(found)],
        "nat": list(found.nat),
    }  # fmt: skip


def _link(link: NamespaceLink) -> dict[str, Any]:
    return {
        "interface": link.name,
        "kind": link.kind or None,
        "addresses": [str(own) for own in link.addresses],
        "mac": link.mac or None,
        "mtu": link.mtu,
        "up": link.up,
        "master": link.master or None,
    }


def _routes(space: NetNamespace) -> list[dict[str, Any]]:
    def one(route: NamespaceRoute) -> dict[str, Any]:
        return {"to": route.dst, "via": route.via or None, "dev": route.dev or None}

    return [one(route) for route in space.routes]


def _bridge(found: HostTopology, link: NamespaceLink) -> dict[str, Any]:
    ports = []
    for port in found.ports(link.name):
        inner = found.container_end(port)
        ends = {
            "container": inner[0].name if inner else None,
            "interface": inner[1].name if inner else None,
        }
        ports.append({"port": port.name, "kind": port.kind or None, "up": port.up, **ends})
    return {
        "bridge": link.name,
        "network": docker_network(found, link) or None,
        "addresses": [str(own) for own in link.addresses],
        "up": link.up,
        "ports": ports,
    }


def _container(inventory: Inventory, found: HostTopology, lodger: ContainerInfo) -> dict[str, Any]:
    space = found.namespaces.get(lodger.net)
    links = []
    for link in space.links if space else ():
        outer = found.host_end(link) if whose(found, lodger) != "host" else None
        on = (outer.master or None) if outer else None
        ends = {"port": outer.name if outer else None, "bridge": on}
        links.append(_link(link) | ends)
    return {
        "container": lodger.name,
        "ours": lodger.mark.partition("/")[0] == inventory.name,
        "image": lodger.image,
        "status": lodger.status,
        "mode": lodger.mode,
        "namespace": lodger.net or None,
        "namespace_of": whose(found, lodger) or None,
        "interfaces": links,
        "routes": _routes(space) if space else [],
    }


def _port(found: HostTopology, lodger: ContainerInfo, place: str, inside: str) -> dict[str, Any]:
    one = rule(found, lodger, place, inside)
    where = {"container": lodger.name, "published": place, "to": inside}
    return {**where, "rule": _rule(one) if one else None}


def _rule(one: DnatRule) -> dict[str, Any]:
    return {
        "ip": str(one.ip) if one.ip else None,
        "protocol": one.protocol,
        "port": one.port,
        "to": f"{one.to}:{one.target}",
        "packets": one.packets,
        "bytes": one.bytes,
    }
