"""The progress of a run: results and measurements so far, each reported when it arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from provision.compare.candidates import BASELINE, CANDIDATES, Candidate
from provision.compare.figures import FIGURES, Measurement
from provision.compare.result import MethodResult
from provision.model.errors import ProvisionError, UnfitError


class Progress:
    """Keeps what was measured, however the rest of the run ends."""

    def __init__(
        self,
        say: Callable[[str], None],
        groups: Sequence[Sequence[Candidate]],
        unavailable: Mapping[str, str],
    ) -> None:
        self.say = say
        self.measurements: list[Measurement] = []
        self.errors: list[ProvisionError] = []
        self.methods = {BASELINE: MethodResult(BASELINE, "not reached")}
        for number, group in enumerate(groups, 1):
            for candidate in group:
                name = candidate.name
                self.methods[name] = MethodResult(name, "not reached", group=number)
        for name, reason in unavailable.items():
            self.methods[name] = MethodResult(name, "left out")
            self.leave_out(name, reason)
        # Variants of a method stand together, although they are measured in different groups.
        names = [BASELINE, *(candidate.name for candidate in CANDIDATES)]
        numbers = {name: number for number, name in enumerate(names)}
        ordered = sorted(self.methods.items(), key=lambda item: numbers.get(item[0], len(names)))
        self.methods = dict(ordered)

    def status(self, name: str) -> str:
        """`MethodResult.status` of a candidate so far."""
        return self.methods[name].status

    @contextmanager
    def recording(self, name: str | None, *, optional: bool = False) -> Iterator[None]:
        """Record an error raised inside, for a candidate or for the run, and go on.

        `optional`: if the hosts do not support the candidate, leave it out instead.
        """
        try:
            yield
        except ProvisionError as error:
            if name and optional and isinstance(error, UnfitError):
                self.leave_out(name, _line(error))
            else:
                self.fail(name, error)

    def leave_out(self, name: str, reason: str) -> None:
        """Record that the hosts do not support a candidate; this is not a failure."""
        self.methods[name] = replace(self.methods[name], status="left out", reason=reason)
        self.say(f"{name}: left out: {reason}")

    def fail(self, name: str | None, error: ProvisionError) -> None:
        """Record an error of a candidate or of the run; it determines the exit status."""
        reason = _line(error)
        if name:
            self.methods[name] = replace(self.methods[name], status="failed", reason=reason)
        self.errors.append(error)
        self.say(f"{name}: failed: {reason}" if name else reason)

    def record_time(
        self, name: str, step: str, seconds: float, previous: str | None = None
    ) -> None:
        """Record the duration of a step; `previous` is the candidate that a switch replaced."""
        method = self.methods[name]
        durations = {**(method.seconds or {}), step: seconds}
        switched_from = previous or method.switched_from
        self.methods[name] = replace(method, seconds=durations, switched_from=switched_from)
        source = f"from {previous} " if previous else ""
        self.say(f"{name}: {step} {source}took {seconds:.1f} s")

    def record_mtu(self, name: str, group: int, mtu: int | None) -> None:
        """Record the MTU of a candidate that is measured in this group."""
        method = self.methods[name]
        self.methods[name] = replace(method, mtu=mtu, group=method.group or group)

    def record_figures(
        self, name: str, group: int, round_number: int, figures: Mapping[str, float]
    ) -> str:
        """Record the figures of one measurement; return them as text."""
        self.measurements += [
            Measurement(name, group, round_number, key, value) for key, value in figures.items()
        ]
        if self.status(name) == "not reached":
            self.methods[name] = replace(self.methods[name], status="compared")
        units = {figure.key: figure.unit for figure in FIGURES}
        text = ", ".join(f"{value:.3g} {units[key]}" for key, value in figures.items())
        return f"{name} {text}"


def _line(error: ProvisionError) -> str:
    return "; ".join(str(error).splitlines())
