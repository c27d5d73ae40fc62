"""Kind `attachment`: an interface of ours in a container's network namespace.

What pipework does by hand: a veth pair into a bridge, a macvlan on a NIC, or a NIC itself. The
kernel forgets it with the namespace, so the follower makes it again whenever the container starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from provision.attaching import ATTACH, DETACH
from provision.resource import ETC, Put, Ref, Resource, Run, Scope, Seen, Steps, forget

PROTO = "240"
"""Our number in `ip route … proto` and `ip rule … protocol`."""
LAST = 254
"""The main table."""


@dataclass(frozen=True, slots=True)
class Attachment(Resource):
    """Interface `interface` of `container`, on `parent` by `way`: bridge, ovs, macvlan or nic.

    `routes` and `rules` are words of iproute2; `mac` empty and `mtu` 0 are not asked for. What was
    lost has an empty `parent`. `claim` is what its file on the host says of it.
    """

    kind: ClassVar[str] = "attachment"
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
need ip
entered=' '
for claim in {ETC}/"$name"/attachments/*/*; do
  [ -f "$claim" ] || continue
  where=${{claim#*/attachments/}} who=${{claim#*/attachments/}} who=${{who%/*}}
  echo "claim $who ${{where##*/}} $(cat "$claim")"
  case $entered in *" $who "*) continue ;; esac
  [ "$entered" != ' ' ] || {{
    ip -N -j -d link show | sed 's/^/links /'
    ! command -v bridge >/dev/null 2>&1 || bridge -j vlan show | tr -d '\n' | sed 's/^/vlans /'
    echo
    # Not its socket: on some hosts systemd listens there, and asking would start it.
    database=$(cat /run/openvswitch/ovsdb-server.pid 2>/dev/null)
    [ -z "$database" ] || ! kill -0 "$database" 2>/dev/null || {{
      ovs-vsctl --timeout=5 --format=json --columns=name,tag \
        find port external_ids:provision="$name" | sed 's/^/ports /'
      for bridge in $(ovs-vsctl --timeout=5 list-br); do
        echo "ovs $bridge $(ovs-vsctl --timeout=5 list-ports "$bridge" | tr '\n' ' ')"
      done
    }}
  }}
  entered="$entered$who "
  pid=$(printf '%s\n' "$answers" | while read -r word one pid _; do
    [ "$word $one" != "lives $who" ] || echo "$pid"
  done)
  [ -n "$pid" ] || continue
  nsenter -t "$pid" -n sh -c 'printf "address show\nroute show table all\nrule show\n" |
    ip -N -j -d -force -batch -; ip -6 -N -j rule show' 2>/dev/null |
    sed "1s/^/inside $who /;2s/^/routes $who /;3,4s/^/rules $who /"
done
"""

    witness: ClassVar[str] = rf"""
for claim in {ETC}/*/attachments/*/*; do [ ! -f "$claim" ] || echo "$claim $(cat "$claim")"; done
"""

    container: str
    interface: str
    way: str
    parent: str
    outer: str
    mac: str
    vlan: int
    mtu: int
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    rules: tuple[str, ...]
    inventory: str
    needs: tuple[Ref, ...] = field(default=(), compare=False)
    claim: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return f"{self.container}/{self.interface}"

    def requires(self) -> tuple[Ref, ...]:
        return (Ref(self.host, "container", self.container), *self.needs)

    def create(self) -> Steps:
        # The claim comes first: what an interrupted apply leaves is known as ours.
        claim = Put(self._file, " ".join(self._claim) + "\n")
        rest = (self._inside, self._behind)
        return (claim, Run(("sh", "-c", ATTACH, "sh", *self._where, *self._claim, *rest)))

    def update(self, found: Resource) -> Steps:
        assert isinstance(found, Attachment)
        return (*found._detached, *self.create())

    def delete(self) -> Steps:
        return (*self._detached, *forget(self._file))

    @property
    def _detached(self) -> Steps:
        return (Run(("sh", "-c", DETACH, "sh", *self._where, *self._claim)),)

    @property
    def _claim(self) -> tuple[str, ...]:
        """Way, our end outside, what it is on, MAC, MTU, VLAN, priorities of rules; `-`: none."""
        if self.claim:
            return self.claim
        priorities = ",".join(words.rpartition(" ")[2] for words in self.rules)
        asked = (self.mac, str(self.mtu or ""), str(self.vlan or ""), priorities)
        return (self.way, self.outer, self.parent, *(word or "-" for word in asked))

    @property
    def _where(self) -> tuple[str, ...]:
        mark = f"provision:{self.inventory}/{self.container}/{self.interface}"
        hold = f"/run/provision-{self.inventory}.nics/{self.outer}"
        return (self.container, self.interface, mark, hold, f"{ETC}/{self.inventory}/attachments")

    @property
    def _inside(self) -> str:
        """Lines of `ip -batch` while the interface is still down."""
        lines = [
            f"address replace {_lasting(text)} dev {self.interface}" for text in self.addresses
        ]
        return "\n".join(lines)

    @property
    def _behind(self) -> str:
        """Lines of `ip -batch` once it is up; a rule of ours is there once."""
        routes = [
            f"route replace {words} dev {self.interface} proto {PROTO}" for words in self.routes
        ]
        ordered = sorted(routes, key=lambda line: " via " in line)
        return "\n".join(
            [*ordered, *(f"rule add {words} protocol {PROTO}" for words in self.rules)]
        )

    @property
    def _file(self) -> str:
        return f"{ETC}/{self.inventory}/attachments/{self.container}/{self.interface}"

    def disruption(self, found: Resource | None, *, anew: bool) -> str | None:  # noqa: ARG002
        lost = not isinstance(found, Attachment) or not found.parent
        return None if lost else f"interface {self.interface} of {self.container} is made anew"

    @classmethod
    def parse(cls, text: str, scope: Scope) -> Iterable[Seen]:
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        look = _Look(lines)
        for word, rest in lines:
            if word == "claim":
                yield Seen(look.attachment(rest.split(" "), scope), ours=True)


