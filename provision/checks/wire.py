"""What travels between hosts: a sniffer on each counts frames while containers call. Pure.

`watch` starts it, `sent` sends what it is to see beside the calls, `told` ends it; `seen`
reads what it counted, and `Way` judges that by what a method declares (`tunnel`, `flat`).
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

WATCH_S = 180
"""A sniffer ends by itself after so many seconds, whatever becomes of the controller."""
# Where tunnels usually are, so that one that nobody declared is seen, too: VXLAN's own port,
# Linux's older one, which flannel uses, and that of flannel's udp backend.
_USUAL_PORTS = (4789, 8472, 8285)

Ends = tuple[IPv4Address, IPv4Address]


@dataclass(frozen=True, slots=True)
class Frame:
    """`count` IPv4 packets of one sort on one interface; `inner` equals `outer` for plain ones."""

    dev: str
    leaves: bool
    protocol: str
    port: int
    outer: Ends
    inner: Ends
    count: int


@dataclass(frozen=True, slots=True)
class Wire:
    """What one host's sniffer counted; `lost` frames came too fast, `trouble`: it saw nothing."""

    frames: tuple[Frame, ...]
    lost: int
    trouble: str


def watch(inventory: Inventory) -> str:
    """A script that starts the sniffer and prints `wire PID`."""
    networks = inventory.networks.values()
    ports = {tunnel.port for network in networks if (tunnel := methods.of(network).tunnel(network))}
    words = [f"net={network.cidr}" for network in networks]
    words += [f"port={port}" for port in sorted({*ports, *_USUAL_PORTS} - {0})]
    perl = ("perl", "-e", program_text("checks/wire.pl"), "watch", str(WATCH_S), *words)
    return quoted(perl) + "\n" if networks else ""


def pid(text: str) -> int | None:
    """The sniffer's process, of what `watch` printed."""
    found = re.search(r"^wire (\d+)$", text, re.M)
    return int(found[1]) if found else None


def told(pid: int | None) -> str:
    """A script that ends a sniffer and prints what it counted."""
    perl = ("perl", "-e", program_text("checks/wire.pl"), "told", str(pid))
    return quoted(perl) + "\n" if pid else ""


def seen(text: str) -> Wire:
    """What `told` printed; or `watch`, where no sniffer could be started."""
    rows = re.findall(
        r"^frame (\S+) (in|out) (\S+) (\d+) (\S+) (\S+) (\S+) (\S+) (\d+)$", text, re.M
    )
    frames = (
        Frame(dev, way == "out", protocol, int(port), _ends(a, b), _ends(c, d), int(count))
        for dev, way, protocol, port, a, b, c, d, count in rows
    )
    lost = re.search(r"^lost (\d+)$", text, re.M)
    why = re.search(r"^unwatched: (.*)$", text, re.M)
    trouble = "" if lost else why[1] if why else "its sniffer gave no answer"
    return Wire(tuple(frames), int(lost[1]) if lost else 0, trouble)


def _ends(source: str, target: str) -> Ends:
    return IPv4Address(source), IPv4Address(target)


def sent(inventory: Inventory, sources: Iterable[Endpoint], targets: Iterable[Endpoint]) -> str:
    """A script that sends from each of `sources` a broadcast, and UDP that fills the MTU to all
    of `targets` that it reaches."""
    ends = tuple(targets)
    lines = [f"datagrams={shlex.quote(program_text('checks/datagrams.pl'))}"]
    for source in sources:
        words = [source.container, str(source.mtu), str(_everybody(inventory, source))]
        for end in ends:
            if end.segment == source.segment and end.container != source.container:
                words += [end.container, str(end.address)]
        enter = quoted(("nsenter", "-t", str(source.pid), "-n", "perl", "-e"))
        lines.append(f'{enter} "$datagrams" {quoted(words)} &')
    return "\n".join(lines) + "\n"


