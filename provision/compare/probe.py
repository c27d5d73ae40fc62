"""The scripts that measure; `answers` parses their output. Pure.

The target host runs servers in the namespace of each container, started once. The source host runs
one script for each measurement. The tools are the hosts' own, so images need none. Each process
has a file in the folder PIDS, by which `stop` ends it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from provision.compare.candidates import ECHO_PORT, IPERF_PORT
from provision.compare.result import Settings
from provision.resources.render import program_text
from provision.resources.script import PRELUDE, quoted

TOOLS = ("iperf3", "perl", "nsenter", "setsid", "timeout", "ss", "ip")
PACKAGES = {"iperf3": "iperf3", "perl": "perl-base", "ss": "iproute2", "ip": "iproute2"}
PIDS = "/run/provision-compare"
"""A folder on the hosts with a file for each running process, named by its process id."""
GRACE_S = 15
"""Seconds after its planned end at which a host ends a measurement."""


@dataclass(frozen=True, slots=True)
class MeasuredPath:
    """The path of a measurement, from the network namespace of one process to another's.

    Process 0 is the host itself. Servers listen at the address `listen` of the target. Clients
    connect to `address`, port `iperf` or `echo`.
    """

    candidate: str
    source_pid: int
    target_pid: int
    listen: IPv4Address
    address: IPv4Address
    iperf: int
    echo: int


def survey() -> str:
    """A script that prints the host's system and processors, and the tools it lacks."""
    tools = " ".join(TOOLS)
    # /proc/cpuinfo of ARM has no `model name`: then the processor is unknown.
    return f"""{PRELUDE}
for tool in {tools}; do command -v "$tool" >/dev/null 2>&1 || echo "absent $tool"; done
echo "kernel $(uname -r)"
sed -n 's/^PRETTY_NAME="*\\([^"]*\\)"*$/system \\1/p' /etc/os-release
echo "processors $(getconf _NPROCESSORS_ONLN)"
sed -n 's/^model name[^:]*: /processor /p' /proc/cpuinfo | head -n 1
sed -n 's/^\\([^ ]*\\) .*/load \\1/p' /proc/loadavg
! command -v iperf3 >/dev/null 2>&1 || iperf3 --version | sed -n '1s/^iperf /iperf3 /p'
{_CLOCK}"""


# One read of the file, so that its counters belong to one moment.
_CLOCK = r"sed -n 's/^\(cpu\|ctxt\|btime\) /clock \1 /p' /proc/stat" + "\n"


def clock_only() -> str:
    """A script that prints only the clock."""
    return PRELUDE + _CLOCK


def serve(paths: Iterable[MeasuredPath], life_s: int) -> str:
    """A script that starts servers in the namespaces of all targets and waits for their ports."""
    program = shlex.quote(program_text("compare/answer.pl"))
    lines = [PRELUDE, _ENTER, f"life={life_s}", f"program={program}"]
    lines.append(program_text("compare/serve.sh"))
    ports = (str(IPERF_PORT), str(ECHO_PORT))
    for path in paths:
        arguments = (path.candidate, str(path.target_pid), str(path.listen), *ports)
        lines.append(f"serve {quoted(arguments)}")
    return "\n".join(lines) + "\n"


# Commands enter only the network namespace (`nsenter -n`), so they are the host's own.
_WITHIN = program_text("compare/within.sh")
_ENTER = f"{_WITHIN}pids={PIDS}; mkdir -p $pids\n"


def mtus(paths: Iterable[MeasuredPath]) -> str:
    """A script that prints the MTU of the interface that each source sends by."""
    lines = [PRELUDE, _WITHIN]
    for path in paths:
        pid = str(path.source_pid)
        route = quoted(("within", pid, "ip", "-o", "route", "get", str(path.address)))
        link = f"\"$({route} | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p')\""
        show = f"within {pid} ip -o link show dev {link}"
        mtu = f"s/.* mtu \\([0-9]*\\).*/mtu {path.candidate} \\1/p"
        lines.append(f"({show}) | sed -n {shlex.quote(mtu)}")
    return "\n".join(lines) + "\n"


def measure(measurement: str, path: MeasuredPath, settings: Settings) -> str:
    """A script that runs one measurement, between two readings of the clock."""
    # A client may wait for a server that has died: `timeout` ends it. Started in the background,
    # so that its process id is in PIDS when the script itself is killed.
    limit_s = str(settings.seconds + GRACE_S)
    argv = ("timeout", limit_s, *_argv(measurement, path, settings))
    return f"""{PRELUDE}{_ENTER}{_CLOCK}within {path.source_pid} {quoted(argv)} 2>&1 &
echo >"$pids/$!" || kill $!
wait $!; status=$?; rm -f "$pids/$!"
{_CLOCK}exit $status
"""


def _argv(measurement: str, path: MeasuredPath, settings: Settings) -> tuple[str, ...]:
    seconds, address = str(settings.seconds), str(path.address)
    if measurement in ("rtt", "requests"):
        program = program_text("compare/ask.pl")
        return ("perl", "-e", program, measurement, address, str(path.echo), seconds)
    # -J: one JSON document at the end. An iperf3 server runs one test at a time, so paths are
    # measured one after the other.
    iperf = ("iperf3", "-J", "-c", address, "-p", str(path.iperf), "-t", seconds)
    if measurement == "udp":
        return (*iperf, "-u", "-b", f"{settings.udp_mbit_s}M")
    return (*iperf, "-P", measurement.removeprefix("tcp_"))


def stop() -> str:
    """A script that ends every process that has a file in PIDS, and deletes the folder."""
    return _STOP


# A process id may belong to another process by now: check the program's name first.
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
