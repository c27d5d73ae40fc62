"""What a comparison found, and its JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from provision.compare.candidates import LIMIT
from provision.compare.figures import FIGURES, Figure, Measurement, Spread, ratios, spread, values
from provision.engine.report import errors_json
from provision.model.errors import ExitStatus, ProvisionError

# The worst first, as the interface orders them; what is left is told as it is.
_WORST = (
    ExitStatus.MIXED,
    ExitStatus.REVERTED,
    ExitStatus.HOST,
    ExitStatus.CONFLICT,
    ExitStatus.LOCKED,
    ExitStatus.VERIFY,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How it was measured: seconds of each measurement, rounds, and the rate of UDP in Mbit/s."""

    seconds: int
    rounds: int
    udp_mbit_s: int


@dataclass(frozen=True, slots=True)
class MeasuredHost:
    """One of the hosts between which it was measured."""

    host: str
    system: str
    kernel: str
    processors: int
    processor: str
    docker: str
    iperf3: str
    load: float


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What became of one candidate.

    status: `compared`, `failed`, `left out` (these hosts cannot serve it) or `not reached`.
    """

    candidate: str
    status: str
    reason: str = ""
    turn: int = 0
    mtu: int | None = None
    seconds: Mapping[str, float | None] | None = None
    switched_from: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run. `shared_kernel`: processor time is that of the whole machine, not of each host."""

    machines: tuple[MeasuredHost, ...]
    shared_kernel: bool
    terms: Settings
    courses: tuple[MethodResult, ...]
    readings: tuple[Measurement, ...]
    errors: tuple[ProvisionError, ...] = ()
    interrupted: bool = False
    took_s: float = 0.0

    @property
    def exit_status(self) -> ExitStatus:
        """130 when interrupted, else the worst of all errors."""
        found = {error.exit_status for error in self.errors}
        if self.interrupted:
            return ExitStatus.MIXED if ExitStatus.MIXED in found else ExitStatus.INTERRUPTED
        others = max(found, default=ExitStatus.OK)
        return next((status for status in _WORST if status in found), others)

    def spread(self, candidate: str, figure: Figure) -> Spread | None:
        """Of the values themselves."""
        return spread(values(self.readings, candidate, figure.key))

    def ratio(self, candidate: str, figure: Figure) -> Spread | None:
        """Of the ratios to the limit; None where there is none."""
        if not figure.ratio or candidate == LIMIT:
            return None
        return spread(ratios(self.readings, candidate, figure.key))

    @property
    def shown(self) -> tuple[MethodResult, ...]:
        """The courses that have something to show."""
        measured = {reading.candidate for reading in self.readings}
        return tuple(one for one in self.courses if one.candidate in measured)


STEPS = ("apply", "verify", "switch", "destroy")


def as_json(result: Comparison) -> dict[str, Any]:
    """The shape of `compare --json`, which docs/compare.md describes."""
    terms = result.terms
    shape: dict[str, Any] = {
        "ok": result.exit_status == ExitStatus.OK,
        "interrupted": result.interrupted,
        "seconds": round(result.took_s, 3),
        "terms": {
            "seconds": terms.seconds,
            "rounds": terms.rounds,
            "udp_mbit_s": terms.udp_mbit_s,
        },
        "hosts": [
            {name: getattr(machine, name) for name in MeasuredHost.__slots__}
            for machine in result.machines
        ],
        "shared_kernel": result.shared_kernel,
        "figures": {
            one.key: {
                "title": one.title,
                "unit": one.unit,
                "better": "more" if one.more else "less",
            }
            for one in FIGURES
        },
        "methods": [_course(result, course) for course in result.courses],
    }
    if result.errors:
        shape["errors"] = errors_json(result.errors)
    return shape


def _course(result: Comparison, course: MethodResult) -> dict[str, Any]:
    name = course.candidate
    beside = [c.candidate for c in result.courses if c.turn == course.turn != 0 and c is not course]
    seconds = course.seconds or {}
    return {
        "method": name,
        "status": course.status,
        "reason": course.reason,
        "beside": beside,
        "mtu": course.mtu,
        "seconds": {step: _rounded(seconds.get(step)) for step in STEPS},
        "switched_from": course.switched_from,
        "figures": {
            one.key: {**_spread(result.spread(name, one)), "values": _values(result, name, one)}
            for one in FIGURES
        },
        "ratios": {one.key: _spread(result.ratio(name, one)) for one in FIGURES if one.ratio},
    }


def _values(result: Comparison, name: str, figure: Figure) -> list[float | None]:
    return [_rounded(value) for value in values(result.readings, name, figure.key)]


def _spread(found: Spread | None) -> dict[str, float | None]:
    if found is None:
        return dict.fromkeys(("min", "median", "max"))
    return {
        "min": _rounded(found.low),
        "median": _rounded(found.middle),
        "max": _rounded(found.high),
    }


def _rounded(value: float | None) -> float | None:
    """Four digits that count are more than a measurement has."""
    return None if value is None else float(f"{value:.4g}")
