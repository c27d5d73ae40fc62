"""Kind `routes`: the static IPv4 routes of one network, in the main table of a host.

The protocol number marks them as routes of provision; a claim on disk, with a row for each, names
the inventory and the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple

from provision.model.ipv4 import ipv4_address, ipv4_network
from provision.model.names import interface_name
from provision.resources.base import Found, Origin, Ref, Resource, keyed_lines
from provision.resources.lib.route_claims import FOREIGN, Claims
from provision.resources.lib.shared_json import decode, made
from provision.resources.on_hosts import ETC, PROTO
from provision.resources.render import program_text
from provision.resources.rows import ROWS, SHOWN
from provision.resources.steps import Put, Run, Steps, partial_path, remove_file, sh

LOST = "lost"
"""The value of a row whose route the kernel has lost."""
AS_ROWS = "as rows"
"""The claim of a table that has exactly its rows, as it should."""

_KERNEL = "2"
"""Protocol number of the routes that the kernel makes with an address (linux/rtnetlink.h)."""
_OURS = str(PROTO)
_PROGRAM = program_text("host/routes.pl")
_OLD_CLAIMS = """
mkdir -p "$1" && while read -r destination row; do
  printf '%s\\n' "$destination $row" >"$1/${destination%/*}_${destination#*/}" || exit 1
done
"""


class Row(NamedTuple):
    """The route to `dst` by the router `via` and the interface `dev`.

    Without `via`, a wanted route is one by a WireGuard device. `way` is the rest of the route as
    `ip route` writes it, empty if the kernel has lost a claimed route. `dev` of a wanted route is
    empty while the host has no route to the router. `claimed` is False for a route with our
    protocol number into the range of a network, which has lost its claim. `key` is the text of
    `dst`; `order` sorts rows by it. `tunnel` is the kind of `dev`, if that is a tunnel's device:
    VXLAN, whose routers are in no subnet of it, or WireGuard, which has no routers.
    """

    key: str
    way: str
    dst: IPv4Network
    via: IPv4Address | None
    dev: str
    order: int
    tunnel: str = ""
    claimed: bool = True

    @property
    def value(self) -> str:
        """The way, and the state of a damaged route."""
        return (self.way or LOST) if self.claimed else f"{self.way} (not claimed)"

    def __str__(self) -> str:
        return f"{self.key} {self.value}"


@lru_cache(1 << 16)
def row(dst: str, via: str, dev: str, flag: str = "") -> Row:
    """A row of these texts, for which the hosts of a fleet share one object.

    `flag` may be `onlink`. Raises ValueError for texts that are not a network and an address.
    """
    router = ipv4_address(via) if via else None
    parts = (*(("via", via) if via else ()), *(("dev", dev) if dev else ()), flag)
    way = " ".join(filter(None, parts))
    network = ipv4_network(dst)
    order = int(network.network_address) << 6 | network.prefixlen
    tunnel = "vxlan" if flag == "onlink" else "wireguard" if dev and not router else ""
    return Row(dst, way, network, router, dev, order, tunnel)


@dataclass(frozen=True, slots=True)
class Routes(Resource):
    """The routes of the network `network`, one for each destination, sorted by it.

    `follows` are resources that are made first, but need not stay as they are. `old_claims` is the
    number of claims that version 0.1.0 has written, one for each route; None if there are none.
    `ssh_from` is the address of the SSH client. `claim` is the text of the claim on the host: None
    if there is none, `AS_ROWS` if it has these rows.
    """

    kind: ClassVar[str] = "routes"
    volatile: ClassVar[bool] = True
    leaves_foreign: ClassVar[bool] = True
    # The claims of version 0.1.0 have a destination for a name, the others a network.
    probe: ClassVar[str] = rf"""
