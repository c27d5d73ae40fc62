"""Parsers for the output of the scripts in `probe`. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from provision.compare.result import MeasuredHost


@dataclass(frozen=True, slots=True)
class Clock:
    """Counters of /proc/stat: boot time, busy ticks of all processors, context switches."""

    boot: int
    busy: int
    switches: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one measurement, and the bytes it moved (0 if unknown)."""

    figures: dict[str, float]
    bytes: int = 0


def missing_tools(text: str) -> tuple[str, ...]:
    """The tools that a host lacks, by the output of `survey`."""
    return tuple(re.findall(r"^absent (\S+)$", text, re.M))


def measured_host(host: str, docker: Iterable[int], text: str) -> MeasuredHost:
    """The description of a host, by the output of `survey`."""
    fields = dict(line.partition(" ")[::2] for line in text.splitlines())
    return MeasuredHost(
        host=host,
        system=fields.get("system", ""),
        kernel=fields.get("kernel", ""),
        processors=int(fields.get("processors", "0") or 0),
        processor=fields.get("processor", "").strip(),
        docker=".".join(map(str, docker)),
        iperf3=fields.get("iperf3", "").split(" ")[0],
        load=float(fields.get("load", "0") or 0),
    )


def clocks(text: str) -> tuple[Clock, ...]:
    """Every clock in the output of a script, in order."""
    result: list[Clock] = []
    counters: dict[str, list[int]] = {}
    for key, numbers in re.findall(r"^clock (\w+) +(.*)$", text, re.M):
        counters[key] = [int(number) for number in numbers.split()]
        if key == "btime":  # the last of the three in /proc/stat
            # proc_stat(5). Idle and iowait are not busy time.
            user, nice, system, _idle, _iowait, irq, softirq = counters["cpu"][:7]
            busy = user + nice + system + irq + softirq
            result.append(Clock(counters["btime"][0], busy, counters["ctxt"][0]))
    return tuple(result)


def is_same_kernel(first: Clock, between: Clock, last: Clock) -> bool:
    """True if `between`, read on another host, fits between two clocks of this host.

    Containers and lab hosts have host names and addresses of their own, but see the counters of
    the kernel that they share.
    """
    in_order = first.switches <= between.switches <= last.switches
    # btime is computed from the wall clock, and may differ by one.
    return in_order and abs(first.boot - between.boot) <= 1


def failed_servers(text: str) -> dict[str, str]:
    """Candidates whose servers did not start, and the reason, by the output of `serve`."""
    return {name: reason.strip() for name, reason in re.findall(r"^failed (\S+) (.*)$", text, re.M)}


def mtus(text: str) -> dict[str, int]:
    """MTU by candidate, by the output of `mtus`."""
    return {name: int(size) for name, size in re.findall(r"^mtu (\S+) (\d+)$", text, re.M)}


def sample(measurement: str, text: str) -> Sample:
    """The sample in the output of `measure`. Raises ValueError with the reason if it failed."""
    output = "\n".join(line for line in text.splitlines() if not line.startswith("clock "))
    if measurement == "rtt":
        _, p50, p99 = _numbers(output, "rtt")
        return Sample({"rtt_p50": float(p50), "rtt_p99": float(p99)})
    if measurement == "requests":
        count, seconds = _numbers(output, "requests")
        return Sample({"requests": int(count) / float(seconds)})
    end = _iperf_end(output)
    # TCP has sums by direction; the receiver's leaves out what was still in flight at the end.
    if measurement == "udp":
        return Sample({"udp_loss": float(end["sum"]["lost_percent"])})
    received = end["sum_received"]
    return Sample({measurement: received["bits_per_second"] / 1e9}, int(received["bytes"]))


def is_transient(reason: str) -> bool:
    """True for a failure that passes: iperf3's server closes its port briefly after each run."""
    return "refused" in reason or "busy" in reason


def _numbers(output: str, key: str) -> list[str]:
    match = re.search(rf"^{key} (.*)$", output, re.M)
    if match is None:
        raise ValueError(output.strip()[-300:] or "no answer")
    return match[1].split()


def _iperf_end(output: str) -> dict[str, dict[str, float]]:
    """The object `end` of `iperf3 --json`."""
    # Warnings of the shell or of iperf3 may come before the document.
    start = output.find("{")
    try:
        report = json.loads(output[start:])
        if "error" in report:
            raise ValueError(str(report["error"])[:300])
        end: dict[str, dict[str, float]] = report["end"]
    except (json.JSONDecodeError, KeyError) as error:
        raise ValueError(output.strip()[-300:] or "no answer") from error
    return end
