"""The verdict of tables of nftables that others have made, from `nft -j list table`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from provision.model.needs import Inbound, Need

_DEEPEST = 32
_FAMILIES = ("ip", "inet")


@dataclass(frozen=True, slots=True)
class NftTable:
    """A table: its base chains by hook, and the rules of each chain."""

    family: str
    table: str
    base: tuple[tuple[str, str, str], ...]
    """Hook, name and policy of each base chain of type filter."""
    rules: Mapping[str, list[Any]] = field(default_factory=dict, repr=False)

    def blocking_chain(self, need: Need) -> str:
        """The base chain that drops such packets, as nft names it; empty if none does."""
        hook = "input" if isinstance(need, Inbound) else "forward"
        for at, chain, policy in self.base:
            if at == hook and (self._walk(chain, need, 0) or policy) in ("drop", "reject"):
                return f"{self.family} {self.table} {chain}"
        return ""

    def _walk(self, chain: str, need: Need, depth: int) -> str:
        """accept, drop or reject; empty if the chain returns."""
        for expressions in self.rules.get(chain, ()):
            verdict = self._rule(expressions, need, depth)
            if verdict == "return":
                return ""
            if verdict:
                return verdict
        return ""

    def _rule(self, expressions: list[Any], need: Need, depth: int) -> str:
        for expression in expressions:
            kind, value = next(iter(expression.items()))
            if kind == "match" and not _matches(value, need):
                return ""
            if kind in ("accept", "drop", "reject", "return"):
                return str(kind)
            if kind in ("jump", "goto") and depth < _DEEPEST:
                verdict = self._walk(value["target"], need, depth + 1)
                return verdict or ("return" if kind == "goto" else "")
        return ""


def parse(text: str) -> NftTable | None:
    """Read a table; None if it is of another family, or if its text was cut."""
    try:
        entries = json.loads(text)["nftables"]
    except (ValueError, KeyError):
        return None
    table = next((entry["table"] for entry in entries if "table" in entry), None)
    if table is None or table["family"] not in _FAMILIES:
        return None
    rules: dict[str, list[Any]] = {}
    for rule in (entry["rule"] for entry in entries if "rule" in entry):
        rules.setdefault(rule["chain"], []).append(rule.get("expr", []))
    return NftTable(table["family"], table["name"], tuple(_base_chains(entries)), rules)


def _base_chains(entries: list[Any]) -> Iterator[tuple[str, str, str]]:
    for chain in (entry["chain"] for entry in entries if "chain" in entry):
        if chain.get("type") == "filter" and "hook" in chain:
            yield chain["hook"], chain["name"], chain.get("policy", "accept")


def _matches(match: Mapping[str, Any], need: Need) -> bool:
    """False also for a match that this module does not know: its rule may not be for us."""
    equal = match["op"] in ("==", "in")
    left, right = match["left"], match["right"]
    if not isinstance(left, dict) or match["op"] not in ("==", "!=", "in"):
        return False
    if "meta" in left:
        known, actual = _meta(left["meta"]["key"], need)
    elif "payload" in left:
        return _payload(left["payload"], right, need) is equal
    elif left.get("ct", {}).get("key") == "state":
        known, actual = True, ("new",)
    else:
        return False
    return known and all(_contains(right, value) is equal for value in actual)


def _meta(key: str, need: Need) -> tuple[bool, tuple[str, ...]]:
    protocol = (need.protocol,) if isinstance(need, Inbound) else ()
    bridge = () if isinstance(need, Inbound) else (need.bridge,)
    values = {
        "iif": (need.nic,),
        "iifname": (need.nic,),
        "oif": bridge,
        "oifname": bridge,
        "l4proto": protocol,
    }
    return bool(values.get(key)), values.get(key, ())


def _payload(left: Mapping[str, str], right: Any, need: Need) -> bool:
    header, name = left["protocol"], left["field"]
    if header == "ip" and name == "saddr":
        return _in_networks(right, need.source)
    if isinstance(need, Inbound):
        if name == "dport" and header in (need.protocol, "th"):
            return bool(need.ports) and all(_contains(right, port) for port in need.ports)
        return header == "ip" and name == "protocol" and _contains(right, need.protocol)
    return header == "ip" and name == "daddr" and _in_networks(right, need.target)


def _contains(right: Any, value: int | str) -> bool:
    """True if the right side of a match is, or contains, the value."""
    if isinstance(right, list):
        return any(_contains(part, value) for part in right)
    if isinstance(right, dict):
        if "set" in right:
            return _contains(right["set"], value)
        low_high = right.get("range")
        return (
            isinstance(value, int)
            and low_high is not None
            and (low_high[0] <= value <= low_high[1])
        )
    if isinstance(right, str) and right.endswith("*"):
        return str(value).startswith(right[:-1])
    return bool(right == value)


def _in_networks(right: Any, network: IPv4Network) -> bool:
    if isinstance(right, list):
        return any(_in_networks(part, network) for part in right)
    if isinstance(right, dict):
        if "set" in right:
            return _in_networks(right["set"], network)
        prefix = right.get("prefix")
        return prefix is not None and network.subnet_of(
            IPv4Network(f"{prefix['addr']}/{prefix['len']}", strict=False)
        )
    try:
        return network.subnet_of(IPv4Network(str(right)))
    except ValueError:
        return False  # the name of a set
