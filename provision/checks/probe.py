"""Scripts that listen and connect in the containers' network namespaces, and their output. Pure.

A check runs three rounds on all hosts: each host starts a listener in each of its containers'
namespaces, then connects from each of its containers, then ends the listeners. The programs are
the host's (nsenter, perl), so that an image needs none.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from provision.checks.limits import Limits
from provision.resources.render import program_text
from provision.resources.script import PRELUDE, quoted

CALL_BYTES = 65536
"""Bytes sent by TCP and back: about 45 full-size packets, so that a smaller path MTU shows."""
Calls = Mapping["Endpoint", Sequence["Endpoint"]]
"""The targets of each source."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running container, as the snapshot of its host shows it.

    `segment` names the group of containers that reach each other by their own addresses; it is
    empty for a container without one. `ports` are those at which others connect, as `tcp/80`.
    `called` is False if no check connects to the container at all. `docker` is its name in Docker,
    if that differs, which is so for a guest.
    """

    container: str
    host: str
    segment: str
    pid: int
    address: IPv4Address | None
    mtu: int
    ports: tuple[str, ...] = ()
    called: bool = True
    docker: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """Our listener in a container: its TCP port and its PID.

    `program_ports` are those ports of the endpoint at which a program of the container listens
    itself; at the others our listener answers.
    """

    port: int
    pid: int
    program_ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one check of one ordered pair; `status` 0 is success."""

    status: int
    text: str


def listen_script(endpoints: Iterable[Endpoint], limits: Limits) -> str:
    """A script that starts a listener in each endpoint's namespace and prints its ports."""
    lines = [_require_tools("nsenter", "perl")]
    program = program_text("checks/listen.pl")
    for endpoint in endpoints:
        # A container without a segment is reached over lo alone, by those that share its namespace.
        address = "0.0.0.0" if endpoint.segment else "127.0.0.1"
        # Callers begin at different times: a connection may last as long as all of them take. They
        # connect before their pings, which may take 15 s, and send data only after these.
        seconds = (str(limits.listen_s), str(2 * limits.call_s + 15))
        arguments = (*seconds, str(endpoint.pid), str(CALL_BYTES), address, *endpoint.ports)
        perl = ("perl", "-e", program, *arguments)
        enter = quoted(("nsenter", "-t", str(endpoint.pid), "-n", *perl))
        lines.append(f"printf 'listen %s %s\\n' {shlex.quote(endpoint.container)} \"$({enter})\"")
    return "\n".join(lines) + "\n"


def parse_listeners(text: str) -> dict[str, Listener]:
    """Listeners by container, from the output of `listen_script`."""
    rows = re.findall(r"^listen (\S+) (\d+) (\d+)((?: (?:tcp|udp)/\d+)*)$", text, re.M)
    return {
        container: Listener(int(port), int(pid), tuple(program_ports.split()))
        for container, port, pid, program_ports in rows
    }


def parse_missing_tools(text: str) -> tuple[str, ...]:
    """Programs that the host lacks, from the output of `listen_script`."""
    return tuple(re.findall(r"^absent (\S+)$", text, re.M))


def stop_script(pids: Iterable[int]) -> str:
    """A script that ends listeners."""
    # The kernel may have given the PID to another process by now: its name is compared first.
    kill = '[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != perl ] || kill "$pid"'
    return f"for pid in {' '.join(map(str, pids))}; do\n{kill}\ndone\n"


def call_script(
    calls: Calls,
    ports: Mapping[str, int],
    limits: Limits,
    mtu: Callable[[Endpoint, Endpoint], int] = lambda source, _target: source.mtu,
) -> str:
    """A script that checks each pair, one process a source.

    `ports` are those of the listeners, by container. `mtu` is the size of the largest packet from
    one container to another.
    """
    lines = [f"call={shlex.quote(program_text('checks/call.pl'))}"]
    for source, targets in calls.items():
        arguments = [source.container, str(CALL_BYTES), str(limits.call_s)]
        for target in targets:
            port, size = ports.get(target.container, 0), mtu(source, target)
            arguments += [target.container, str(target.address), str(port), str(size)]
        enter = quoted(("nsenter", "-t", str(source.pid), "-n", "perl", "-e"))
        # The processes share one pipe: a write of less than PIPE_BUF (4 KiB) is never split.
        lines.append(f'{enter} "$call" {quoted(arguments)} &')
    return "\n".join(lines) + "\n"


def open_script(
    openings: Mapping[tuple[str, int], Iterable[tuple[str, ...]]], limits: Limits
) -> str:
    """A script that opens ports, one process a source.

    `openings` are arguments of `checks/open.pl`, by the source's name and PID; PID 0 stands for
    the host's own namespace.
    """
    lines = [f"open={shlex.quote(program_text('checks/open.pl'))}"]
    for (source, pid), group in openings.items():
        flat = (argument for opening in group for argument in opening)
        arguments = [source, str(CALL_BYTES), str(limits.call_s), *flat]
        enter = quoted(("nsenter", "-t", str(pid), "-n", "perl", "-e") if pid else ("perl", "-e"))
        lines.append(f'{enter} "$open" {quoted(arguments)} &')
    return "\n".join(lines) + "\n"


def combined(*scripts: str) -> str:
    """One script of several, which waits for the processes that they started."""
    return "\n".join([PRELUDE, *scripts, "wait"]) + "\n"


def _require_tools(*names: str) -> str:
    test = 'command -v "$tool" >/dev/null 2>&1 || { echo "absent $tool"; lacking=1; }'
    loop = f"for tool in {' '.join(names)}; do {test}; done"
    return f'lacking=\n{loop}\n[ -z "$lacking" ] || exit 0'


def parse_answers(text: str) -> dict[tuple[str, str, str], Answer]:
    """Answers by check, source and target, from the output of the scripts that connect."""
    pattern = r"^answer (\S+) (\S+) (\S+) (\d+) (.*)$"
    return {
        (check, source, target): Answer(int(status), detail.strip())
        for check, source, target, status, detail in re.findall(pattern, text, re.M)
    }
