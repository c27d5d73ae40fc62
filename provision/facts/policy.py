"""Policy rules of a host (`ip rule`) that the kernel asks before the main table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from provision.facts.lines import KeyedLines
from provision.resources.lib.route_protocols import REFUSALS

ALL = IPv4Network("0.0.0.0/0")
_MAIN, _LOCAL = "254", "255"
_THROW = ("9", "throw")
"""Types of a route that ends the lookup in this table; the kernel then asks the next rule."""
# FR_ACT_BLACKHOLE … of linux/fib_rules.h have the numbers of RTN_BLACKHOLE …
_REFUSALS = {number: name for number, name in REFUSALS.items() if name not in _THROW}
_REFUSALS |= {name: name for name in _REFUSALS.values()}
_SELECTORS = (
    "fwmark", "ipproto", "sport", "dport", "tos", "dscp", "uid_", "oif", "tun_id", "l3mdev",
)  # fmt: skip
"""How the keys of other selectors begin: `ip` prints a range of ports as `dport_start` and `_end`.
"""


@dataclass(frozen=True, slots=True)
class PolicyRoute:
    """A route of a rule's table; `target` is its interface and gateway, or its refusal."""

    dst: IPv4Network
    target: str


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A rule with the routes of the table that it looks up.

    `refusal` is the verdict of a rule without a table, such as `blackhole`. `inverted` (`not`): the
    rule takes the packets that its selectors do not match. `special`: it has a selector that
    ordinary packets do not match. `main`: the shortest prefix of the routes that it takes from the
    main table; None for another table.
    """

    priority: int
    source: IPv4Network
    target: IPv4Network
    interface: str
    inverted: bool
    special: bool
    refusal: str
    routes: tuple[PolicyRoute, ...]
    main: int | None = None

    def target_of(self, source: IPv4Network, target: IPv4Network, interface: str) -> str:
        """The interface or refusal for packets between these networks; empty: none by this rule.

        `interface` is the one by which the packets come in.
        """
        if not self.matches(source, target, interface):
            return ""
        if self.refusal:
            return self.refusal
        return _lookup(self.routes, target)

    def matches(self, source: IPv4Network, target: IPv4Network, interface: str) -> bool:
        """True if the rule may take an ordinary packet that comes in by `interface`."""
        pairs = ((source, self.source), (target, self.target))
        if self.inverted:
            inside = all(packet.subnet_of(selector) for packet, selector in pairs)
            return self.special or not inside or self.interface not in ("", interface)
        overlaps = all(packet.overlaps(selector) for packet, selector in pairs)
        return overlaps and not self.special and self.interface in ("", interface)

    def covers(self, source: IPv4Network, target: IPv4Network, interface: str) -> bool:
        """True if the rule takes all ordinary packets between these networks.

        An empty `interface` stands for any.
        """
        if self.inverted:
            apart = not (source.overlaps(self.source) and target.overlaps(self.target))
            comes_elsewhere = interface and self.interface not in ("", interface)
            return self.special or apart or bool(comes_elsewhere)
        inside = source.subnet_of(self.source) and target.subnet_of(self.target)
        return inside and self.matches(source, target, interface)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules before that of the main table, and the routes of the main table."""

    rules: tuple[PolicyRule, ...] = ()
    main: tuple[PolicyRoute, ...] = ()

    def diversion(
        self, source: IPv4Network, target: IPv4Network, interface: str, *, within: IPv4Network
    ) -> tuple[int, str] | None:
        """The first rule that sends packets elsewhere than the main table; None if no rule does.

        Returns its priority, and the interface or refusal. A route of the main table that is not
        `within` the range of the network gives way to those that the network gets.
        """
        main = [route for route in self.main if route.dst.subnet_of(within)]
        for rule in self.rules:
            if rule.main is not None:
                if rule.main <= within.prefixlen and rule.covers(source, target, interface):
                    return None
            elif destination := rule.target_of(source, target, interface):
                usual = destination == _lookup(main, target)
                return None if usual else (rule.priority, destination)
        return None


def parse(lines: KeyedLines) -> Policy:
    """Read the lines `rules` and `every_route`."""
    routes = lines.decoded("every_route", "[]")
    rules = tuple(_rules(lines.decoded("rules", "[]"), routes))
    return Policy(rules, tuple(_routes({"table": _MAIN}, routes)) if rules else ())


def takes(
    entry: Mapping[str, Any], source: IPv4Address, target: IPv4Address, interface: str
) -> bool:
    """True if a rule of `ip -j rule` takes an ordinary packet; `interface`: where it comes in."""
    return _rule(entry, "", []).matches(IPv4Network(source), IPv4Network(target), interface)


def _lookup(routes: Iterable[PolicyRoute], target: IPv4Network) -> str:
    """Where the longest of the routes to `target` leads; empty: there is none."""
    matches = (route for route in routes if route.dst.overlaps(target))
    longest = max(matches, key=lambda route: route.dst.prefixlen, default=None)
    return longest.target if longest else ""


def _rules(
    entries: Iterable[Mapping[str, Any]], routes: list[Mapping[str, Any]]
) -> Iterator[PolicyRule]:
    for entry in entries:
        table, refusal = str(entry.get("table", "")), _REFUSALS.get(str(entry.get("action")), "")
        rule = _rule(entry, refusal, routes if table else [])
        # Later rules only get packets without a route in the main table.
        if table == _MAIN and "suppress_prefixlen" not in entry and rule.covers(ALL, ALL, ""):
            return
        if refusal or table not in ("", _LOCAL):
            yield rule


def _rule(entry: Mapping[str, Any], refusal: str, routes: list[Mapping[str, Any]]) -> PolicyRule:
    return PolicyRule(
        priority=int(entry["priority"]),
        source=_network(entry, "src"),
        target=_network(entry, "dst"),
        interface=str(entry.get("iif", "")),
        inverted="not" in entry,
        special=any(key.startswith(_SELECTORS) for key in entry),
        refusal=refusal,
        routes=tuple(_routes(entry, routes)),
        main=_shortest(entry) if str(entry.get("table", "")) == _MAIN else None,
    )


def _shortest(entry: Mapping[str, Any]) -> int:
    """The shortest prefix of a route that a rule with `suppress_prefixlength` takes."""
    return int(entry.get("suppress_prefixlen", -1)) + 1


def _network(entry: Mapping[str, Any], key: str) -> IPv4Network:
    address = entry.get(key, "all")
    if address == "all":
        return ALL
    return IPv4Network(f"{address}/{entry.get(f'{key}len', 32)}", strict=False)


def _routes(rule: Mapping[str, Any], routes: list[Mapping[str, Any]]) -> Iterator[PolicyRoute]:
    shortest = _shortest(rule)
    for entry in routes:
        dst = str(entry["dst"])
        if str(entry.get("table", _MAIN)) != str(rule["table"]) or ":" in dst + _gateway(entry):
            continue
        network = ALL if dst == "default" else IPv4Network(dst)
        refusal = _REFUSALS.get(str(entry.get("type")), "")
        if network.prefixlen >= shortest and str(entry.get("type")) not in _THROW:
            yield PolicyRoute(network, refusal or _next_hops(entry))


def _next_hops(entry: Mapping[str, Any]) -> str:
    """The interface and gateway of a route; of a multipath route, those of each next hop."""
    hops = entry.get("nexthops") or (entry,)
    return ", ".join(f"{hop.get('dev', '')} {_gateway(hop)}".strip() for hop in hops)


def _gateway(entry: Mapping[str, Any]) -> str:
    return str(entry.get("gateway", ""))
