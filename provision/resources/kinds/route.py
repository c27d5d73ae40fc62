"""Kind `route`: a static IPv4 route of the main table, marked by `proto` and a claim on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.on_hosts import ETC, PROTO
from provision.resources.steps import Put, Run, Steps, Unless, remove_file


@dataclass(frozen=True, slots=True)
class Route(Resource):
    """`dst` is sent to `via` out of `dev`; both empty when the kernel has lost a route of ours.

    `flags` may hold `onlink`: `via` is in no range of `dev`, which is a VXLAN device of ours.
    """

    kind: ClassVar[str] = "route"
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
need ip
for claim in {ETC}/*/routes/*; do
  [ -f "$claim" ] || continue
  owner=${{claim%/routes/*}}; echo "claim ${{owner##*/}} ${{claim##*/}}"
done
shared routes
"""
    # Which device is down comes and goes by itself.
    fingerprint: ClassVar[str] = rf"""
need ip
ip -N -4 route show table main proto {PROTO} | sed 's/ linkdown//g;s/ dead//g;s/ *$//' | sort
for claim in {ETC}/*/routes/*; do [ ! -f "$claim" ] || echo "$claim"; done
"""

    dst: IPv4Network
    via: IPv4Address | None
    dev: str
    inventory: str
    ssh: bool = field(default=False, compare=False, repr=False)
    flags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.dst)

    def touches_ssh(self, current: Resource | None) -> bool:  # noqa: ARG002
        return self.ssh

    def links(self) -> tuple[str, ...]:
        return (self.dev,) if self.dev else ()

    def requires(self) -> tuple[Ref, ...]:
        return (Ref(self.host, "vxlan", self.dev),) if self.flags else ()

    def create(self) -> Steps:
        # A route cannot carry text, so the claim says whose it is; it comes first, so that an
        # interrupted apply never leaves a route that nobody owns.
        claim = Put(self._claim, f"{self.dst} via {self.via} dev {self.dev}\n")
        words = (str(self.dst), "via", str(self.via), "dev", self.dev, "proto", str(PROTO))
        there = Run(("ip", "-4", "route", "show", "exact", *words))
        replaced = Run(("ip", "-4", "route", "replace", *words, *self.flags))
        # Not `replace` alone: that would answer to the follower's own `ip monitor` without end.
        return (claim, Unless(there, (replaced,), prints=True))

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        return (self._flushed, *remove_file(self._claim))

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:  # noqa: ARG002
        if before is None:
            return self.delete()
        assert isinstance(before, Route)
        # Before, the kernel had lost it.
        return (self._flushed,) if not before.dev else before.create()

    @property
    def _flushed(self) -> Run:
        words = ("exact", str(self.dst), "proto", str(PROTO))
        return Run(("ip", "-4", "route", "flush", *words))

    @property
    def _claim(self) -> str:
        return f"{ETC}/{self.inventory}/routes/{str(self.dst).replace('/', '_')}"

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        claims = {tuple(rest.split(" ", 1)) for word, rest in lines if word == "claim"}
        ours = {IPv4Network(dst.replace("_", "/")) for own, dst in claims if own == scope.inventory}
        live = _live(dict(lines)["routes"])
        for dst in sorted(ours - live.keys()):
            yield Found(cls(scope.host, dst, None, "", scope.inventory), ours=True)
        for dst, entry in live.items():
            yield _seen(dst, entry, scope, claimed=dst in ours)


def _live(table: str) -> dict[IPv4Network, dict[str, Any]]:
    """Routes by destination; where there are several, ours counts, else the first."""
    result: dict[IPv4Network, dict[str, Any]] = {}
    for entry in json.loads(table):
        if entry["dst"] == "default":
            continue
        dst = IPv4Network(entry["dst"])
        if dst not in result or entry.get("protocol") == str(PROTO):
            result[dst] = entry
    return result


def _seen(dst: IPv4Network, entry: dict[str, Any], scope: Origin, *, claimed: bool) -> Found:
    via = IPv4Address(entry["gateway"]) if "gateway" in entry else None
    # Others (linkdown) say how the link is, not what was asked for.
    flags = tuple(flag for flag in entry.get("flags", ()) if flag == "onlink")
    route = Route(scope.host, dst, via, str(entry.get("dev", "")), scope.inventory, flags=flags)
    return Found(route, ours=claimed and entry.get("protocol") == str(PROTO))
