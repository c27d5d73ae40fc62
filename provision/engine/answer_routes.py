"""Routes of a container by Docker's network, beside additional interfaces. Pure.

Docker translates the destination of a packet to the container's address on Docker's network. The
answer has to go back through the host, which translates it again. A route of an additional
interface (a default route, or simply the range that the client is in) would send it another way,
with a source that the client does not know. So packets from that address use a table of their own.
So do packets to the containers of other hosts, which a default route would send to the LAN.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import NamedTuple

from provision import methods
from provision.facts.host import HostFacts
from provision.model.fields.interfaces import MAIN_TABLE, route_spec, rule_spec
from provision.model.inventory import Container, Inventory
from provision.resources.base import Ref, State
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.on_hosts import ANSWER_TABLE

_LAST_PRIORITY = 32765
"""The rule for the main table has the next one."""


class DockerSubnet(NamedTuple):
    """Docker's network of a container: its subnet, the part for containers, and the gateway."""

    subnet: IPv4Network
    part: IPv4Network
    gateway: IPv4Address


class AnswerRoutes(NamedTuple):
    """Routes of eth0 and the rules that lead to them, as `ip` writes them."""

    routes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


def answer_routes(
    inventory: Inventory, container: Container, facts: Mapping[str, HostFacts], networks: State
) -> AnswerRoutes:
    """The routes for a container; empty if it needs none, or if its network is unknown as yet.

    `networks` are the wanted resources of the networks.
    """
    docker = None
    if container.interfaces:
        docker = _docker_subnet(inventory, container, facts[container.host], networks)
    if docker is None:
        return AnswerRoutes()
    rules = tuple(sorted(_rules(container, docker, _other_hosts(inventory, container, docker))))
    if not rules:
        return AnswerRoutes()
    routes = (
        route_spec(str(docker.subnet), "", "", 0, ANSWER_TABLE),
        route_spec("default", str(docker.gateway), "", 0, ANSWER_TABLE),
    )
    return AnswerRoutes(tuple(sorted(routes)), rules)


def _rules(
    container: Container, docker: DockerSubnet, other_hosts: IPv4Network | None
) -> Iterator[str]:
    """Yield the rules that lead to the table, with priorities that the container does not use."""
    used = {rule.priority for interface in container.interfaces for rule in interface.rules}
    if container.ports:
        source = f"{container.address}/32" if container.address else str(docker.part)
        # Answers come before the container's own rules.
        first = next(priority for priority in range(1, len(used) + 2) if priority not in used)
        used.add(first)
        yield rule_spec(first, ANSWER_TABLE, source, "")
    if other_hosts is not None:
        highest = min(max(used, default=0) + 1, _LAST_PRIORITY)
        last = next(priority for priority in range(highest, 0, -1) if priority not in used)
        yield rule_spec(last, ANSWER_TABLE, "", str(other_hosts))


def _other_hosts(
    inventory: Inventory, container: Container, docker: DockerSubnet
) -> IPv4Network | None:
    """The range of the container's network, if a default route of an interface would take it."""
    network = inventory.networks.get(container.network)
    if network is None or docker.subnet.supernet_of(network.cidr):
        return None  # no other hosts, or all of them on the link
    main = [
        route.to
        for interface in container.interfaces
        for route in interface.routes
        if route.table == MAIN_TABLE and ":" not in route.to + route.via
    ]
    ranges = [IPv4Network(to) for to in main if to not in ("default", "0.0.0.0/0")]
    # A route of the file into the range is meant so.
    if len(ranges) == len(main) or any(entry.overlaps(network.cidr) for entry in ranges):
        return None
    return network.cidr


def _docker_subnet(
    inventory: Inventory, container: Container, facts: HostFacts, networks: State
) -> DockerSubnet | None:
    network = inventory.networks.get(container.network)
    docker0 = Ref(container.host, "docker0", "docker0")
    ref = methods.of(network).docker_network(network, container.host) if network else docker0
    match networks.get(ref):
        case (
            DockerNetwork(subnet=IPv4Network() as subnet, gateway=IPv4Address() as gateway) as kind
        ):
            return DockerSubnet(subnet, kind.ip_range or subnet, gateway)
        case Docker0(settings=settings):
            return _from_settings({key: json.loads(text) for key, text in settings}, facts)
        case _:
            return _from_link(facts, "docker0")


def _from_settings(settings: Mapping[str, str], facts: HostFacts) -> DockerSubnet | None:
    """The default bridge of these keys of daemon.json."""
    if "bip" not in settings:
        return _from_link(facts, settings.get("bridge", ""), settings)
    bridge = IPv4Interface(settings["bip"])
    part = IPv4Network(settings.get("fixed-cidr", str(bridge.network)))
    return DockerSubnet(bridge.network, part, bridge.ip)


def _from_link(
    facts: HostFacts, name: str, settings: Mapping[str, str] | None = None
) -> DockerSubnet | None:
    """A bridge that exists already; None on a host that has no Docker yet."""
    link = facts.links.get(name)
    if link is None or not link.addresses:
        return None
    bridge, keys = link.addresses[0], settings or {}
    part = IPv4Network(keys.get("fixed-cidr", str(bridge.network)))
    gateway = IPv4Address(keys.get("default-gateway", str(bridge.ip)))
    return DockerSubnet(bridge.network, part, gateway)
