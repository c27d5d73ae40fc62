"""The quality of a lab host's link, and the commands of iproute2 that give it. Pure.

The outer end of a NIC is in the lab's namespace. Packets to the host leave it, and a queue on it
has their rate. Packets from the host enter it, where there is no queue: a filter redirects them to
an interface of type ifb, which has one (tc-mirred(8)).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from provision.model.errors import UsageError

Command = tuple[str, ...]
"""A program of iproute2, and its arguments."""

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)([a-z%]+)", re.ASCII)
_DELAYS = {"ms": 1.0, "s": 1000.0}
_RATES = {"kbit": 1.0, "mbit": 1000.0, "gbit": 1_000_000.0}
# Classic BPF, as tc-bpf(8) wants it: count, then code, jump if true, jump if false, and operand.
_ALL = "1,6 0 0 4294967295"  # return -1: the filter matches
# Load a random word (SKF_AD_RANDOM); at least `limit`: return TC_ACT_UNSPEC, else TC_ACT_STOLEN.
# TC_ACT_SHOT would tell a sender in the lab's namespace, which sends again at once (ENOBUFS).
_RANDOM = "4,32 0 0 4294963256,53 0 1 {limit},6 0 0 4294967295,6 0 0 4"


@dataclass(frozen=True, slots=True)
class Line:
    """Loss and rate in each direction; a delay of the packets from the host. 0: unchanged."""

    delay_ms: float = 0
    loss_percent: float = 0
    rate_kbit: float = 0

    def __str__(self) -> str:
        values = {"delay": ("ms", self.delay_ms), "loss": (" %", self.loss_percent)}
        values["rate"] = (" kbit/s", self.rate_kbit)
        parts = [f"{name} {value:g}{unit}" for name, (unit, value) in values.items() if value]
        return ", ".join(parts).replace("ms", " ms") or "as it was"


def parse(delay: str | None, loss: str | None, rate: str | None) -> Line:
    """A line from the texts of the command line. Raises UsageError."""
    return Line(
        delay_ms=_value("--delay", delay, _DELAYS, (0.1, 10_000), "40ms or 0.3s, at most 10s"),
        loss_percent=_value("--loss", loss, {"%": 1}, (0.01, 100), "1% or 100%, at least 0.01%"),
        rate_kbit=_value("--rate", rate, _RATES, (16, 1e7), "64kbit, 10mbit or 1gbit"),
    )


def _value(
    option: str,
    entry: str | None,
    units: Mapping[str, float],
    limits: tuple[float, float],
    examples: str,
) -> float:
    if entry is None:
        return 0
    match = _NUMBER.fullmatch(entry)
    if match and match[2] in units:
        value = float(match[1]) * units[match[2]]
        if limits[0] <= value <= limits[1]:
            return value
    raise UsageError(f"{option} {entry}: not a value of this option", f"write {examples}")


def commands(device: str, ifb: str, line: Line) -> Iterator[Command]:
    """Give a NIC's outer end the loss and the rate of a line. It has no such settings yet."""
    yield ("ip", "link", "add", "name", ifb, "type", "ifb")
    yield ("ip", "link", "set", "dev", ifb, "up")
    yield ("tc", "qdisc", "add", "dev", device, "clsact")
    if line.loss_percent:
        limit = min(round(line.loss_percent / 100 * 2**32), 2**32 - 1)
        drop = ("bpf", "direct-action", "bytecode", _RANDOM.format(limit=limit))
        for direction in ("ingress", "egress"):
            yield (*_filter(device, direction, 1), *drop)
    redirect = ("action", "mirred", "egress", "redirect", "dev", ifb)
    yield (*_filter(device, "ingress", 2), "bpf", "bytecode", _ALL, *redirect)
    if line.rate_kbit:
        # The kernel fills the bucket at each tick of its clock, at least 100 times a second.
        burst = max(5000, round(line.rate_kbit * 1000 / 8 / 100))
        rate = ("rate", f"{line.rate_kbit:.0f}kbit", "burst", str(burst), "latency", "400ms")
        for end in (device, ifb):
            yield ("tc", "qdisc", "add", "dev", end, "root", "handle", "1:", "tbf", *rate)


def delay(ifb: str, line: Line) -> Command:
    """Delay the packets from the host, after `commands`; needs a kernel with netem."""
    # Below the queue that has the rate: that hands out a packet when the delay is over.
    parent = ("parent", "1:1") if line.rate_kbit else ("root",)
    return ("tc", "qdisc", "add", "dev", ifb, *parent, *netem(line))


def netem(line: Line) -> Command:
    """The queue that delays packets."""
    # By default netem holds 1000 packets, and drops more of them than a fast line sends in 40 ms.
    return ("netem", "delay", f"{line.delay_ms:g}ms", "limit", "20000")


def undo(device: str, ifb: str) -> Iterator[Command]:
    """Restore a NIC's outer end; each command fails if there is nothing to delete."""
    yield ("tc", "qdisc", "delete", "dev", device, "root")
    yield ("tc", "qdisc", "delete", "dev", device, "clsact")
    yield ("ip", "link", "delete", "dev", ifb)


def _filter(device: str, direction: str, priority: int) -> Command:
    order = ("protocol", "all", "prio", str(priority))
    return ("tc", "filter", "add", "dev", device, direction, *order)
