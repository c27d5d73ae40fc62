"""The wanted state of hosts: the resources of every method, container and follower. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from types import MappingProxyType

from provision import methods
from provision.engine import (
    container_interfaces,
    firewalls,
    further_networks,
    guests,
    nft_tables,
)
from provision.engine.plan import in_order
from provision.facts.host import HostFacts
from provision.methods import NamedMember
from provision.model.grouping import grouped
from provision.model.inventory import Container, Inventory, further_name
from provision.resources import script
from provision.resources.base import Ref, Resource, State, state
from provision.resources.kinds import container as container_kind
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.file import File
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.follower_unit import FollowerUnit
from provision.resources.kinds.image import DockerImage
from provision.resources.kinds.image_archive import ImageArchive
from provision.resources.kinds.iptables_chain import is_protection, rules_to_follow
from provision.resources.kinds.nft_table import tables_to_follow
from provision.resources.kinds.package import EVERYWHERE, MANAGER, Package
from provision.resources.kinds.shared_namespace import SharedNamespace
from provision.resources.kinds.sysctl import IP_FORWARD, Sysctl
from provision.resources.on_hosts import ETC, Mark, follower_name, lock_path
from provision.resources.render import program_text, render

Facts = Mapping[str, HostFacts]
_NOTHING: State = MappingProxyType({})


def wanted(inventory: Inventory, facts: Facts, current: State = _NOTHING) -> State:
    """The wanted state of every host in `facts`.

    Without the `ip` command a host does not tell its interfaces, on which the rest depends: for
    such a host only packages are wanted. Files that are as in `current` share its texts.
    """
    install = inventory.packages == "install"
    packages = [
        Package(host, tool, names)
        for host, host_facts in facts.items()
        if install and host_facts.package_manager == MANAGER
        for tool, names in {
            **dict.fromkeys(EVERYWHERE, ()),
            **methods.tools(inventory, host, host_facts),
        }.items()
    ]
    facts = {
        host: _with_docker(host_facts)
        for host, host_facts in facts.items()
        if "ip" in host_facts.tools
    }
    resources = [
        resource
        for network in inventory.networks.values()
        for resource in (
            *methods.of(network).desired(inventory, network, facts),
            *methods.dns_resources(inventory, network, facts),
            *methods.access_resources(inventory, network, facts),
        )
    ]
    named = _named_members(inventory, facts)
    inventory = _with_addresses(inventory, named)
    networks = state(resources)
    resources += [
        resource
        for container in inventory.containers.values()
        if container.host in facts
        for resource in _container(inventory, container, facts, networks)
    ]
    resources += guests.connections(inventory, facts, networks, named)
    resources += further_networks.connections(inventory, facts, networks)
    resources = [*nft_tables.in_place_of_docker_user(resources, facts)]
    resources = [
        each.with_defaults(facts[each.host].network_defaults)
        if isinstance(each, DockerNetwork)
        else each
        for each in resources
    ]
    base = state(resources)
    resources += [*firewalls.rules(inventory, facts), *firewalls.repairs(facts, base)]
    followers = (_sharing(each, current) for each in _followers(inventory.name, base))
    return state([*packages, *resources, *followers])


def _sharing(resource: Resource, current: State) -> Resource:
    """The resource, or the equal file of `current`.

    The scripts of 1,000 followers with 1,000 routes each take 125 MiB.
    """
    if isinstance(resource, File) and current.get(resource.ref) == resource:
        return current[resource.ref]
    return resource


def _with_docker(facts: HostFacts) -> HostFacts:
    """The facts of a host as they will be once Docker is installed and runs."""
    return facts if facts.docker else replace(facts, docker=facts.docker_candidate)


def _named_members(inventory: Inventory, facts: Facts) -> dict[str, NamedMember]:
    """The members of networks with names."""
    return {
        member.container: member
        for network in inventory.networks.values()
        for member in methods.members(inventory, network, facts)
    }


def _with_addresses(inventory: Inventory, named: Mapping[str, NamedMember]) -> Inventory:
    """The inventory with the addresses of all containers of networks with names."""
    addresses = {name: member.address for name, member in named.items()}
    if not addresses:
        return inventory
    containers = {
        name: replace(
            container,
            address=addresses.get(name, container.address),
            networks=tuple(
                replace(each, address=addresses.get(further_name(name, each.name), each.address))
                for each in container.networks
            ),
        )
        for name, container in inventory.containers.items()
    }
    return replace(inventory, containers=containers)


def _dns(inventory: Inventory, container: Container) -> tuple[str, ...]:
    """The DNS server of a container; empty: that of Docker."""
    network = methods.dns_network(inventory, container)
    return (str(methods.dns_address(network, container.host)),) if network else ()


def _container(
    inventory: Inventory, container: Container, facts: Facts, networks: State
) -> Iterator[Resource]:
    image, mark = container.image, Mark(inventory.name, container.network)
    image_source: Resource = DockerImage(container.host, image.ref, inventory.name)
    if image.archive is not None:
        image_source = ImageArchive(
            container.host, image.ref, image.layers, image.archive, inventory.name
        )
    yield image_source
    network = _network(inventory, container)
    yield container_kind.DockerContainer(
        host=container.host,
        container=container.name,
        image=image.ref,
        command=container.command,
        network=(
            network.name
            if network and network.kind == "docker_network"
            else _network_mode(inventory, container)
        ),
        address=container.address,
        restart=container.restart,
        mark=mark,
        env=container.env,
        volumes=tuple(sorted(container.volumes)),
        ports=tuple(sorted(map(str, container.ports))),
        mac=container.mac,
        dns=_dns(inventory, container),
        needs=(*((network,) if network else ()), image_source.ref),
        settings=container.settings,
        predecessors=tuple(Ref(container.host, "container", name) for name in container.depends_on),
        further=further_networks.ends(inventory, container),
    )
    yield from container_interfaces.attachments(inventory, container, facts, networks)
    if container.namespace_owner:
        yield SharedNamespace(
            container.host, container.name, container.namespace_owner, inventory.name
        )


def _network_mode(inventory: Inventory, container: Container) -> str:
    """Docker's network mode of a container that is on none of our Docker networks."""
    return "bridge" if container.network in inventory.networks else container.network


