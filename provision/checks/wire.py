"""Traffic between hosts: a sniffer on each host counts frames while containers talk. Pure.

`start_script` starts it, `send_script` sends packets for it beside the other checks, `stop_script`
ends it. `parse` reads the counts, and `ContainerPair` compares them with the method's `tunnel` and
`single_l2`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from provision import methods
from provision.checks.probe import Endpoint
from provision.model.inventory import Container, Inventory, Network
from provision.model.tunnel import Tunnel
from provision.resources.render import program_text
from provision.resources.script import quoted

SNIFF_S = 180
"""Seconds after which a sniffer ends by itself, whatever becomes of the controller."""
# Also watch the usual tunnel ports, to see a tunnel that no method declares: VXLAN's assigned port
# (RFC 7348), the older default of Linux that flannel uses, and that of flannel's udp backend.
_USUAL_PORTS = (4789, 8472, 8285)

AddressPair = tuple[IPv4Address, IPv4Address]
"""Source and destination."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`count` IPv4 packets of one flow on one interface of a host.

    `protocol` is that of the tunnel, or `plain`; `outer` are the addresses of the tunnel packet,
    `inner` those of the packet in it. Both are the same for plain packets.
    """

    dev: str
    leaves: bool
    protocol: str
    port: int
    outer: AddressPair
    inner: AddressPair
    count: int


@dataclass(frozen=True, slots=True)
class Capture:
    """Counts of one host's sniffer; `missed` frames came too fast for it.

    `error` is the reason why there are no counts, and empty otherwise.
    """

    frames: tuple[Frame, ...]
    missed: int
    error: str


def start_script(inventory: Inventory) -> str:
    """A script that starts the sniffer and prints `wire PID`; empty without networks."""
    networks = inventory.networks.values()
    if not networks:
        return ""
    tunnels = [methods.of(network).tunnel(network) for network in networks]
    ports = {tunnel.port for tunnel in tunnels if tunnel} | {*_USUAL_PORTS}
    arguments = [f"net={network.cidr}" for network in networks]
    # GRE has no port: the sniffer knows it by its protocol number.
    arguments += [f"port={port}" for port in sorted(ports - {0})]
    return _program("watch", str(SNIFF_S), *arguments)


def parse_pid(text: str) -> int | None:
    """The PID of the sniffer, from the output of `start_script`."""
    match = re.search(r"^wire (\d+)$", text, re.M)
    return int(match[1]) if match else None


def stop_script(pid: int | None) -> str:
    """A script that ends a sniffer and prints its counts; empty without one."""
    return _program("told", str(pid)) if pid else ""


def _program(*arguments: str) -> str:
    return quoted(("perl", "-e", program_text("checks/wire.pl"), *arguments)) + "\n"


def parse(text: str) -> Capture:
    """Read the output of `stop_script`, or of `start_script` where no sniffer could be started."""
    rows = re.findall(
        r"^frame (\S+) (in|out) (\S+) (\d+) (\S+) (\S+) (\S+) (\S+) (\d+)$", text, re.M
    )
    frames = (
        Frame(dev, direction == "out", protocol, int(port), _pair(a, b), _pair(c, d), int(count))
        for dev, direction, protocol, port, a, b, c, d, count in rows
    )
    missed = re.search(r"^lost (\d+)$", text, re.M)
    reason = re.search(r"^unwatched: (.*)$", text, re.M)
    error = "" if missed else reason[1] if reason else "it printed no counts"
    return Capture(tuple(frames), int(missed[1]) if missed else 0, error)


def _pair(source: str, target: str) -> AddressPair:
    return IPv4Address(source), IPv4Address(target)


def send_script(
    inventory: Inventory, sources: Iterable[Endpoint], targets: Iterable[Endpoint]
) -> str:
    """A script that sends a broadcast from each source, and UDP that fills the MTU to each of
    `targets` in its segment."""
    endpoints = tuple(targets)
    lines = [f"datagrams={shlex.quote(program_text('checks/datagrams.pl'))}"]
    for source in sources:
        broadcast = str(_broadcast_address(inventory, source))
        arguments = [source.container, str(source.mtu), broadcast]
        for endpoint in endpoints:
            if source.reaches(endpoint):
                arguments += [endpoint.container, str(endpoint.address)]
        enter = quoted(("nsenter", "-t", str(source.pid), "-n", "perl", "-e"))
        lines.append(f'{enter} "$datagrams" {quoted(arguments)} &')
    return "\n".join(lines) + "\n"


def _broadcast_address(inventory: Inventory, source: Endpoint) -> IPv4Address:
    network = inventory.networks.get(source.segment)
    return _subnet(network, source.host).broadcast_address if network else _LIMITED_BROADCAST


def _subnet(network: Network, host: str) -> IPv4Network:
    """The subnet in which a broadcast of a container on this host is received."""
    return network.cidr if methods.of(network).single_l2(network) else network.subnets[host]


# RFC 919: the broadcast address of a sender that knows no subnet.
_LIMITED_BROADCAST = IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class ContainerPair:
    """Traffic from one container to another of its network, and the captures on their hosts."""

    inventory: Inventory
    pair: tuple[Container, Container]
    addresses: AddressPair
    captures: Mapping[str, Capture]

    @property
    def network(self) -> Network:
        """The network of both containers."""
        return self.inventory.networks[self.pair[0].network]

    @property
    def crosses_hosts(self) -> bool:
        """True if the containers run on two hosts."""
        return self.pair[0].host != self.pair[1].host

    def unknown(self) -> str:
        """The reason why the traffic cannot be judged; empty when it can."""
        if not self.crosses_hosts and not methods.of(self.network).uses_bridge:
            return "traffic between containers of one host does not pass the host's interfaces"
        for host in dict.fromkeys(container.host for container in self.pair):
            capture = self.captures.get(host)
            if capture is None or capture.error:
                reason = capture.error if capture else "the host did not answer"
                return f"no sniffer ran on {host}: {reason}"
            if capture.missed:
                return f"{host} is too busy: its sniffer missed {capture.missed} frames"
        return ""

    def error(self) -> str:
        """The first difference between the traffic and the method's declaration, or empty."""
        method = methods.of(self.network)
        declared = method.tunnel(self.network) if self.crosses_hosts else None
        return next(self._errors(declared), "")

    def _errors(self, declared: Tunnel | None) -> Iterator[str]:
        for container, leaves in zip(self.pair, (True, False), strict=True):
            frames = [
                frame
                for frame in self.captures[container.host].frames
                if frame.inner == self.addresses and frame.leaves == leaves
            ]
            verb = "leaves" if leaves else "reaches"
            for traffic in self._unexpected(declared, frames):
                yield f"{traffic} {verb} {container.host}"

    def _unexpected(self, declared: Tunnel | None, frames: list[Frame]) -> Iterator[str]:
        tunnelled = [frame for frame in frames if frame.protocol != "plain"]
        expected = [frame for frame in tunnelled if declared and self._matches(declared, frame)]
        for frame in tunnelled:
            if frame not in expected:
                hosts = " → ".join(map(str, frame.outer))
                yield f"{Tunnel(frame.protocol, frame.port)} traffic {hosts}"  # type: ignore[arg-type]
        if declared is None or (declared.optional and not tunnelled):
            if self.crosses_hosts and not frames:
                yield "no traffic"
            return
        if not expected:
            yield f"no {declared} traffic"
        devices = {frame.dev for frame in expected}
        # Plain packets on the interfaces of containers are right: they enter the tunnel later.
        if any(frame.protocol == "plain" and frame.dev in devices for frame in frames):
            yield "unencapsulated traffic"

    def _matches(self, declared: Tunnel, frame: Frame) -> bool:
        hosts = self.inventory.hosts
        source, target = (hosts[container.host].address for container in self.pair)
        peers = {hosts[name].address for name in self.network.hosts}
        direct = frame.outer == (source, target)
        # RSTP between the hosts' bridges may send packets by a third host.
        relayed = not declared.direct and set(frame.outer) <= peers
        same = (frame.protocol, frame.port) == (declared.protocol, declared.port)
        return same and (direct or relayed)

    def copies(self) -> int:
        """The most copies of the first container's broadcast on one interface of the other's host.

        A bridge shows one copy on each of its ports: only several on the same one are a loop.
        """
        source, target = self.pair
        broadcast = _subnet(self.network, source.host).broadcast_address
        return max(self._counts((self.addresses[0], broadcast), target.host), default=0)

    def _counts(self, addresses: AddressPair, host: str) -> Iterable[int]:
        totals: dict[str, int] = {}
        for frame in self.captures[host].frames:
            if frame.protocol == "plain" and not frame.leaves and frame.inner == addresses:
                totals[frame.dev] = totals.get(frame.dev, 0) + frame.count
        return totals.values()

    def expected_copies(self) -> int:
        """1 if both containers are on one layer 2, else 0."""
        return int(not self.crosses_hosts or methods.of(self.network).single_l2(self.network))