need ip
set -- {ETC}/*/routes/*
[ -e "$1" ] || set --
for claim in "$@"; do
  [ -f "$claim" ] || continue
  owner=${{claim%/routes/*}}; echo "claim ${{owner##*/}} ${{claim##*/}}"
done
set -- {ETC}/*/routes/[a-z]*
[ ! -e "$1" ] || grep -Hs -D skip '' "$@" | sed 's/^/row /'
shared routes
"""
    # Without the flags linkdown and dead, which change with the carrier.
    fingerprint: ClassVar[str] = rf"""
need ip
ip -N -4 route show table main proto {PROTO} | sed 's/ linkdown//g;s/ dead//g;s/ *$//' | sort
set -- {ETC}/*/routes/*
[ ! -e "$1" ] || printf '%s\n' "$@"
set -- {ETC}/*/routes/[a-z]*
[ ! -e "$1" ] || grep -hs -D skip '' "$@" || :
"""

    network: str
    inventory: str
    rows: tuple[Row, ...] = field(metadata=ROWS)
    old_claims: int | None = None
    needs: tuple[Ref, ...] = field(default=(), compare=False, repr=False)
    follows: tuple[Ref, ...] = field(default=(), compare=False, repr=False)
    ssh_from: IPv4Address | None = field(default=None, compare=False, repr=False)
    claim: str | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        host: str,
        network: str,
        inventory: str,
        rows: Iterable[Row],
        *,
        ssh_from: IPv4Address | None = None,
    ) -> Routes:
        """The table of these rows."""
        ordered = tuple(sorted(rows, key=attrgetter("order")))
        return cls(
            host, network, inventory, ordered, needs=_devices(host, ordered), ssh_from=ssh_from
        )

    @property
    def name(self) -> str:
        return self.network

    def touches_ssh(self, current: Resource | None) -> bool:
        address = self.ssh_from
        if address is None:
            return False
        kept = {row.key: row for row in current.rows} if isinstance(current, Routes) else {}
        return any(address in row.dst for row in self.rows if kept.get(row.key) != row)

    def links(self) -> tuple[str, ...]:
        return tuple(sorted({row.dev for row in self.rows if row.dev}))

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def after(self) -> tuple[Ref, ...]:
        return self.follows

    def is_foreign(self) -> Run:
        return self._program("foreign", self.rows)

    def subject(self, current: Resource) -> Resource:
        """The existing rows, and those that the update adds."""
        assert isinstance(current, Routes)
        known = {row.key for row in current.rows if row.way}
        rows = [row for row in current.rows if row.way]
        rows += [row for row in self.rows if row.key not in known]
        return self.of(self.host, self.network, self.inventory, rows)

    def create(self) -> Steps:
        # A route has no comment or alias for a mark. The claim is written first, so that an
        # interrupted apply leaves no route without an owner.
        return (self._put_claim(self.rows), self._program("restore"))

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, Routes)
        kept = {row.key for row in self.rows}
        stale = tuple(row for row in current.rows if row.key not in kept)
        removal: Steps = ()
        if stale:
            # An interruption leaves no route without a claim.
            removal = (self._put_claim((*self.rows, *stale)), self._program("remove", stale))
        return (*removal, *self.create(), *current._drop_old_claims())

    def delete(self) -> Steps:
        removal = self._program("remove", self.rows)
        return (removal, *self._drop_old_claims(), *remove_file(self._claim))

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:  # noqa: ARG002
        if before is None:
            return self.delete()
        assert isinstance(before, Routes)
        # A row without a way was lost by the kernel before the change.
        present = {row.key for row in before.rows if row.way}
        made = tuple(row for row in self.rows if row.key not in present)
        removal = (self._program("remove", made),) if made else ()
        return (*removal, *before.unstash(""))

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        # Also a route without a claim needs one while the program makes it.
        restore = (self._put_claim(self.rows), self._program("restore"))
        match self.claim:
            case None:
                claim: Steps = remove_file(self._claim)
            case text:
                claim = () if text == AS_ROWS else (Put(self._claim, text),)
        return (*self._write_old_claims(), *restore, *claim)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        before = current if isinstance(current, Routes) else self
        lost = [row.key for row in before.rows if not row.claimed]
        if not lost:
            return None
        names = ", ".join(lost) if len(lost) <= SHOWN else f"{len(lost)} of {len(before.rows)}"
        if len(lost) == 1:
            return f"route {names} is ours, damaged: its claim in {before._claim} was deleted"
        return f"routes {names} are ours, damaged: their claims in {before._claim} were deleted"

    def _drop_old_claims(self) -> Steps:
        if not self.old_claims:
            return ()
        paths = [self._old_claim(row) for row in self.rows]
        return (Run(("rm", "-f", "--", *paths, *map(partial_path, paths))),)

    def _write_old_claims(self) -> Steps:
        if not self.old_claims:
            return ()
        claimed = [row for row in self.rows if row.claimed]
        lines = "".join(f"{row.key} via {row.via} dev {row.dev}\n" for row in claimed)
        run = sh(_OLD_CLAIMS.strip(), f"{ETC}/{self.inventory}/routes")
        return (Run(run.argv, stdin=lines),)

    def _put_claim(self, rows: Iterable[Row]) -> Put:
        return Put(self._claim, _lines(rows))

    def _program(self, verb: str, rows: Iterable[Row] | None = None) -> Run:
        """Run the program with these rows, or with those of the claim."""
        arguments = ("perl", "-e", _PROGRAM, "--", verb, str(PROTO), ETC, self.inventory)
        if rows is None:
            return Run((*arguments, self._claim))
        return Run(arguments, stdin=_lines(rows))

    @property
    def _claim(self) -> str:
        return f"{ETC}/{self.inventory}/routes/{self.network}"

    def _old_claim(self, row: Row) -> str:
        return f"{ETC}/{self.inventory}/routes/{row.key.replace('/', '_')}"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        claims = Claims(lines, origin)
        existing = _by_destination_of(decode(dict(lines)["routes"]))
        tables: dict[str, list[Row]] = {network: [] for network in claims.texts}
        for dst in claims.networks.keys() - existing.keys():
            tables.setdefault(claims.networks[dst], []).append(row(dst, "", ""))
        # A route that the kernel made with the address of a bridge of ours ends with the address.
        bridges = {interface_name("br-", origin.inventory, name) for name, _ in origin.networks}
        for dst, (route, protocol) in existing.items():
            if protocol == _KERNEL and route.dev in bridges:
                continue
            network = claims.network_of(dst, marked=protocol == _OURS)
            if network != FOREIGN and dst not in claims.networks:
                route = route._replace(claimed=False)
            tables.setdefault(network, []).append(route)
        for network, rows in tables.items():
            old = sum(row.key in claims.old for row in rows) if claims.old else 0
            table = cls.of(origin.host, network, origin.inventory, rows)
            claim = claims.texts.get(network)
            claim = AS_ROWS if claim == _lines(table.rows) else claim
            yield Found(replace(table, old_claims=old or None, claim=claim), network != FOREIGN)


class _Existing(NamedTuple):
    """A route of the kernel, and the number of its protocol."""

    row: Row
    protocol: str | None


def _by_destination_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, _Existing]:
    """Routes of `ip -N -j route` by destination; of several, the one of provision or the first."""
    routes: dict[str, _Existing] = {}
    for entry in entries:
        route = made(entry, _existing)
        if route is not None and (route.row.key not in routes or route.protocol == _OURS):
            routes[route.row.key] = route
    return routes


def _existing(entry: Mapping[str, Any]) -> _Existing | None:
    """The route of an entry; None if it is a default route."""
    dst = entry["dst"] if "/" in entry["dst"] else f"{entry['dst']}/32"
    if dst == "default/32":
        return None
    # Flags such as linkdown describe the link, not the route.
    flag = "onlink" if "onlink" in entry.get("flags", ()) else ""
    # With -N the protocol is a number: names differ by the rt_protos of the host.
    route = row(dst, entry.get("gateway", ""), str(entry.get("dev", "")), flag)
    return _Existing(route, entry.get("protocol"))


def _devices(host: str, rows: Iterable[Row]) -> tuple[Ref, ...]:
    """The devices of tunnels that these routes need."""
    devices = {(row.tunnel, row.dev) for row in rows if row.tunnel}
    return tuple(Ref(host, kind, device) for kind, device in sorted(devices))


def _lines(rows: Iterable[Row]) -> str:
    """The rows as a claim has them, a line each."""
    return "".join([f"{row.key} {row.way or LOST}\n" for row in rows])