def _network(inventory: Inventory, container: Container) -> Ref | None:
    """The resource whose network a container uses; None for one that Docker itself has."""
    network = inventory.networks.get(container.network)
    if network is not None:
        return methods.of(network).docker_network(network, container.host)
    if container.namespace_owner:
        return Ref(container.host, "container", container.namespace_owner)
    # If a network of the inventory has taken over docker0, containers on Docker's default bridge
    # depend on it, too.
    return Ref(container.host, "docker0", "docker0") if container.network == "bridge" else None


_BRIDGES = ("lan_bridge", "docker_network", "docker0")
_IN_CONTAINERS = ("attachment", "guest", "connection")
"""Kinds that act when a container ends, too."""
_ENTERING = (*_IN_CONTAINERS, *_BRIDGES)
"""Kinds whose `restore` enters network namespaces of containers."""


def _followers(inventory: str, base: State) -> Iterator[Resource]:
    """Yield the follower of each host that has volatile resources.

    The kernel forgets those at a reboot, when Docker restarts, or when an interface goes down; the
    follower creates them again. Its script has them in the order of the plan.
    """
    volatile: dict[str, list[Resource]] = {}
    flannels = grouped((r for r in base.values() if isinstance(r, Flannel)), _host)
    for ref in in_order(base):
        if base[ref].is_followed():
            volatile.setdefault(ref.host, []).append(base[ref])
    for host, resources in sorted(volatile.items()):
        # After a flush the ports of daemons are open: what protects them comes back first.
        resources.sort(key=lambda resource: not is_protection(resource))
        yield from _follower(host, inventory, resources, flannels.get(host, []))


def _host(resource: Resource) -> str:
    return resource.host


def _follower(
    host: str, inventory: str, volatile: Sequence[Resource], flannels: Sequence[Flannel]
) -> Iterator[Resource]:
    folder = f"{ETC}/{inventory}"
    links = sorted({link for resource in volatile for link in resource.followed_links()})
    # setns(2) into the network namespace of a container takes CAP_SYS_ADMIN and CAP_SYS_CHROOT,
    # which a follower does not have unless it needs them.
    enters = any(resource.kind in _ENTERING for resource in volatile)
    rules = sorted({rule for resource in volatile for rule in rules_to_follow(resource)})
    tables = sorted({line for resource in volatile for line in tables_to_follow(resource)})
    follow = render(
        "common/follow.sh.j2",
        inventory=inventory,
        lock=lock_path(inventory),
        holders=program_text("host/lock_holders.sh").strip(),
        networkd_link=program_text("host/networkd_link.sh").strip(),
        links=links,
        ends=any(resource.kind in _IN_CONTAINERS for resource in volatile),
        forwards=any(r.kind == Sysctl.kind and r.name == IP_FORWARD for r in volatile),
        bridges=[r.bridge_name for r in volatile if isinstance(r, DockerNetwork | Docker0)],
        ports=any(r.kind in _BRIDGES for r in volatile),
        devices=[(flannel.device, flannel.service) for flannel in flannels if flannel.device],
        flannels=[(flannel.settings_path, flannel.service, flannel.ctl) for flannel in flannels],
        rules=[*rules, *tables],
        tables=bool(tables),
        prerouting=any(rule.endswith(" PREROUTING") for rule in rules),
    )
    digest = sha256(follow.encode()).hexdigest()[:16]
    restore = script.standalone([resource.restore() for resource in volatile])
    yield File(host, f"{folder}/follow.sh", follow, "0755")
    yield File(host, f"{folder}/volatile.sh", restore, "0755")
    service = follower_name(inventory)
    yield FollowerUnit(
        host,
        service,
        inventory,
        render("common/follow.service.j2", inventory=inventory, digest=digest, enters=enters),
        needs=tuple(Ref(host, "file", f"{folder}/{name}") for name in ("follow.sh", "volatile.sh")),
    )
