"""Everything an inventory wants on its hosts: what its methods yield, and what all share. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from provision import methods
from provision.engine import container_interfaces
from provision.engine.plan import in_order
from provision.facts.host import HostFacts
from provision.model.inventory import Container, Inventory
from provision.resources import script
from provision.resources.base import Ref, Resource, State, state
from provision.resources.kinds import container as container_kind
from provision.resources.kinds.file import File
from provision.resources.kinds.follower_unit import FollowerUnit
from provision.resources.kinds.image import DockerImage, ImageArchive
from provision.resources.kinds.package import EVERYWHERE, MANAGER, Package
from provision.resources.kinds.shared_namespace import SharedNamespace
from provision.resources.on_hosts import ETC, lock_path
from provision.resources.render import render

Facts = Mapping[str, HostFacts]


def wanted(inventory: Inventory, facts: Facts) -> State:
    """The state of every host in `facts`; of a host that was not seen nothing can be said.

    Of one without the `ip` command only its packages: what is wanted of it depends on its links.
    """
    install = inventory.packages == "install"
    packages = [
        Package(host, tool)
        for host, seen in facts.items()
        if install and seen.manager == MANAGER
        for tool in (*EVERYWHERE, *_tools(inventory, host))
    ]
    facts = {host: _expected(seen) for host, seen in facts.items() if "ip" in seen.tools}
    resources = [
        resource
        for network in inventory.networks.values()
        for resource in methods.of(network).desired(inventory, network, facts)
    ]
    resources += [
        resource
        for container in inventory.containers.values()
        if container.host in facts
        for resource in _container(inventory, container, facts)
    ]
    base = state(resources)
    return state([*packages, *resources, *_kept(inventory.name, base)])


def _tools(inventory: Inventory, host: str) -> tuple[str, ...]:
    """What the methods of a host's networks need there, beside what every host needs."""
    found: dict[str, None] = {}
    for network in inventory.networks.values():
        if host in network.hosts:
            found |= dict.fromkeys(methods.of(network).tools(network, host))
    return tuple(found)


def _expected(seen: HostFacts) -> HostFacts:
    """A host as it will be once Docker is installed there."""
    return seen if seen.docker else replace(seen, docker=seen.candidate)


def _container(inventory: Inventory, container: Container, facts: Facts) -> Iterator[Resource]:
    image, mark = container.image, f"{inventory.name}/{container.network}"
    brought: Resource = DockerImage(container.host, image.ref, inventory.name)
    if image.archive is not None:
        brought = ImageArchive(
            container.host, image.ref, image.layers, image.archive, inventory.name
        )
    yield brought
    on = _place(inventory, container)
    yield container_kind.DockerContainer(
        host=container.host,
        container=container.name,
        image=image.ref,
        command=container.command,
        network=on.name if on and on.kind == "docker_network" else _mode(inventory, container),
        address=container.address,
        restart=container.restart,
        mark=mark,
        env=container.env,
        volumes=tuple(sorted(container.volumes)),
        ports=tuple(sorted(map(str, container.ports))),
        mac=container.mac,
        needs=(*((on,) if on else ()), brought.ref),
    )
    yield from container_interfaces.attached(inventory, container, facts)
    if container.namespace_owner:
        yield SharedNamespace(
            container.host, container.name, container.namespace_owner, inventory.name
        )


def _mode(inventory: Inventory, container: Container) -> str:
    """Docker's word where the place is no Docker network of ours."""
    return "bridge" if container.network in inventory.networks else container.network


def _place(inventory: Inventory, container: Container) -> Ref | None:
    """The resource that a container is put on; None where Docker has all that it needs."""
    network = inventory.networks.get(container.network)
    if network is not None:
        return methods.of(network).docker_network(network, container.host)
    if container.namespace_owner:
        return Ref(container.host, "container", container.namespace_owner)
    # On a host whose docker0 is ours, the default bridge is what we make of it.
    return Ref(container.host, "docker0", "docker0") if container.network == "bridge" else None


def _kept(inventory: str, base: State) -> Iterator[Resource]:
    """What brings the volatile part back after a reboot, a restart or a flap, on each host."""
    for host in sorted({ref.host for ref in base}):
        volatile = [base[ref] for ref in in_order(base) if ref.host == host and base[ref].volatile]
        if volatile:
            yield from _follower(host, inventory, volatile)


def _follower(host: str, inventory: str, volatile: Sequence[Resource]) -> Iterator[Resource]:
    folder = f"{ETC}/{inventory}"
    links = sorted({link for resource in volatile for link in resource.links()})
    # To enter the namespace of a container takes more than to change that of the host.
    enters = any(resource.kind == "attachment" for resource in volatile)
    follow = render(
        "common/follow.sh.j2",
        inventory=inventory,
        lock=lock_path(inventory),
        links=links,
        enters=enters,
    )
    digest = sha256(follow.encode()).hexdigest()[:16]
    restore = script.standalone([resource.create() for resource in volatile])
    yield File(host, f"{folder}/follow.sh", follow, "0755")
    yield File(host, f"{folder}/volatile.sh", restore, "0755")
    service = f"provision-{inventory}-follow.service"
    yield FollowerUnit(
        host,
        service,
        inventory,
        render("common/follow.service.j2", inventory=inventory, digest=digest, enters=enters),
        needs=tuple(Ref(host, "file", f"{folder}/{name}") for name in ("follow.sh", "volatile.sh")),
    )