def _everybody(inventory: Inventory, source: Endpoint) -> IPv4Address:
    network = inventory.networks.get(source.segment)
    return _subnet(network, source.host).broadcast_address if network else _ALL


def _subnet(network: Network, host: str) -> IPv4Network:
    """Whom a broadcast of a container on this host is for."""
    return network.cidr if methods.of(network).single_l2(network) else network.subnets[host]


_ALL = IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class ContainerPair:
    """From one container to another of its network, and what their hosts' sniffers counted."""

    inventory: Inventory
    pair: tuple[Container, Container]
    ends: Ends
    wires: Mapping[str, Wire]

    @property
    def network(self) -> Network:
        """The network of both."""
        return self.inventory.networks[self.pair[0].network]

    @property
    def apart(self) -> bool:
        """Whether they run on two hosts."""
        return self.pair[0].host != self.pair[1].host

    def unwatched(self) -> str:
        """Why nothing can be said; empty when it can."""
        for host in dict.fromkeys(container.host for container in self.pair):
            wire = self.wires.get(host)
            if wire is None or wire.trouble:
                return f"{host} was not watched: {wire.trouble if wire else 'no answer'}"
            if wire.lost:
                return f"{host} is too busy: {wire.lost} frames went by unseen"
        return ""

    def wrong(self) -> str:
        """How traffic does not travel as the method declares; empty when it does."""
        declared = methods.of(self.network).tunnel(self.network) if self.apart else None
        return next(self._wrong(declared), "")

    def _wrong(self, declared: Tunnel | None) -> Iterator[str]:
        for container, leaves in zip(self.pair, (True, False), strict=True):
            frames = [
                frame
                for frame in self.wires[container.host].frames
                if frame.inner == self.ends and frame.leaves == leaves
            ]
            verb = "leaves" if leaves else "reaches"
            yield from (f"{words} {verb} {container.host}" for words in self._odd(declared, frames))

    def _odd(self, declared: Tunnel | None, frames: list[Frame]) -> Iterator[str]:
        wrapped = [frame for frame in frames if frame.protocol != "plain"]
        as_declared = [frame for frame in wrapped if declared and self._fits(declared, frame)]
        for frame in wrapped:
            if frame not in as_declared:
                way = " → ".join(map(str, frame.outer))
                yield f"traffic inside {Tunnel(frame.protocol, frame.port)} {way}"  # type: ignore[arg-type]
        if declared is None or (declared.optional and not wrapped):
            if self.apart and not frames:
                yield "nothing of it"
            return
        if not as_declared:
            yield f"nothing of it inside {declared}"
        devices = {frame.dev for frame in as_declared}
        if any(frame.protocol == "plain" and frame.dev in devices for frame in frames):
            yield "traffic that is not wrapped"

    def _fits(self, declared: Tunnel, frame: Frame) -> bool:
        hosts = self.inventory.hosts
        source, target = (hosts[container.host].address for container in self.pair)
        peers = {hosts[name].address for name in self.network.hosts}
        direct = frame.outer == (source, target)
        relayed = not declared.direct and set(frame.outer) <= peers
        return (frame.protocol, frame.port) == (declared.protocol, declared.port) and (
            direct or relayed
        )

    def copies(self) -> int:
        """How often the first one's broadcast came by an interface of the other's host."""
        source, target = self.pair
        everybody = _subnet(self.network, source.host).broadcast_address
        return max(self._counts((self.ends[0], everybody), target.host), default=0)

    def _counts(self, ends: Ends, host: str) -> Iterable[int]:
        totals: dict[str, int] = {}
        for frame in self.wires[host].frames:
            if frame.protocol == "plain" and not frame.leaves and frame.inner == ends:
                totals[frame.dev] = totals.get(frame.dev, 0) + frame.count
        return totals.values()

    def expected_copies(self) -> int:
        """One where both are on one layer 2, else none."""
        return 1 if not self.apart or methods.of(self.network).single_l2(self.network) else 0
