"""Causes in sysctls: forwarding that is off, and the filter of packets' sources. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.explain.case import Case
from provision.checks.explain.lookups import addresses
from provision.checks.explain.model import Cause


def forwarding(case: Case, number: int) -> Iterator[Cause]:
    """Yield the settings by which the kernel forwards no packet at a point."""
    point, before = case.points[number], case.points[number - 1]
    sysctls = case.space(point).sysctls
    names = ["net/ipv4/ip_forward", f"net/ipv4/conf/{before.device}/forwarding"]
    for name in names:
        if sysctls.get(name) == "0":
            key = _key(name)
            where = _set_by(case, point.host, key)
            yield Cause(
                point.host, "forwarding_off", f"{key} = 0{where}",
                f"{point.host} does not forward packets that come in by {before.device}: "
                f"{key} is 0{where}",
                "a person", f"sysctl -w {key}=1",
            )  # fmt: skip


def source_filter(case: Case, number: int, answer: str) -> Iterator[Cause]:
    """Yield the setting that drops a packet whose way back is another interface."""
    point, before = case.points[number], case.points[number - 1]
    counters, sysctls = case.of(point.host).counters, case.space(point).sysctls
    dropped = counters.get(f"{point.space} TcpExt:IPReversePathFilter", 0)
    if not dropped and "Invalid cross-device link" not in answer:
        return
    modes = {
        name: sysctls.get(f"net/ipv4/conf/{name}/rp_filter", "0") for name in (before.device, "all")
    }
    name = max(modes, key=lambda device: modes[device])
    key = f"net.ipv4.conf.{name}.rp_filter"
    source, _ = addresses(case, number)
    where = _set_by(case, point.host, key)
    yield Cause(
        point.host, "rp_filter", f"{key} = {modes[name]}{where}",
        f"{point.host} drops the packet at {before.device}, because its route back to {source} "
        f"leaves by another interface and {key} is {modes[name]}{where}",
        "a person", f"sysctl -w {key}=2",
    )  # fmt: skip


def _key(name: str) -> str:
    """The sysctl's name with dots, as `sysctl` writes it: dots of an interface become slashes."""
    return ".".join(part.replace(".", "/") for part in name.split("/"))


def _set_by(case: Case, host: str, key: str) -> str:
    """The file that sets a sysctl, as the end of a sentence; empty if none does."""
    slashed = key.replace(".", "/")
    for line in case.of(host).sysctl_files:
        file, _, setting = line.partition(":")
        name = setting.partition("=")[0].strip().lstrip("-")
        if name in (key, slashed):
            return f", set by {file}"
    return ""
