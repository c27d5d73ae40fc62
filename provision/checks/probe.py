"""The scripts that look from inside the containers, and what they print. Pure.

Two rounds for a whole fleet: every host starts a listener in each of its containers' network
namespaces; then every host calls from each of its containers to all others. The tools are the
host's, so that an image needs nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from provision.render import render
from provision.script import PRELUDE, quoted

LISTEN_S = 180
"""A listener ends by itself after so many seconds, whatever becomes of the controller."""
CALL_BYTES = 65536
CALL_S = 10


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running container as seen by the look: its host, process id and address."""

    container: str
    host: str
    network: str
    pid: int
    address: IPv4Address
    mtu: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What one check of one ordered pair said; `status` 0 is success."""

    status: int
    text: str


def listen(endpoints: Iterable[Endpoint]) -> str:
    """A script that starts a listener in every endpoint's namespace and prints its port."""
    lines = [PRELUDE, _tools("nsenter", "perl")]
    program = render("checks/listen.pl")
    for end in endpoints:
        perl = ("perl", "-e", program, str(LISTEN_S), str(CALL_BYTES))
        enter = quoted(("nsenter", "-t", str(end.pid), "-n", *perl))
        lines.append(f"printf 'listen %s %s\\n' {shlex.quote(end.container)} \"$({enter})\"")
    return "\n".join(lines) + "\n"


def listeners(text: str) -> tuple[dict[str, int], tuple[int, ...]]:
    """Ports by container, and the process ids to end, of what `listen` printed."""
    found = re.findall(r"^listen (\S+) (\d+) (\d+)$", text, re.M)
    return {name: int(port) for name, port, _ in found}, tuple(int(pid) for *_, pid in found)


def missing(text: str) -> tuple[str, ...]:
    """Tools that the host lacks, of what a script here printed."""
    return tuple(re.findall(r"^absent (\S+)$", text, re.M))


def stop(pids: Iterable[int]) -> str:
    """A script that ends listeners; the name is compared, as the number may be another's by now."""
    each = '[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != perl ] || kill "$pid"'
    return f"{PRELUDE}for pid in {' '.join(map(str, pids))}; do\n{each}\ndone\n"


def call(sources: Iterable[Endpoint], targets: Iterable[Endpoint], ports: Mapping[str, int]) -> str:
    """A script that checks every pair from `sources` to `targets`: one process for each source."""
    ends = tuple(targets)
    program = render("checks/call.pl")
    lines = [PRELUDE, _tools("nsenter", "perl"), f"program={shlex.quote(program)}"]
    for source in sources:
        words = [source.container, str(source.mtu), str(CALL_BYTES), str(CALL_S)]
        for end in ends:
            if end.network == source.network and end.container != source.container:
                words += [end.container, str(end.address), str(ports.get(end.container, 0))]
        enter = quoted(("nsenter", "-t", str(source.pid), "-n", "perl", "-e"))
        # Each answer is one short line, which the kernel writes to a pipe as a whole.
        lines.append(f'{enter} "$program" {quoted(words)} &')
    return "\n".join([*lines, "wait"]) + "\n"


def _tools(*names: str) -> str:
    words = " ".join(names)
    test = 'command -v "$tool" >/dev/null 2>&1 || { echo "absent $tool"; lacking=1; }'
    return f'lacking=\nfor tool in {words}; do {test}; done\n[ -z "$lacking" ] || exit 0'


def answers(text: str) -> dict[tuple[str, str, str], Answer]:
    """What `call` printed, by check, source and target."""
    pattern = r"^answer (\S+) (\S+) (\S+) (\d+) (.*)$"
    return {
        (check, source, target): Answer(int(status), said.strip())
        for check, source, target, status, said in re.findall(pattern, text, re.M)
    }
