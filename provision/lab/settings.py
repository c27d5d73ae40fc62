"""The settings that a lab was brought up with; the next `up` in its folder starts from them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from provision.lab import limits, variants
from provision.lab.layout import Lab, host_names
from provision.lab.ranges import DEFAULT, Ranges, ranges
from provision.lab.variants import Choice
from provision.model.errors import LabError


@dataclass(frozen=True, slots=True)
class LabSettings:
    """The settings of a lab, as `lab.json` stores them; `addresses` is the text of `--ranges`.

    `variants` are the values of all hosts by group, `host_variants` those of single hosts.
    """

    count: int = 3
    suite: str = "trixie"
    bare: bool = False
    addresses: str = str(DEFAULT)
    variants: Mapping[str, str] = field(default_factory=dict)
    host_variants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    kernel: str = "shared"

    @property
    def hosts(self) -> tuple[str, ...]:
        return host_names(self.count)

    @property
    def ranges(self) -> Ranges:
        return ranges(self.addresses)

    @property
    def leased(self) -> tuple[str, ...]:
        """The hosts whose eth1 has its address by DHCP."""
        return tuple(h for h in self.hosts if variants.value(self.choice(h), "address") == "dhcp")

    def choice(self, host: str) -> Choice:
        """The values of one host, by group."""
        return {**self.variants, **self.host_variants.get(host, {})}


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The options of `lab up`; None where the command line has none."""

    count: int | None = None
    suite: str | None = None
    bare: bool = False
    ranges: Ranges | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    host_variants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    kernel: str | None = None


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
            variants=options.variants,
            host_variants=options.host_variants,
            kernel=options.kernel or default.kernel,
        )
    count = max(current.count, options.count or 0)
    if options.suite not in (None, current.suite):
        problem = f"runs {current.suite}, not {options.suite}"
    elif options.bare and not current.bare:
        problem = "has hosts with Docker"
    elif options.ranges not in (None, current.ranges):
        problem = f"has the ranges {current.ranges}"
    elif options.kernel not in (None, current.kernel):
        problem = f"has hosts with the kernel {current.kernel}, not {options.kernel}"
    elif changed := _changed_host(current, options, count):
        problem = f"has {changed} with other variants"
    else:
        return _with_variants(current, options, count)
    other = LabSettings(
        count=options.count or count,
        suite=options.suite or current.suite,
        bare=options.bare or current.bare,
        addresses=str(options.ranges or current.ranges),
        variants={**current.variants, **options.variants},
        host_variants={**current.host_variants, **options.host_variants},
        kernel=options.kernel or current.kernel,
    )
    command = shlex.join((*up_words(other), *_ranges_option(other)))
    raise LabError(f"this lab {problem}", f"provision lab down, then {command}")


def _with_variants(current: LabSettings, options: UpOptions, count: int) -> LabSettings:
    """The lab with hosts up to `count`; new ones may have other variants than the present ones."""
    choices = {**current.host_variants, **options.host_variants}
    return replace(current, count=count, host_variants=choices)


def _changed_host(current: LabSettings, options: UpOptions, count: int) -> str:
    """A host that exists and would get other variants; empty without one."""
    wanted = replace(
        _with_variants(current, options, count), variants={**current.variants, **options.variants}
    )
    pairs = ((name, current.choice(name), wanted.choice(name)) for name in current.hosts)
    return next(
        (
            name
            for name, before, after in pairs
            if any(
                variants.value(before, group) != variants.value(after, group)
                for group in variants.GROUPS
            )
        ),
        "",
    )


def up_words(settings: LabSettings, mirror: str | None = None) -> tuple[str, ...]:
    """The command line that brings up a lab with these settings, without `--ranges`."""
    return (
        *("provision", "lab", "up", str(settings.count)),
        *(("--suite", settings.suite) if settings.suite != LabSettings().suite else ()),
        *(("--bare",) if settings.bare else ()),
        *(("--kernel", settings.kernel) if settings.kernel != LabSettings().kernel else ()),
        *(word for pair in settings.variants.items() for word in _option(*pair)),
        *(
            word
            for host, choice in settings.host_variants.items()
            for word in ("--host", f"{host}={','.join(map(':'.join, choice.items()))}")
        ),
        *(("--mirror", mirror) if mirror else ()),
    )


def _option(group: str, value: str) -> tuple[str, ...]:
    if group == "address":
        return ("--dhcp",) if value == "dhcp" else ()
    return (f"--{group}", value)


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
