"""What the measuring scripts of `probe` printed. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from provision.compare.result import MeasuredHost


@dataclass(frozen=True, slots=True)
class Clock:
    """/proc/stat: when the kernel booted, processor ticks that were busy, context switches."""

    boot: int
    busy: int
    switches: int


def missing(text: str) -> tuple[str, ...]:
    """Tools that a host lacks, of what `survey` printed."""
    return tuple(re.findall(r"^absent (\S+)$", text, re.M))


def machine(host: str, docker: Iterable[int], text: str) -> MeasuredHost:
    """What `survey` said of a host."""
    said = dict(line.partition(" ")[::2] for line in text.splitlines())
    return MeasuredHost(
        host=host,
        system=said.get("system", ""),
        kernel=said.get("kernel", ""),
        processors=int(said.get("processors", "0") or 0),
        processor=said.get("processor", "").strip(),
        docker=".".join(map(str, docker)),
        iperf3=said.get("iperf3", "").split(" ")[0],
        load=float(said.get("load", "0") or 0),
    )


def clocks(text: str) -> tuple[Clock, ...]:
    """Every clock that a script here printed, in order."""
    found: list[Clock] = []
    said: dict[str, list[int]] = {}
    for key, numbers in re.findall(r"^clock (\w+) +(.*)$", text, re.M):
        said[key] = [int(number) for number in numbers.split()]
        if key == "btime":  # the last of the three in /proc/stat
            user, nice, system, _idle, _wait, irq, softirq = said["cpu"][:7]
            busy = user + nice + system + irq + softirq
            found.append(Clock(said["btime"][0], busy, said["ctxt"][0]))
    return tuple(found)


def one_kernel(first: Clock, between: Clock, last: Clock) -> bool:
    """Whether a clock of another host, read between two of this one, is this one's own."""
    counts = first.switches <= between.switches <= last.switches
    return counts and abs(first.boot - between.boot) <= 1


def failed(text: str) -> dict[str, str]:
    """Candidates whose servers did not start, of what `serve` printed; and why."""
    return {name: why.strip() for name, why in re.findall(r"^failed (\S+) (.*)$", text, re.M)}


def mtus_told(text: str) -> dict[str, int]:
    """MTUs by candidate."""
    return {name: int(size) for name, size in re.findall(r"^mtu (\S+) (\d+)$", text, re.M)}


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one run, and how many bytes it moved (0 where that is not told)."""

    figures: dict[str, float]
    bytes: int = 0


def measured(what: str, text: str) -> Measured:
    """What `measure` printed. Raises ValueError with the reason where it failed."""
    said = "\n".join(line for line in text.splitlines() if not line.startswith("clock "))
    if what == "rtt":
        _, p50, p99 = _words(said, "rtt")
        return Measured({"rtt_p50": float(p50), "rtt_p99": float(p99)})
    if what == "requests":
        count, seconds = _words(said, "requests")
        return Measured({"requests": int(count) / float(seconds)})
    end = _iperf(said)
    if what == "udp":
        return Measured({"udp_loss": float(end["sum"]["lost_percent"])})
    received = end["sum_received"]
    return Measured({what: received["bits_per_second"] / 1e9}, int(received["bytes"]))


def not_yet(why: str) -> bool:
    """Whether a measurement failed as iperf3's server closes its port for a moment after each."""
    return "refused" in why or "busy" in why


def _words(said: str, what: str) -> list[str]:
    match = re.search(rf"^{what} (.*)$", said, re.M)
    if match is None:
        raise ValueError(said.strip()[-300:] or "no answer")
    return match[1].split()


def _iperf(said: str) -> dict[str, dict[str, float]]:
    start = said.find("{")
    try:
        found = json.loads(said[start:])
        if "error" in found:
            raise ValueError(str(found["error"])[:300])
        end: dict[str, dict[str, float]] = found["end"]
    except (json.JSONDecodeError, KeyError) as error:
        raise ValueError(said.strip()[-300:] or "no answer") from error
    return end
