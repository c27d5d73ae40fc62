"""What a lab was brought up with; the next `up` in its folder goes on with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from provision.lab.place import Place, host_names
from provision.lab.ranges import DEFAULT, Ranges, ranges
from provision.model.errors import LabError

_AGAIN = "provision lab down, then provision lab up"


@dataclass(frozen=True, slots=True)
class Settings:
    count: int = 3
    suite: str = "trixie"
    bare: bool = False
    addresses: str = str(DEFAULT)

    @property
    def hosts(self) -> tuple[str, ...]:
        return host_names(self.count)

    @property
    def ranges(self) -> Ranges:
        return ranges(self.addresses)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says; None: nothing."""

    count: int | None = None
    suite: str | None = None
    bare: bool = False
    ranges: Ranges | None = None


def merged(found: Settings | None, wish: Wish) -> Settings:
    """The settings to aim at. Pure. Raises LabError for what a running lab cannot become."""
    if found is None:
        fresh = Settings()
        return Settings(
            count=wish.count or fresh.count,
            suite=wish.suite or fresh.suite,
            bare=wish.bare,
            addresses=str(wish.ranges or fresh.ranges),
        )
    if wish.suite not in (None, found.suite):
        problem, option = f"runs {found.suite}, not {wish.suite}", f"--suite {wish.suite}"
    elif wish.bare and not found.bare:
        problem, option = "has hosts with Docker", "--bare"
    elif wish.ranges not in (None, found.ranges):
        problem, option = f"has the ranges {found.ranges}", f"--ranges {wish.ranges}"
    else:
        return replace(found, count=max(found.count, wish.count or 0))
    raise LabError(f"this lab {problem}", f"{_AGAIN} {option}")


def load(place: Place) -> Settings | None:
    path = _file(place)
    return Settings(**json.loads(path.read_text())) if path.exists() else None


def require(place: Place) -> Settings:
    """The settings of a lab that is there. Raises LabError."""
    found = load(place)
    if found is None:
        raise LabError(f"no lab in {place.folder}", "provision lab up")
    return found


def save(place: Place, settings: Settings) -> None:
    if load(place) != settings:
        fresh = _file(place).with_suffix(".new")
        fresh.write_text(json.dumps(asdict(settings)))
        fresh.rename(_file(place))


def _file(place: Place) -> Path:
    return place.state / "lab.json"
