"""The scripts that watch and send the probe. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from provision.checks.explain.model import Probe
from provision.resources.render import program_text
from provision.resources.script import PRELUDE, quoted

WATCH_S = 20
"""Seconds after which a watch ends by itself, if the controller never asks for its result."""
SMALL = 71
"""Bytes of a small ICMP probe: a size that no usual ping has, which marks it in the trace."""
_TUNNEL_PORTS = (4789, 8472, 8285)
"""VXLAN's assigned port (RFC 7348), Linux' default for it, and flannel's udp backend."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The numbers by which the sniffers know the probe: no other packet has them by chance."""

    magic: str
    identifier: int
    client_port: int


@dataclass(frozen=True, slots=True)
class Watch:
    """What one host watches: namespaces by label, addresses of the probe, and tunnels."""

    spaces: Mapping[str, int]
    addresses: tuple[IPv4Address, ...]
    tunnel_ports: tuple[int, ...] = ()
    peers: tuple[IPv4Address, ...] = ()


def start_script(watch: Watch, probe: Probe, marks: Marks) -> str:
    """A script that starts the watch and prints `watch PID`."""
    arguments = [f"ns={label}:{pid}" for label, pid in watch.spaces.items()]
    arguments += [f"magic={marks.magic}", f"id={marks.identifier}"]
    if probe.protocol != "icmp":
        arguments.append(f"port={marks.client_port}")
    ports = {*watch.tunnel_ports, *_TUNNEL_PORTS}
    arguments += [f"tunnel={port}" for port in sorted(ports)]
    arguments += [f"trace={rule}" for rule in _trace_rules(watch, probe, marks)]
    return PRELUDE + _watch("start", str(WATCH_S), *arguments)


def _trace_rules(watch: Watch, probe: Probe, marks: Marks) -> Iterable[str]:
    for chain in ("PREROUTING", "OUTPUT"):
        if probe.protocol == "icmp":
            for address in watch.addresses:
                yield f"{chain} -p icmp -d {address}"
                yield f"{chain} -p icmp -s {address}"
        else:
            for option in ("--sport", "--dport"):
                yield f"{chain} -p {probe.protocol} {option} {marks.client_port}"
        # Encapsulated packets are new packets for netfilter. A busy tunnel has many: the first of
        # each second are enough to see a rule that drops them.
        for peer in watch.peers:
            end = "-s" if chain == "PREROUTING" else "-d"
            for port in watch.tunnel_ports:
                match = f"-p udp {end} {peer} --dport {port}" if port else f"-p 47 {end} {peer}"
                yield f"{chain} {match} -m limit --limit 8/s --limit-burst 8"


def parse_watch(text: str) -> int | None:
    """The number of the watch, from the output of `start_script`; None if it did not start."""
    match = re.search(r"^watch (\d{1,10})$", text, re.M)
    return int(match[1]) if match else None


def stop_script(
    watch: int | None, spaces: Mapping[str, int], lookups: Iterable[str], port: int
) -> str:
    """A script that ends the watch, and prints its observations and the state of the namespaces.

    `lookups` are lines `LABEL PID NAME ARGUMENTS` for `ip route get`.
    """
    variables = {
        "spaces": "\n".join(f"{label} {pid}" for label, pid in spaces.items()),
        "lookups": "\n".join(lookups),
        "sockets": str(port or ""),
    }
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in variables.items()]
    stop = _watch("stop", str(watch)) if watch else ""
    return PRELUDE + stop + "".join(lines) + program_text("look/bounded.sh", "explain/state.sh")


def send_script(pid: int, probe: Probe, marks: Marks, target: IPv4Address, *, large: int) -> str:
    """A script that sends the probe from the namespace of a process; `large` is its MTU."""
    options = {
        "icmp": (str(marks.identifier), marks.magic, str(large)),
        "tcp": (str(probe.port), str(marks.client_port)),
        "udp": (str(probe.port), str(marks.client_port), marks.magic * 3),
    }
    program = program_text("explain/probe.pl")
    argv = ("nsenter", "-t", str(pid), "-n", "perl", "-e", program, probe.protocol, str(target))
    return PRELUDE + quoted((*argv, *options[probe.protocol])) + "\n"


def _watch(*arguments: str) -> str:
    return quoted(("perl", "-e", program_text("explain/watch.pl"), *arguments)) + "\n"


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of sending: sizes that were answered and not, and errors of the kernel."""

    answered: frozenset[int] = frozenset()
    sizes: frozenset[int] = frozenset()
    connected: bool = False
    refused: bool = False
    datagram: bool = False
    errors: tuple[tuple[int, str], ...] = ()
    complete: bool = False


def parse_sent(text: str) -> Sent:
    """The result in the output of `send_script`."""
    errors = re.findall(r"^failed (\d+) (.*)$", text, re.M)
    return Sent(
        frozenset(int(size) for size in re.findall(r"^answer (\d+)$", text, re.M)),
        frozenset(int(size) for size in re.findall(r"^sent (\d+)$", text, re.M)),
        connected=bool(re.search(r"^connected$", text, re.M)),
        refused=bool(re.search(r"^refused$", text, re.M)),
        datagram=bool(re.search(r"^datagram$", text, re.M)),
        errors=tuple((int(number), reason) for number, reason in dict.fromkeys(errors)),
        complete=bool(re.search(r"^probed$", text, re.M)),
    )
