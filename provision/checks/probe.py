"""The scripts that look from inside the containers, and what they print. Pure.

Three rounds for a whole fleet: every host starts a listener in each of its containers' network
namespaces; then every host calls from each of its containers; then the listeners are ended. The
tools are the host's, so that an image needs nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from provision.resources.render import program_text
from provision.resources.script import PRELUDE, quoted

LISTEN_S = 180
"""A listener ends by itself after so many seconds, whatever becomes of the controller."""
CALL_BYTES = 65536
CALL_S = 10


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running container as seen by the look: its host, process id and address.

    `segment` names those that reach each other directly; empty where it has no address of its own.
    `ports` are those at which somebody will call, as `tcp/80`; `called`: somebody will call at all.
    """

    container: str
    host: str
    segment: str
    pid: int
    address: IPv4Address | None
    mtu: int
    ports: tuple[str, ...] = ()
    called: bool = True


@dataclass(frozen=True, slots=True)
class Listener:
    """A process of ours that answers in a container: at `port`, and where no program `held` one."""

    port: int
    pid: int
    held: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one check of one ordered pair said; `status` 0 is success."""

    status: int
    text: str


def listen(endpoints: Iterable[Endpoint]) -> str:
    """A script that starts a listener in every endpoint's namespace and prints its ports."""
    lines = [_tools("nsenter", "perl")]
    program = program_text("checks/listen.pl")
    for end in endpoints:
        # Without an address of its own a container is called by its neighbours over lo only.
        at = "0.0.0.0" if end.segment else "127.0.0.1"
        limits = (str(LISTEN_S), str(end.pid), str(CALL_BYTES))
        perl = ("perl", "-e", program, *limits, at, *end.ports)
        enter = quoted(("nsenter", "-t", str(end.pid), "-n", *perl))
        lines.append(f"printf 'listen %s %s\\n' {shlex.quote(end.container)} \"$({enter})\"")
    return "\n".join(lines) + "\n"


def listeners(text: str) -> dict[str, Listener]:
    """Listeners by container, of what `listen` printed."""
    found = re.findall(r"^listen (\S+) (\d+) (\d+)((?: (?:tcp|udp)/\d+)*)$", text, re.M)
    return {
        name: Listener(int(port), int(pid), tuple(held.split())) for name, port, pid, held in found
    }


def missing(text: str) -> tuple[str, ...]:
    """Tools that the host lacks, of what a script here printed."""
    return tuple(re.findall(r"^absent (\S+)$", text, re.M))


def stop(pids: Iterable[int]) -> str:
    """A script that ends listeners; the name is compared, as the number may be another's by now."""
    each = '[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != perl ] || kill "$pid"'
    return f"for pid in {' '.join(map(str, pids))}; do\n{each}\ndone\n"


def call(sources: Iterable[Endpoint], targets: Iterable[Endpoint], ports: Mapping[str, int]) -> str:
    """A script that checks every pair from `sources` to `targets`: one process for each source."""
    ends = tuple(targets)
    lines = [f"call={shlex.quote(program_text('checks/call.pl'))}"]
    for source in sources:
        words = [source.container, str(source.mtu), str(CALL_BYTES), str(CALL_S)]
        for end in ends:
            if end.segment == source.segment and end.container != source.container:
                words += [end.container, str(end.address), str(ports.get(end.container, 0))]
        enter = quoted(("nsenter", "-t", str(source.pid), "-n", "perl", "-e"))
        # Each answer is one short line, which the kernel writes to a pipe as a whole.
        lines.append(f'{enter} "$call" {quoted(words)} &')
    return "\n".join(lines) + "\n"


def opened(openings: Mapping[tuple[str, int], Iterable[tuple[str, ...]]]) -> str:
    """A script that opens ports: by the caller's name and process (0: the host), what each is."""
    lines = [f"open={shlex.quote(program_text('checks/open.pl'))}"]
    for (source, pid), each in openings.items():
        words = [source, str(CALL_BYTES), str(CALL_S), *(word for one in each for word in one)]
        enter = quoted(("nsenter", "-t", str(pid), "-n", "perl", "-e") if pid else ("perl", "-e"))
        lines.append(f'{enter} "$open" {quoted(words)} &')
    return "\n".join(lines) + "\n"


def whole(*parts: str) -> str:
    """One script of several, which waits for what they started."""
    return "\n".join([PRELUDE, *parts, "wait"]) + "\n"


def _tools(*names: str) -> str:
    words = " ".join(names)
    test = 'command -v "$tool" >/dev/null 2>&1 || { echo "absent $tool"; lacking=1; }'
    return f'lacking=\nfor tool in {words}; do {test}; done\n[ -z "$lacking" ] || exit 0'


def answers(text: str) -> dict[tuple[str, str, str], Answer]:
    """What `call` and `opened` printed, by check, source and target."""
    pattern = r"^answer (\S+) (\S+) (\S+) (\d+) (.*)$"
    return {
        (check, source, target): Answer(int(status), said.strip())
        for check, source, target, status, said in re.findall(pattern, text, re.M)
    }
