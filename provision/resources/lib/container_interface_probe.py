"""What a probe saw of containers' interfaces, as the fields of kind `attachment`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from provision.model.fields.interfaces import MAIN_TABLE, full_length, route_spec, rule_spec
from provision.resources.lib import ovsdb
from provision.resources.on_hosts import PROTO

_NOTHING: dict[str, Any] = {
    "parent": "", "mac": "", "vlan": 0, "mtu": 0, "addresses": (), "routes": (), "rules": (),
}  # fmt: skip


class InterfaceProbe:
    """What one probe printed, by container."""

    def __init__(self, text: str) -> None:
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        single = dict(lines)
        self.links = {
            link["ifname"]: link for link in json.loads(single.get("links", "[]")) if link
        }
        self.by_index = {link["ifindex"]: name for name, link in self.links.items()}
        vlans = json.loads(single.get("vlans") or "[]")
        self.vlans = {port["ifname"]: port.get("vlans", ()) for port in vlans}
        self.ports = {port.name: port for port in ovsdb.ports(text) if not port.trouble}
        self.inside = _by_container(lines, "inside")
        self.routes = _by_container(lines, "routes")
        self.rules = _by_container(lines, "rules")

    def fields(self, claim: list[str], mark: str) -> dict[str, Any]:
        """What is there of the interface that a claim (`Attachment.claim`) asks for."""
        container, interface, way, outer, on, mac, mtu, _, priorities = claim
        links = {one["ifname"]: one for one in self.inside.get(container, ()) if "ifname" in one}
        link = links.get(interface)
        if link is None or link.get("ifalias") != mark:
            return _NOTHING
        up = "UP" in link["flags"]
        return {
            "parent": self._parent(way, outer, on, link) if up else "",
            "mac": "" if mac == "-" else link["address"],
            "vlan": self._vlan(way, outer, link),
            "mtu": 0 if mtu == "-" else int(link["mtu"]),
            "addresses": tuple(sorted(_addresses(link))),
            "routes": tuple(sorted(_routes(self.routes.get(container, ()), interface))),
            "rules": tuple(sorted(_rules(self.rules.get(container, ()), priorities))),
        }

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
            return self.ports[outer].bridge if outer in self.ports else ""
        return str(self.links.get(outer, {}).get("master", ""))

    def _vlan(self, way: str, outer: str, link: dict[str, Any]) -> int:
        if way == "macvlan":
            below = self.links.get(self.by_index.get(link.get("link_index", 0), ""), {})
            return int(below.get("linkinfo", {}).get("info_data", {}).get("id", 0))
        if way == "ovs":
            return self.ports[outer].tag if outer in self.ports else 0
        tags = [one["vlan"] for one in self.vlans.get(outer, ()) if "PVID" in one.get("flags", ())]
        # 1 is what every port of a bridge has when nobody asks for VLANs.
        return int(tags[0]) if tags and tags[0] != 1 else 0


def _by_container(
    lines: Iterable[tuple[str, str]], word: str
) -> Mapping[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for key, rest in lines:
        if key == word:
            container, _, printed = rest.partition(" ")
            found.setdefault(container, []).extend(json.loads(printed))
    return found


def _addresses(link: dict[str, Any]) -> Iterator[str]:
    for one in link["addr_info"]:
        # The kernel gives every interface a link-local address of its own.
        if "local" in one and not (one["family"] == "inet6" and one["scope"] in ("link", "253")):
            yield f"{one['local']}/{one['prefixlen']}"


def _routes(table: Iterable[dict[str, Any]], interface: str) -> Iterator[str]:
    for one in table:
        if one.get("dev") == interface and str(one.get("protocol")) == str(PROTO):
            # Without another word the kernel gives IPv6 routes the metric 1024.
            metric = int(one.get("metric", 0))
            six = ":" in one["dst"] or ":" in one.get("gateway", "")
            yield route_spec(
                one["dst"],
                one.get("gateway", ""),
                one.get("prefsrc", ""),
                0 if six and metric == 1024 else metric,
                int(one.get("table", MAIN_TABLE)),
            )


def _rules(rules: Iterable[dict[str, Any]], priorities: str) -> Iterator[str]:
    mine = priorities.split(",")
    for one in rules:
        if str(one.get("protocol")) == str(PROTO) and str(one["priority"]) in mine:
            yield rule_spec(
                int(one["priority"]),
                int(one["table"]),
                _range(one, "src", "srclen"),
                _range(one, "dst", "dstlen"),
            )


def _range(rule: dict[str, Any], key: str, length: str) -> str:
    found = rule.get(key, "all")
    return "" if found == "all" else f"{found}/{rule.get(length, full_length(found))}"
