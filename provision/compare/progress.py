"""What became of each candidate of a run, and what was read of it; told as it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from provision.compare.candidates import LIMIT, Candidate
from provision.compare.figures import FIGURES, Measurement
from provision.compare.result import MethodResult
from provision.model.errors import ProvisionError, UnfitError


class Progress:
    """All that is measured is kept, whatever becomes of the rest of the run."""

    def __init__(
        self,
        say: Callable[[str], None],
        turns: Sequence[Sequence[Candidate]],
        lacking: Mapping[str, str],
    ) -> None:
        self.say = say
        self.readings: list[Measurement] = []
        self.errors: list[ProvisionError] = []
        self.courses = {LIMIT: MethodResult(LIMIT, "not reached")}
        for number, group in enumerate(turns, 1):
            for one in group:
                self.courses[one.name] = MethodResult(one.name, "not reached", turn=number)
        for name, why in lacking.items():
            self.courses[name] = MethodResult(name, "left out")
            self.leave_out(name, why)

    def status(self, name: str) -> str:
        """`Course.status` of a candidate as far as the run has come."""
        return self.courses[name].status

    @contextmanager
    def told(self, name: str | None, *, optional: bool = False) -> Iterator[None]:
        """What goes wrong in here is told, of a candidate or of the run, which goes on.

        `optional`: what the hosts cannot serve is left out.
        """
        try:
            yield
        except ProvisionError as error:
            if name and optional and isinstance(error, UnfitError):
                self.leave_out(name, _line(error))
            else:
                self.fail(name, error)

    def leave_out(self, name: str, why: str) -> None:
        """These hosts cannot serve it, which is no failure."""
        self.courses[name] = replace(self.courses[name], status="left out", reason=why)
        self.say(f"{name}: left out: {why}")

    def fail(self, name: str | None, error: ProvisionError) -> None:
        """It went wrong, and the run's exit status says so."""
        why = _line(error)
        if name:
            self.courses[name] = replace(self.courses[name], status="failed", reason=why)
        self.errors.append(error)
        self.say(f"{name}: failed: {why}" if name else why)

    def took(self, name: str, step: str, seconds: float, earlier: str | None = None) -> None:
        """How long a verb took; `earlier` is the candidate that a switch came from."""
        course = self.courses[name]
        noted = {**(course.seconds or {}), step: seconds}
        came = earlier or course.switched_from
        self.courses[name] = replace(course, seconds=noted, switched_from=came)
        self.say(f"{name}: {step} {f'from {earlier} ' if earlier else ''}took {seconds:.1f} s")

    def served(self, name: str, turn: int, mtu: int | None) -> None:
        """It can be measured in this turn."""
        course = self.courses[name]
        self.courses[name] = replace(course, mtu=mtu, turn=course.turn or turn)

    def read(self, name: str, turn: int, number: int, found: Mapping[str, float]) -> str:
        """Keep figures of one measurement in round `number`; in short what they are."""
        self.readings += [
            Measurement(name, turn, number, key, value) for key, value in found.items()
        ]
        if self.status(name) == "not reached":
            self.courses[name] = replace(self.courses[name], status="compared")
        units = {one.key: one.unit for one in FIGURES}
        brief = ", ".join(f"{value:.3g} {units[key]}" for key, value in found.items())
        return f"{name} {brief}"


def _line(error: ProvisionError) -> str:
    return "; ".join(str(error).splitlines())
