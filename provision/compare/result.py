"""The result of a comparison, and its JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from provision.compare.candidates import BASELINE
from provision.compare.figures import FIGURES, Figure, Measurement, Spread, ratios, spread, values
from provision.engine.report import errors_json
from provision.model.errors import ExitStatus, ProvisionError

# The worst first; any other status comes after these.
_WORST = (
    ExitStatus.MIXED,
    ExitStatus.REVERTED,
    ExitStatus.HOST,
    ExitStatus.CONFLICT,
    ExitStatus.LOCKED,
    ExitStatus.VERIFY,
)
STEPS = ("apply", "verify", "switch", "destroy")


@dataclass(frozen=True, slots=True)
class Settings:
    """Seconds of each measurement, number of rounds, and the rate of UDP in Mbit/s."""

    seconds: int
    rounds: int
    udp_mbit_s: int


@dataclass(frozen=True, slots=True)
class MeasuredHost:
    """One of the two hosts that measurements ran between. Its fields are keys of the JSON."""

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
    """The result of one candidate, without its measurements.

    `status`: `compared`, `failed`, `left out` (the hosts do not support it) or `not reached`.
    `seconds`: duration of each of STEPS.
    """

    candidate: str
    status: str
    reason: str = ""
    group: int = 0
    mtu: int | None = None
    seconds: Mapping[str, float | None] | None = None
    switched_from: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of one run. `shared_kernel`: processor time is that of the whole machine."""

    hosts: tuple[MeasuredHost, ...]
    shared_kernel: bool
    settings: Settings
    methods: tuple[MethodResult, ...]
    measurements: tuple[Measurement, ...]
    errors: tuple[ProvisionError, ...] = ()
    interrupted: bool = False
    took_s: float = 0.0

    @property
    def exit_status(self) -> ExitStatus:
        """The worst status of all errors; 130 for an interrupted run that left no mixed hosts."""
        statuses = {error.exit_status for error in self.errors}
        if self.interrupted:
            return ExitStatus.MIXED if ExitStatus.MIXED in statuses else ExitStatus.INTERRUPTED
        default = max(statuses, default=ExitStatus.OK)
        return next((status for status in _WORST if status in statuses), default)

    def spread(self, candidate: str, figure: Figure) -> Spread | None:
        """The spread of a candidate's values."""
        return spread(values(self.measurements, candidate, figure.key))

    def ratio(self, candidate: str, figure: Figure) -> Spread | None:
        """The spread of a candidate's ratios to the baseline; None if it has none."""
        if not figure.has_ratio or candidate == BASELINE:
            return None
        return spread(ratios(self.measurements, candidate, figure.key))

    @property
    def measured(self) -> tuple[MethodResult, ...]:
        """The results of candidates that have measurements."""
        names = {measurement.candidate for measurement in self.measurements}
        return tuple(method for method in self.methods if method.candidate in names)


def as_json(result: Comparison) -> dict[str, Any]:
    """The JSON of `compare --json`. Its keys are a contract, see docs/compare.md."""
    shape: dict[str, Any] = {
        "ok": result.exit_status == ExitStatus.OK,
        "interrupted": result.interrupted,
        "seconds": round(result.took_s, 3),
        "terms": {
            "seconds": result.settings.seconds,
            "rounds": result.settings.rounds,
            "udp_mbit_s": result.settings.udp_mbit_s,
        },
        "hosts": [
            {name: getattr(host, name) for name in MeasuredHost.__slots__} for host in result.hosts
        ],
        "shared_kernel": result.shared_kernel,
        "figures": {
            figure.key: {
                "title": figure.title,
                "unit": figure.unit,
                "better": "more" if figure.more_is_better else "less",
            }
            for figure in FIGURES
        },
        "methods": [_method(result, method) for method in result.methods],
    }
    if result.errors:
        shape["errors"] = errors_json(result.errors)
    return shape


def _method(result: Comparison, method: MethodResult) -> dict[str, Any]:
    name = method.candidate
    seconds = method.seconds or {}
    return {
        "method": name,
        "status": method.status,
        "reason": method.reason,
        "beside": [
            neighbour.candidate
            for neighbour in result.methods
            if neighbour.group == method.group != 0 and neighbour is not method
        ],
        "mtu": method.mtu,
        "seconds": {step: _rounded(seconds.get(step)) for step in STEPS},
        "switched_from": method.switched_from,
        "figures": {
            figure.key: {
                **_spread(result.spread(name, figure)),
                "values": [
                    _rounded(value) for value in values(result.measurements, name, figure.key)
                ],
            }
            for figure in FIGURES
        },
        "ratios": {
            figure.key: _spread(result.ratio(name, figure))
            for figure in FIGURES
            if figure.has_ratio
        },
    }


def _spread(spread: Spread | None) -> dict[str, float | None]:
    if spread is None:
        return dict.fromkeys(("min", "median", "max"))
    return {
        "min": _rounded(spread.low),
        "median": _rounded(spread.median),
        "max": _rounded(spread.high),
    }


def _rounded(value: float | None) -> float | None:
    """Four significant digits, more than a measurement has."""
    return None if value is None else float(f"{value:.4g}")
