"""The address and port to which a probe is sent, and those of the target itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from provision.checks.explain.ends import End, EndSpace, common_address
from provision.checks.explain.model import Cause, Probe
from provision.checks.explain.path import destination_network
from provision.facts.topology import HostTopology
from provision.model.inventory import Container, Inventory

_LOOPBACK = IPv4Address("127.0.0.1")


@dataclass(frozen=True, slots=True)
class ExplainTarget:
    """Where the probe is sent to. `inner` differs from `address` behind a published port."""

    address: IPv4Address
    inner: IPv4Address
    probe: Probe
    inner_port: int


@dataclass(frozen=True, slots=True)
class Question:
    """The ends of a probe as far as their hosts were read; `far` None: no such namespace."""

    inventory: Inventory
    topologies: Mapping[str, HostTopology]
    source: End
    near: EndSpace
    target: End
    far: EndSpace | None
    probe: Probe

    def destination(self) -> ExplainTarget | None:
        """The destination; None if the target has no address."""
        container = self.target.container
        if container is None:
            return self._of_address(self.target.address)
        if self.far is None:
            return self._plain(container.address)
        host = self.inventory.hosts[self.target.host].address
        if self.near.label == self.far.label and self.source.host == self.target.host:
            return self._plain(_LOOPBACK)
        if self.far.label == "host":
            return self._plain(host)
        common = common_address(self.inventory, self.near, self.far, container)
        if common is None:
            return None
        address = common[1]
        return self._published(container, host, address) or self._plain(address)

    def _plain(self, address: IPv4Address | None) -> ExplainTarget | None:
        return ExplainTarget(address, address, self.probe, self.probe.port) if address else None

    def _of_address(self, address: IPv4Address | None) -> ExplainTarget | None:
        """An address as the user wrote it, or a container's behind a port that it publishes."""
        topology = self.topologies.get(self.target.host)
        for rule in topology.dnat_rules if topology and address else ():
            same = (rule.protocol, rule.port) == (self.probe.protocol, self.probe.port)
            if same and rule.ip in (None, address) and address:
                return ExplainTarget(address, rule.to, self.probe, rule.target)
        return self._plain(address)

    def _published(
        self, container: Container, host: IPv4Address, address: IPv4Address
    ) -> ExplainTarget | None:
        """A published port, if the container's own address cannot be reached."""
        if self.shares(address):
            return None
        for port in container.ports:
            if port.protocol == self.probe.protocol and self.probe.port in (
                port.target,
                port.published,
            ):
                probe = Probe(self.probe.protocol, port.published)
                return ExplainTarget(port.ip or host, address, probe, port.target)
        return None

    def shares(self, address: IPv4Address) -> bool:
        """True if the source has a network with an address, of the inventory or of its host."""
        if destination_network(self.inventory, self.near, address) is not None:
            return True
        if any(address in network.cidr for network in self.inventory.networks.values()):
            return True
        return self.source.host == self.target.host

    def isolated(self, destination: ExplainTarget) -> Cause | None:
        """The cause if only published ports lead to the target, and the probe is for none."""
        name = self.target.name
        outside = self.target.container is None or destination.address != destination.inner
        if outside or self.far is None or self.far.label == "host":
            return None
        if self.shares(destination.address):
            return None
        return Cause(
            self.target.host, "docker_isolation", f"container {name} ({destination.address})",
            f"{name} is on a bridge of Docker that {self.target.host} has for itself: other hosts "
            "reach it by published ports alone", "Docker",
            f"publish the port: `ports:` of {name} in {self.inventory.argument}",
        )  # fmt: skip
