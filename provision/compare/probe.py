"""The scripts that measure; `answers` reads what they print. Pure.

On the host that is called: servers in each namespace, started once. On the host that calls: one
script a measurement. The tools are the hosts', so that an image needs nothing; what runs is noted
in a folder, by which `stop` ends it and of which nothing is left.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from provision.compare.candidates import ASK, IPERF
from provision.compare.result import Settings
from provision.resources.render import program_text
from provision.resources.script import PRELUDE, quoted

TOOLS = ("iperf3", "perl", "nsenter", "setsid", "timeout", "ss", "ip")
PACKAGES = {"iperf3": "iperf3", "perl": "perl-base", "ss": "iproute2", "ip": "iproute2"}
PIDS = "/run/provision-compare"
"""A folder with a file for each process that runs, named by its number."""
PATIENCE_S = 15
"""What a measurement may take beyond its seconds before its host ends it."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The way from one process's network to another's; process 0 is the host itself.

    Servers of `target` listen at `at`; it is called at `address`, `iperf` and `ask`.
    """

    candidate: str
    source: int
    target: int
    at: IPv4Address
    address: IPv4Address
    iperf: int
    ask: int


def survey() -> str:
    """A script that tells what a host is and lacks."""
    tools = " ".join(TOOLS)
    return f"""{PRELUDE}
for tool in {tools}; do command -v "$tool" >/dev/null 2>&1 || echo "absent $tool"; done
echo "kernel $(uname -r)"
sed -n 's/^PRETTY_NAME="*\\([^"]*\\)"*$/system \\1/p' /etc/os-release
echo "processors $(getconf _NPROCESSORS_ONLN)"
sed -n 's/^model name[^:]*: /processor /p' /proc/cpuinfo | head -n 1
sed -n 's/^\\([^ ]*\\) .*/load \\1/p' /proc/loadavg
! command -v iperf3 >/dev/null 2>&1 || iperf3 --version | sed -n '1s/^iperf /iperf3 /p'
{_CLOCK}"""


_CLOCK = r"sed -n 's/^\(cpu\|ctxt\|btime\) /clock \1 /p' /proc/stat" + "\n"


def clock_only() -> str:
    """A script that reads only the clock."""
    return PRELUDE + _CLOCK


def serve(lanes: Iterable[Endpoints], life_s: int) -> str:
    """A script that starts servers in the namespaces of all targets and waits for their ports."""
    program = shlex.quote(program_text("compare/answer.pl"))
    lines = [PRELUDE, _ENTER, f"life={life_s}", f"program={program}"]
    lines.append(program_text("compare/serve.sh"))
    for lane in lanes:
        words = (lane.candidate, str(lane.target), str(lane.at), str(IPERF), str(ASK))
        lines.append(f"serve {quoted(words)}")
    return "\n".join(lines) + "\n"


_WITHIN = program_text("compare/within.sh")
_ENTER = f"{_WITHIN}pids={PIDS}; mkdir -p $pids\n"


def mtus(lanes: Iterable[Endpoints]) -> str:
    """A script that tells the link by which each source sends, and its MTU."""
    lines = [PRELUDE, _WITHIN]
    for lane in lanes:
        way = quoted(("within", str(lane.source), "ip", "-o", "route", "get", str(lane.address)))
        link = f"\"$({way} | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p')\""
        show = f"within {lane.source} ip -o link show dev {link}"
        told = f"s/.* mtu \\([0-9]*\\).*/mtu {lane.candidate} \\1/p"
        lines.append(f"({show}) | sed -n {shlex.quote(told)}")
    return "\n".join(lines) + "\n"


def measure(what: str, lane: Endpoints, terms: Settings) -> str:
    """A script that measures once, between two readings of the clock."""
    argv = ("timeout", str(terms.seconds + PATIENCE_S), *_argv(what, lane, terms))
    return f"""{PRELUDE}{_ENTER}{_CLOCK}within {lane.source} {quoted(argv)} 2>&1 &
echo >"$pids/$!" || kill $!
wait $!; status=$?; rm -f "$pids/$!"
{_CLOCK}exit $status
"""


def _argv(what: str, lane: Endpoints, terms: Settings) -> tuple[str, ...]:
    seconds, address = str(terms.seconds), str(lane.address)
    if what in ("rtt", "requests"):
        return ("perl", "-e", program_text("compare/ask.pl"), what, address, str(lane.ask), seconds)
    iperf = ("iperf3", "-J", "-c", address, "-p", str(lane.iperf), "-t", seconds)
    if what == "udp":
        return (*iperf, "-u", "-b", f"{terms.udp_mbit_s}M")
    return (*iperf, "-P", what.removeprefix("tcp_"))


def stop() -> str:
    """A script that ends every process of the folder, and removes it."""
    return _STOP


# The name is compared, as the number of a process may be another's by now.
_STOP = f"""{PRELUDE}
[ -d {PIDS} ] || exit 0
cd {PIDS} || exit
for number in *; do
  case $(cat "/proc/${{number#-}}/comm" 2>/dev/null) in
    timeout|iperf3|perl|setsid|nsenter) kill -- "$number";;
  esac
done
cd / && rm -rf {PIDS}
"""
