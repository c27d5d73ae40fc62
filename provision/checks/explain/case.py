"""One explanation in the making: both ends, the path, and the evidence of the hosts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from provision import methods
from provision.checks.explain.ends import End
from provision.checks.explain.evidence import CapturedPacket, HostEvidence, Space
from provision.checks.explain.model import HOST, Point, Probe
from provision.checks.explain.scripts import SMALL, Sent
from provision.checks.explain.sides import Side
from provision.facts.topology import HostTopology, NamespaceLink
from provision.model.inventory import Inventory, Network


@dataclass(frozen=True, slots=True)
class Case:
    """All that the judge knows.

    `address` is that of the source, `target_address` the one that the probe is sent to, and
    `inner_address` and `inner_port` the container's own behind a published port. `evidence` is by
    host.
    """

    inventory: Inventory
    probe: Probe
    source: End
    target: End
    topologies: Mapping[str, HostTopology]
    source_side: Side
    target_side: Side | None
    address: IPv4Address
    target_address: IPv4Address
    inner_address: IPv4Address
    points: tuple[Point, ...]
    evidence: Mapping[str, HostEvidence]
    sent: Sent
    large: int = 0
    inner_port: int = 0

    @property
    def network(self) -> Network | None:
        """The network in which both ends have an address."""
        return self.source_side.network

    def of(self, host: str) -> HostEvidence:
        """The evidence of a host; empty if it could not be asked."""
        return self.evidence.get(host, HostEvidence())

    def space(self, point: Point) -> Space:
        """The state of a point's namespace."""
        return self.of(point.host).space(point.space)

    def link(self, point: Point) -> NamespaceLink | None:
        """The interface of a point before the probe."""
        topology = self.topologies.get(point.host)
        if topology is None:
            return None
        if point.space == "host":
            return topology.root.link(point.device)
        side = self.side(point)
        return side.end_space.space.link(point.device) if side else None

    def side(self, point: Point) -> Side | None:
        """The end whose leg a point is on."""
        if self.target_side and point.host == self.target_side.host != self.source_side.host:
            return self.target_side
        if self.target_side and point.space == self.target_side.end_space.label != "host":
            return self.target_side
        return self.source_side if point.host == self.source_side.host else None

    @property
    def only_large(self) -> bool:
        """True if small packets were answered, and large ones were not."""
        return SMALL in self.sent.answered and self.large not in self.sent.answered

    @property
    def size(self) -> int:
        """The least size of the packets that were lost."""
        return SMALL + 1 if self.only_large else 0

    def packets(self, point: Point) -> list[CapturedPacket]:
        """The packets at a point, of those that were lost."""
        return self.of(point.host).at(point, size=self.size)

    def watched(self, point: Point) -> bool:
        """True if a sniffer could see the point."""
        evidence = self.evidence.get(point.host)
        blind = evidence is None or any("sniffer" in p for p in evidence.problems)
        return not blind and not self.sealed(point)

    def sealed(self, point: Point) -> bool:
        """True where the probe passes encrypted: nobody can tell which packet holds it."""
        declared = methods.of(self.network).tunnel(self.network) if self.network else None
        side = self.side(point) if declared and declared.encrypted else None
        return side is not None and point.space == HOST and point.device in side.nic

    @property
    def last_seen(self) -> int:
        """The number of the last point at which the probe or its answer was seen; -1: none."""
        numbers = [n for n, point in enumerate(self.points) if self.packets(point)]
        return max(numbers, default=-1)

    @property
    def arrived(self) -> bool:
        """True unless the target's sniffers show that something else has answered."""
        requests = [point for point in self.points if not point.reply]
        last = requests[-1] if self.target_side and requests else None
        return last is None or not self.watched(last) or bool(self.packets(last))

    @property
    def answered(self) -> bool:
        """True if the source got its answer."""
        if self.probe.protocol == "icmp":
            return SMALL in self.sent.answered and not self.only_large
        if self.probe.protocol == "tcp":
            return self.sent.connected
        if self.sent.datagram:
            return True
        requests = [point for point in self.points if not point.reply]
        arrived = bool(requests) and bool(self.packets(requests[-1]))
        return arrived and not self.sent.refused and not self.sent.errors

    @property
    def apply(self) -> str:
        """The command that makes what the inventory describes."""
        return f"provision apply {self.inventory.argument}"
