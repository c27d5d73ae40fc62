"""The traffic between hosts: a sniffer on each host counts frames during the checks. Pure.

`start_script` starts the sniffer, which counts the packets of all checks and the broadcasts that
`send_script` sends. `stop_script` ends the sniffer, and `parse` reads the counts. `ContainerPair`
compares them with the method's `tunnel` and `single_l2`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from provision import methods
from provision.checks.limits import Limits
from provision.checks.probe import Calls, Endpoint
from provision.model.inventory import Container, Inventory, Network
from provision.model.tunnel import Tunnel
from provision.resources.render import program_text
from provision.resources.script import quoted

# The sniffer also watches ports that no method of the inventory declares, to detect a tunnel that
# should not exist: 4789 is VXLAN's assigned port (RFC 7348), 8472 the default of the Linux kernel,
# which flannel keeps, and 8285 the port of flannel's udp backend.
_WELL_KNOWN_TUNNEL_PORTS = (4789, 8472, 8285)

AddressPair = tuple[IPv4Address, IPv4Address]
"""Source and destination."""


@dataclass(frozen=True, slots=True)
class FrameCount:
    """The number of IPv4 packets that one interface of a host sent or received of one flow.

    `protocol` is the tunnel's (`gre`, `vxlan`, `udp`, `wireguard`), `plain` without a tunnel, or
    `readable` for a packet of an encrypted tunnel in which the check's own data was found. `port`
    is the tunnel's UDP port, or 0. `outer`: addresses of the tunnel packet. `inner`: addresses of
    the packet inside. For plain and for encrypted packets, both are the same.
    """

    dev: str
    outgoing: bool
    protocol: str
    port: int
    outer: AddressPair
    inner: AddressPair
    count: int


@dataclass(frozen=True, slots=True)
class Capture:
    """The counts of one host's sniffer.

    `missed`: number of frames that the kernel dropped because the sniffer read too slowly.
    `error`: the reason why there are no counts; empty if there are.
    """

    frames: tuple[FrameCount, ...]
    missed: int
    error: str
    _by_inner: dict[AddressPair, list[FrameCount]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for frame in self.frames:
            self._by_inner.setdefault(frame.inner, []).append(frame)

    def between(self, source: IPv4Address, target: IPv4Address) -> list[FrameCount]:
        """The counts of packets with these inner addresses."""
        return self._by_inner.get((source, target), [])


def start_script(inventory: Inventory, limits: Limits, more: Iterable[str] = ()) -> str:
    """A script that starts the sniffer and prints `sniffer PID`; "" if there is no network.

    `more` are further arguments of `checks/wire.pl`.
    """
    networks = inventory.networks.values()
    if not networks:
        return ""
    tunnels = [methods.of(network).tunnel(network) for network in networks]
    sealed = {
        port for tunnel in tunnels if tunnel and tunnel.encrypted for port in tunnel.every_port
    }
    ports = {tunnel.port for tunnel in tunnels if tunnel} | {*_WELL_KNOWN_TUNNEL_PORTS}
    arguments = [f"net={network.cidr}" for network in networks]
    # GRE has no port (`Tunnel.port` is 0): the sniffer detects GRE by IP protocol 47.
    arguments += [f"port={port}" for port in sorted(ports - sealed - {0})]
    arguments += [f"sealed={port}" for port in sorted(sealed)]
    arguments += more
    return _sniffer_script("start", str(limits.listen_s), *arguments)


def parse_pid(text: str) -> int | None:
    """The PID of the sniffer, from the output of `start_script`; None if it did not start."""
    match = re.search(r"^sniffer (\d+)$", text, re.M)
    return int(match[1]) if match else None


def stop_script(pid: int | None) -> str:
    """A script that ends a sniffer and prints its counts; "" if there is none."""
    return _sniffer_script("stop", str(pid)) if pid else ""


def _sniffer_script(*arguments: str) -> str:
    return quoted(("perl", "-e", program_text("checks/wire.pl"), *arguments)) + "\n"


def parse(text: str) -> Capture:
    """Parse the output of `stop_script`.

    Parses the output of `start_script` as well, which contains the error of a failed start.
    """
    rows = re.findall(
        r"^frame (\S+) (in|out) (\S+) (\d+) (\S+) (\S+) (\S+) (\S+) (\d+)$", text, re.M
    )
    frames = (
        FrameCount(
            dev,
            outgoing=direction == "out",
            protocol=protocol,
            port=int(port),
            outer=(IPv4Address(outer_from), IPv4Address(outer_to)),
            inner=(IPv4Address(source), IPv4Address(target)),
            count=int(count),
        )
        for dev, direction, protocol, port, outer_from, outer_to, source, target, count in rows
    )
    missed = re.search(r"^lost (\d+)$", text, re.M)
    failure = re.search(r"^sniffer failed: (.*)$", text, re.M)
    # The sniffer prints `lost` last, so without that line the counts may be incomplete.
    error = "" if missed else failure[1] if failure else "the sniffer printed none"
    return Capture(tuple(frames), int(missed[1]) if missed else 0, error)


def send_script(inventory: Inventory, calls: Calls) -> str:
    """A script that sends a broadcast from each source, and runs the check `udp`.

    The check sends datagrams as large as the MTU to each target of the source.
    """
    lines = [f"datagrams={shlex.quote(program_text('checks/datagrams.pl'))}"]
    for source, targets in calls.items():
        broadcast = str(_broadcast_address(inventory, source))
        arguments = [source.container, str(source.mtu), broadcast]
        for target in targets:
            arguments += [target.container, str(target.address)]
        enter = quoted(("nsenter", "-t", str(source.pid), "-n", "perl", "-e"))
        # In the background, because a program waits up to 8 s; probe.combined waits for all.
        lines.append(f'{enter} "$datagrams" {quoted(arguments)} &')
    return "\n".join(lines) + "\n"


def _broadcast_address(inventory: Inventory, source: Endpoint) -> IPv4Address:
    network = inventory.networks.get(source.segment)
    return _subnet(network, source.host).broadcast_address if network else _LIMITED_BROADCAST


def _subnet(network: Network, host: str) -> IPv4Network:
    """The subnet whose containers receive a broadcast that a container on `host` sends."""
    return network.cidr if methods.of(network).single_l2(network) else network.subnets[host]


# RFC 919: for containers on Docker's own networks, whose subnet the inventory does not contain.
_LIMITED_BROADCAST = IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class ContainerPair:
    """Traffic from one container to another in its network, and the capture of each host.

    `containers` and `addresses`: source, then target.
    """

    inventory: Inventory
    containers: tuple[Container, Container]
    addresses: AddressPair
    captures: Mapping[str, Capture]

    @property
    def network(self) -> Network:
        """The network of both containers."""
        return self.inventory.networks[self.containers[0].network]

    @property
    def crosses_hosts(self) -> bool:
        """True if the containers run on two hosts."""
        return self.containers[0].host != self.containers[1].host

    def skip_reason(self) -> str:
        """The reason why the traffic cannot be judged; empty if it can."""
        if not self.crosses_hosts and not methods.of(self.network).uses_bridge:
            return "traffic between containers of one host does not pass the host's interfaces"
        for host in dict.fromkeys(container.host for container in self.containers):
            capture = self.captures.get(host)
            if capture is None or capture.error:
                reason = capture.error if capture else "the host did not answer"
                return f"no frame counts from {host}: {reason}"
            if capture.missed:
                return f"{host} is too busy: its sniffer missed {capture.missed} frames"
        return ""

    def traffic_error(self) -> str:
        """The first difference between the traffic and the tunnel that the method declares."""
        method = methods.of(self.network)
        declared = method.tunnel(self.network) if self.crosses_hosts else None
        return next(self._traffic_errors(declared), "")

    def _traffic_errors(self, declared: Tunnel | None) -> Iterator[str]:
        # The packets leave the source's host, and reach the target's.
        for container, outgoing in zip(self.containers, (True, False), strict=True):
            frames = [
                frame
                for frame in self.captures[container.host].between(*self.addresses)
                if frame.outgoing == outgoing
            ]
            if declared and declared.encrypted:
                frames += self._encrypted_frames(container.host, outgoing=outgoing)
            verb = "leaves" if outgoing else "reaches"
            for traffic in self._deviations(declared, frames):
                yield f"{traffic} {verb} {container.host}"

    def _encrypted_frames(self, host: str, *, outgoing: bool) -> list[FrameCount]:
        """The packets between the two hosts, of which nobody can tell the containers."""
        return [
            frame
            for frame in self.captures[host].frames
            if frame.protocol in ("wireguard", "readable")
            and frame.outgoing == outgoing
            and self._between_hosts(frame)
        ]

    def _deviations(self, declared: Tunnel | None, frames: list[FrameCount]) -> Iterator[str]:
        if any(frame.protocol == "readable" for frame in frames):
            yield "readable data inside the encryption"
        tunnelled = [frame for frame in frames if frame.protocol not in ("plain", "readable")]
        expected = [frame for frame in tunnelled if declared and self._matches(declared, frame)]
        for frame in tunnelled:
            if frame not in expected:
                hosts = " → ".join(map(str, frame.outer))
                yield f"{Tunnel(frame.protocol, frame.port)} traffic {hosts}"  # type: ignore[arg-type]
        # Plain packets are correct if the method has no tunnel, or if the hosts may omit it.
        if declared is None or (declared.optional and not tunnelled):
            if self.crosses_hosts and not frames:
                yield "no traffic"
            return
        if not expected:
            yield f"no {declared} traffic"
        devices = {frame.dev for frame in expected}
        # A packet is plain on its way through the container's veth and bridge. On an interface that
        # carries the tunnel, a plain packet has bypassed it.
        if any(frame.protocol == "plain" and frame.dev in devices for frame in frames):
            yield "unencapsulated traffic"

    def _matches(self, declared: Tunnel, frame: FrameCount) -> bool:
        if frame.protocol != declared.protocol or frame.port not in declared.every_port:
            return False
        if self._between_hosts(frame):
            return True
        # RSTP blocks redundant tunnels between the hosts' OVS bridges, so a third host may forward.
        peers = (self.inventory.hosts[name].address for name in self.network.hosts)
        return not declared.direct and set(frame.outer) <= set(peers)

    def _between_hosts(self, frame: FrameCount) -> bool:
        """True if the outer addresses are those of the two hosts.

        With encryption and a tunnel that is not direct, they may be those of a router or of a
        third host: NAT and `via` decide.
        """
        hosts = self.inventory.hosts
        source, target = (hosts[container.host].address for container in self.containers)
        declared = methods.of(self.network).tunnel(self.network)
        indirect = declared is not None and declared.encrypted and not declared.direct
        return indirect or frame.outer == (source, target)

    def broadcast_copies(self) -> int:
        """The number of times that the source's broadcast reached the target's host.

        Counted on the interface that received most: each interface on the way receives one copy,
        and only a loop sends several through the same interface.
        """
        source, target = self.containers
        broadcast = _subnet(self.network, source.host).broadcast_address
        return max(self._received((self.addresses[0], broadcast), target.host), default=0)

    def _received(self, addresses: AddressPair, host: str) -> Iterable[int]:
        """Plain packets that each interface of the host received between two addresses."""
        totals: dict[str, int] = {}
        for frame in self.captures[host].between(*addresses):
            if frame.protocol == "plain" and not frame.outgoing:
                totals[frame.dev] = totals.get(frame.dev, 0) + frame.count
        return totals.values()

    def expected_copies(self) -> int:
        """1 if both containers share a layer 2 segment, else 0."""
        return int(not self.crosses_hosts or methods.of(self.network).single_l2(self.network))
