"""`networks:` of containers: their connections to networks besides the first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision import methods
from provision.engine.guests import peers
from provision.facts.host import HostFacts
from provision.model.inventory import Container, FurtherNetwork, Inventory
from provision.resources.base import Ref, State
from provision.resources.kinds.connection import NetworkConnection
from provision.resources.kinds.container import FurtherEnd
from provision.resources.lib.docker_api import docker_name


def connections(
    inventory: Inventory, facts: Mapping[str, HostFacts], networks: State
) -> Iterator[NetworkConnection]:
    """Yield a connection for each further network of each container.

    `networks` are the wanted resources of the networks.
    """
    for container in inventory.containers.values():
        for further in container.networks if container.host in facts else ():
            network, ref = inventory.networks[further.name], _ref(inventory, container, further)
            yield NetworkConnection(
                container.host,
                container.name,
                further.name,
                docker_name(ref),
                further.address,
                peers(network, container.host, networks.get(ref)),
                container.network,
                inventory.name,
                needs=(ref,),
            )


def ends(inventory: Inventory, container: Container) -> tuple[FurtherEnd, ...]:
    """The Docker networks to which a new container is connected before it starts."""
    return tuple(
        FurtherEnd(_ref(inventory, container, further), further.address)
        for further in container.networks
    )


def _ref(inventory: Inventory, container: Container, further: FurtherNetwork) -> Ref:
    network = inventory.networks[further.name]
    return methods.of(network).docker_network(network, container.host)
