"""Kind `route`: a static IPv4 route of the main table.

The protocol number marks it as a route of provision, a claim on disk names the inventory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any, ClassVar

from provision.model.ipv4 import ipv4_address, ipv4_network
from provision.model.names import interface_name
from provision.resources.base import Found, Origin, Ref, Resource, keyed_lines
from provision.resources.on_hosts import ETC, PROTO
from provision.resources.steps import Put, Run, Steps, Unless, remove_file, sh

# A route with our protocol number belongs to the inventory that claims it. One that nobody claims
# is ours if it is the same route: its claim was deleted.
_IS_FOREIGN = f"""
route=$(ip -N -4 route show table main exact "$1") && [ -n "$route" ] || exit 1
case "$route " in *" proto {PROTO} "*) ;; *) exit 0 ;; esac
[ ! -f "$2" ] || exit 1
for claim in {ETC}/*/routes/"${{2##*/}}"; do [ ! -f "$claim" ] || exit 0; done
case "$route " in *"${{3:+ via $3}} dev $4 "*) exit 1 ;; esac
"""


_KERNEL = "2"
"""Protocol number of the routes that the kernel makes with an address (linux/rtnetlink.h)."""


@dataclass(frozen=True, slots=True)
class Route(Resource):
    """The route to `dst` by the router `via` and the interface `dev`.

    Without `via`, `dev` is a WireGuard device, which has no neighbours. None and the empty text:
    the kernel has lost a claimed route. `flags` may contain `onlink`: then
    `via` is in no subnet of `dev`, a VXLAN device. `ssh` is True if SSH may use the route.
    `claimed` is False for a route with our protocol number into the range of a network, which has
    lost its claim.
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
    # Without the flags linkdown and dead, which change with the carrier.
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
    claimed: bool = field(default=True, repr=False)

    @property
    def name(self) -> str:
        return str(self.dst)

    def touches_ssh(self, current: Resource | None) -> bool:  # noqa: ARG002
        return self.ssh

    def links(self) -> tuple[str, ...]:
        return (self.dev,) if self.dev else ()

    def requires(self) -> tuple[Ref, ...]:
        if self.flags:
            return (Ref(self.host, "vxlan", self.dev),)
        return (Ref(self.host, "wireguard", self.dev),) if self.via is None and self.dev else ()

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, str(self.dst), self._claim, str(self.via or ""), self.dev)

    def create(self) -> Steps:
        # A route has no comment or alias for a mark. The claim is written first, so that an
        # interrupted apply leaves no route without an owner.
        via = ("via", str(self.via)) if self.via else ()
        spec = (str(self.dst), *via, "dev", self.dev)
        claim = Put(self._claim, f"{' '.join(spec)}\n")
        spec = (*spec, "proto", str(PROTO))
        exists = Run(("ip", "-4", "route", "show", "exact", *spec))
        replace = Run(("ip", "-4", "route", "replace", *spec, *self.flags))
        # An existing route is left alone: `replace` would notify whoever watches the routing table.
        return (claim, Unless(exists, (replace,), prints=True))

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        return (self._flush, *remove_file(self._claim))

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:  # noqa: ARG002
        if before is None:
            return self.delete()
        assert isinstance(before, Route)
        # Without `dev` the kernel had lost the route before the change; the claim stays.
        return before.unstash("") if before.dev else (self._flush,)

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        return (*self.create(), *(() if self.claimed else remove_file(self._claim)))

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        before = current if isinstance(current, Route) else self
        lost = f"route {self.dst} is ours, damaged: its claim {self._claim} was deleted"
        return None if before.claimed else lost

    @property
    def _flush(self) -> Run:
        # Unlike `del`, `flush` also succeeds if no route matches.
        return Run(("ip", "-4", "route", "flush", "exact", str(self.dst), "proto", str(PROTO)))

    @property
    def _claim(self) -> str:
        return f"{ETC}/{self.inventory}/routes/{str(self.dst).replace('/', '_')}"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        claims = [rest.split(" ", 1) for key, rest in lines if key == "claim"]
        owners: dict[IPv4Network, set[str]] = {}
        for owner, name in claims:
            owners.setdefault(ipv4_network(name.replace("_", "/")), set()).add(owner)
        claimed = {dst for dst, names in owners.items() if origin.inventory in names}
        entries = _by_destination(dict(lines)["routes"])
        for dst in sorted(claimed - entries.keys()):
            yield Found(cls(origin.host, dst, None, "", origin.inventory), ours=True)
        # A route that the kernel made with the address of a bridge of ours ends with the address.
        bridges = {interface_name("br-", origin.inventory, name) for name, _ in origin.networks}
        for dst, entry in entries.items():
            if entry.get("protocol") == _KERNEL and entry.get("dev") in bridges:
                continue
            marked = entry.get("protocol") == str(PROTO)
            lost = dst not in owners and any(dst.subnet_of(cidr) for _, cidr in origin.networks)
            route = replace(_route(dst, entry, origin), claimed=not (marked and lost))
            yield Found(route, ours=marked and (dst in claimed or lost))


def _by_destination(table: str) -> dict[IPv4Network, dict[str, Any]]:
    """Routes of `ip -N -j route` by destination; of several, the one of provision or the first."""
    routes: dict[IPv4Network, dict[str, Any]] = {}
    # With -N the protocol is a number: names differ by the rt_protos of the host.
    for entry in json.loads(table):
        if entry["dst"] == "default":
            continue
        dst = ipv4_network(entry["dst"])
        if dst not in routes or entry.get("protocol") == str(PROTO):
            routes[dst] = entry
    return routes


def _route(dst: IPv4Network, entry: dict[str, Any], origin: Origin) -> Route:
    via = ipv4_address(entry["gateway"]) if "gateway" in entry else None
    # Flags such as linkdown describe the link, not the route.
    flags = tuple(flag for flag in entry.get("flags", ()) if flag == "onlink")
    return Route(origin.host, dst, via, str(entry.get("dev", "")), origin.inventory, flags=flags)
