"""The settings that a lab was brought up with; the next `up` in its folder starts from them."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from provision.lab import limits
from provision.lab.layout import Lab, host_names
from provision.lab.ranges import DEFAULT, Ranges, ranges
from provision.lab.variants import NONE
from provision.model.errors import LabError


@dataclass(frozen=True, slots=True)
class LabSettings:
    """The settings of a lab, as `lab.json` stores them; `addresses` is the text of `--ranges`."""

    count: int = 3
    suite: str = "trixie"
    bare: bool = False
    addresses: str = str(DEFAULT)
    firewall: str = NONE
    iptables: str = ""

    @property
    def hosts(self) -> tuple[str, ...]:
        return host_names(self.count)

    @property
    def ranges(self) -> Ranges:
        return ranges(self.addresses)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The options of `lab up`; None where the command line has none."""

    count: int | None = None
    suite: str | None = None
    bare: bool = False
    ranges: Ranges | None = None
    firewall: str | None = None
    iptables: str | None = None


def merged(current: LabSettings | None, options: UpOptions) -> LabSettings:
    """The settings to bring the lab to. Pure.

    A lab can only grow: raises LabError for another suite, other ranges, or `--bare` for a lab
    with Docker.
    """
    if current is None:
        default = LabSettings()
        return LabSettings(
            count=options.count or default.count,
            suite=options.suite or default.suite,
            bare=options.bare,
            addresses=str(options.ranges or default.ranges),
            firewall=options.firewall or default.firewall,
            iptables=options.iptables or default.iptables,
        )
    count = max(current.count, options.count or 0)
    if options.suite not in (None, current.suite):
        problem = f"runs {current.suite}, not {options.suite}"
    elif options.bare and not current.bare:
        problem = "has hosts with Docker"
    elif options.ranges not in (None, current.ranges):
        problem = f"has the ranges {current.ranges}"
    elif options.firewall not in (None, current.firewall):
        problem = f"has the firewall {current.firewall}"
    elif options.iptables not in (None, current.iptables):
        problem = "has another backend of iptables"
    else:
        return replace(current, count=count)
    other = LabSettings(
        count=options.count or count,
        suite=options.suite or current.suite,
        bare=options.bare or current.bare,
        addresses=str(options.ranges or current.ranges),
        firewall=options.firewall or current.firewall,
        iptables=options.iptables or current.iptables,
    )
    command = shlex.join((*up_words(other), *_ranges_option(other)))
    raise LabError(f"this lab {problem}", f"provision lab down, then {command}")


def up_words(settings: LabSettings, mirror: str | None = None) -> tuple[str, ...]:
    """The command line that brings up a lab with these settings, without `--ranges`."""
    return (
        *("provision", "lab", "up", str(settings.count)),
        *(("--suite", settings.suite) if settings.suite != LabSettings().suite else ()),
        *(("--bare",) if settings.bare else ()),
        *(("--firewall", settings.firewall) if settings.firewall != NONE else ()),
        *(("--iptables", settings.iptables) if settings.iptables else ()),
        *(("--mirror", mirror) if mirror else ()),
    )


def _ranges_option(settings: LabSettings) -> tuple[str, ...]:
    return () if settings.ranges == DEFAULT else ("--ranges", settings.addresses)


def load(lab: Lab) -> LabSettings | None:
    path = _file(lab)
    return LabSettings(**json.loads(path.read_text())) if path.exists() else None


def require(lab: Lab) -> LabSettings:
    """The settings of an existing lab. Raises LabError when the folder has none."""
    current = load(lab)
    if current is None:
        raise LabError(f"no lab in {lab.folder}", _other_labs())
    return current


def _other_labs() -> str:
    """The folders of this machine's labs, or how to start one."""
    folders = limits.labs()
    if not folders:
        return "start a lab: provision lab up"
    return f"there is a lab in {', '.join(folders)}: cd {shlex.quote(folders[0])}"


def save(lab: Lab, settings: LabSettings) -> None:
    if load(lab) != settings:
        new = _file(lab).with_suffix(".new")
        new.write_text(json.dumps(asdict(settings)))
        new.rename(_file(lab))


def _file(lab: Lab) -> Path:
    return lab.state / "lab.json"
