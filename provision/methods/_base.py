"""The contract of a network method: one class with defaults, of which a method overrides a part.

Every function is pure: it neither contacts a host nor reads a file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.model.tunnel import Tunnel
from provision.resources.base import Ref, Resource

Facts = Mapping[str, HostFacts]
"""The facts of the hosts that answered, by host."""


class Method(ABC):
    """A way to connect the containers of several hosts.

    By default each host gets a Docker network of its own for its subnet, on a Linux bridge.
    """

    name: ClassVar[str]
    """The value of `method` in YAML."""
    Options: ClassVar[type]
    """A frozen dataclass: the keys that a network of this method may have besides the common ones.
    Decoding, the JSON Schema and the error messages are made from its fields."""

    @abstractmethod
    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        """Yield the resources of one network, on every host of it that is in `facts`."""

    def check_host(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the reasons why one host cannot carry its part of the network."""
        yield from docker_bridge.problems(
            inventory, network, facts, overhead=self.overhead(network)
        )
        yield from docker_bridge.peer_problems(inventory, network, facts)

    def overhead(self, network: Network) -> int:  # noqa: ARG002
        """Bytes by which a packet grows on its way to another host."""
        return 0

    def mtu(self, inventory: Inventory, network: Network, facts: Facts) -> int:
        """The size in bytes of the largest packet that containers may send."""
        return docker_bridge.mtu(inventory, network, facts, overhead=self.overhead(network))

    def docker_network(self, network: Network, host: str) -> Ref:
        """The resource that Docker attaches a container of this host to."""
        return docker_bridge.docker_network(network, host)

    def interface_bridge(self, network: Network, host: str) -> Ref | None:  # noqa: ARG002
        """The bridge that `interfaces:` of containers join; None: they cannot join this network."""
        return None

    def tunnel(self, network: Network) -> Tunnel | None:  # noqa: ARG002
        """The encapsulation of packets between hosts; None: they travel unwrapped."""
        return None

    def single_l2(self, network: Network) -> bool:  # noqa: ARG002
        """True if a broadcast of one container reaches all others of the network."""
        return False

    def tools(self, network: Network, host: str) -> tuple[str, ...]:  # noqa: ARG002
        """Commands that a host needs in addition to those that every host needs."""
        return ()