def _lasting(address: str) -> str:
    # Nobody else can have it where nobody is: asking around would only delay its use.
    return f"{address} nodad" if ":" in address else address


class _Look:
    """What one probe printed, by container."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        single = dict(lines)
        self.links = {
            link["ifname"]: link for link in json.loads(single.get("links", "[]")) if link
        }
        self.by_index = {link["ifindex"]: name for name, link in self.links.items()}
        vlans = json.loads(single.get("vlans") or "[]")
        self.vlans = {port["ifname"]: port.get("vlans", ()) for port in vlans}
        self.bridges = dict(_ovs_bridges(lines))
        self.tags = dict(_ovs_tags(single.get("ports", "")))
        self.inside = _by_container(lines, "inside")
        self.routes = _by_container(lines, "routes")
        self.rules = _by_container(lines, "rules")

    def attachment(self, claim: list[str], scope: Scope) -> Attachment:
        container, interface, way, outer, on, mac, mtu, _, priorities = claim
        links = {one["ifname"]: one for one in self.inside.get(container, ()) if "ifname" in one}
        link = links.get(interface)
        seen: dict[str, Any] = {
            "host": scope.host,
            "container": container,
            "interface": interface,
            "way": way,
        }
        seen |= {"outer": outer, "inventory": scope.inventory, "claim": tuple(claim[2:])}
        mark = f"provision:{scope.inventory}/{container}/{interface}"
        if link is None or link.get("ifalias") != mark:
            return Attachment(**seen, **_NOTHING)
        up = "UP" in link["flags"]
        return Attachment(
            **seen,
            parent=self._parent(way, outer, on, link) if up else "",
            mac="" if mac == "-" else link["address"],
            vlan=self._vlan(way, outer, link),
            mtu=0 if mtu == "-" else int(link["mtu"]),
            addresses=tuple(sorted(_addresses(link))),
            routes=tuple(sorted(_routes(self.routes.get(container, ()), interface))),
            rules=tuple(sorted(_rules(self.rules.get(container, ()), priorities))),
        )

    def _parent(self, way: str, outer: str, claimed: str, link: dict[str, Any]) -> str:
        """What it is really on."""
        if way == "nic":
            return claimed
        if way == "macvlan":
            below = self.by_index.get(link.get("link_index", 0), "")
            on = self.links.get(below, {})
            tagged = on.get("linkinfo", {}).get("info_kind") == "vlan"
            return str(on.get("link", "")) if tagged else below
        if way == "ovs":
            return self.bridges.get(outer, "")
        return str(self.links.get(outer, {}).get("master", ""))

    def _vlan(self, way: str, outer: str, link: dict[str, Any]) -> int:
        if way == "macvlan":
            below = self.links.get(self.by_index.get(link.get("link_index", 0), ""), {})
            return int(below.get("linkinfo", {}).get("info_data", {}).get("id", 0))
        if way == "ovs":
            return self.tags.get(outer, 0)
        tags = [one["vlan"] for one in self.vlans.get(outer, ()) if "PVID" in one.get("flags", ())]
        # 1 is what every port of a bridge has when nobody asks for VLANs.
        return int(tags[0]) if tags and tags[0] != 1 else 0


_NOTHING: dict[str, Any] = {
    "parent": "", "mac": "", "vlan": 0, "mtu": 0, "addresses": (), "routes": (), "rules": (),
}  # fmt: skip


def _by_container(lines: list[tuple[str, str]], word: str) -> Mapping[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for key, rest in lines:
        if key == word:
            container, _, printed = rest.partition(" ")
            found.setdefault(container, []).extend(json.loads(printed))
    return found


def _ovs_bridges(lines: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for word, rest in lines:
        bridge, _, ports = rest.partition(" ")
        for port in ports.split() if word == "ovs" else ():
            yield port, bridge


def _ovs_tags(printed: str) -> Iterator[tuple[str, int]]:
    for name, tag in json.loads(printed)["data"] if printed else ():
        yield name, tag if isinstance(tag, int) else 0


def _addresses(link: dict[str, Any]) -> Iterator[str]:
    for one in link["addr_info"]:
        # The kernel gives every interface a link-local address of its own.
        if "local" in one and not (one["family"] == "inet6" and one["scope"] in ("link", "253")):
            yield f"{one['local']}/{one['prefixlen']}"


def _routes(table: Iterable[dict[str, Any]], interface: str) -> Iterator[str]:
    for one in table:
        if one.get("dev") == interface and str(one.get("protocol")) == PROTO:
            # Without another word the kernel gives IPv6 routes the metric 1024.
            metric = int(one.get("metric", 0))
            six = ":" in one["dst"] or ":" in one.get("gateway", "")
            yield route_words(
                one["dst"],
                one.get("gateway", ""),
                one.get("prefsrc", ""),
                0 if six and metric == 1024 else metric,
                int(one.get("table", LAST)),
            )


def route_words(to: str, via: str, source: str, metric: int, table: int) -> str:
    """A route as words of `ip route`, without its device."""
    family = "default" if to in ("default", "0.0.0.0/0", "::/0") else to
    words = [family if "/" in family or family == "default" else f"{family}/{_whole(family)}"]
    words += ["via", via] if via else []
    words += ["src", source] if source else []
    words += ["metric", str(metric)] if metric else []
    words += ["table", str(table)] if table != LAST else []
    return " ".join(words)


def _whole(address: str) -> int:
    return 128 if ":" in address else 32


def _rules(rules: Iterable[dict[str, Any]], priorities: str) -> Iterator[str]:
    mine = priorities.split(",")
    for one in rules:
        if str(one.get("protocol")) == PROTO and str(one["priority"]) in mine:
            yield rule_words(
                int(one["priority"]),
                int(one["table"]),
                _range(one, "src", "srclen"),
                _range(one, "dst", "dstlen"),
            )


def _range(rule: dict[str, Any], key: str, length: str) -> str:
    found = rule.get(key, "all")
    return "" if found == "all" else f"{found}/{rule.get(length, _whole(found))}"


def rule_words(priority: int, table: int, source: str, to: str) -> str:
    """A rule as words of `ip rule`."""
    words = ["from", source] if source else []
    words += ["to", to] if to else []
    return " ".join([*words, "table", str(table), "priority", str(priority)])
