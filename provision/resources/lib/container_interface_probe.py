"""The reading of what look/attachment.sh printed, as the fields of kind `attachment`. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from provision.model.fields.interfaces import MAIN_TABLE, full_length, route_spec, rule_spec
from provision.model.names import host_veth_name
from provision.resources.lib import bridge_port, ovsdb, port_vlans
from provision.resources.on_hosts import ANSWER_TABLE, PROTO, Mark

DOCKER_INTERFACE = "eth0"
"""The name that Docker gives the interface of a container's only network."""

_LOST: dict[str, Any] = {
    "parent": "", "mac": "", "vlan": 0, "mtu": 0, "addresses": (), "routes": (), "rules": (),
    "answer_routes": (), "vlan_settings": "",
}  # fmt: skip
_IPV6_METRIC = 1024
"""The kernel's metric for IPv6 routes that were added without one."""


class InterfaceProbe:
    """The output of the probe: links of the host, and interfaces, routes and rules by container."""

    def __init__(self, text: str) -> None:
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        single = dict(lines)
        self.links = {
            link["ifname"]: link for link in json.loads(single.get("links", "[]")) if link
        }
        self.by_index = {link["ifindex"]: name for name, link in self.links.items()}
        self.vlans = port_vlans.by_port(json.loads(single.get("vlans") or "[]"))
        self.ports = {port.name: port for port in ovsdb.ports(text) if not port.error}
        self.inside = _by_container(lines, "inside")
        self.routes = _by_container(lines, "routes")
        self.rules = _by_container(lines, "rules")

    def fields(self, claim: list[str], mark: str) -> dict[str, Any]:
        """The fields of the interface of a claim (`Attachment.claim`), empty ones if it is lost."""
        container, interface, kind, outer, parent, mac, mtu, _, priorities = claim
        link = self._link(container, interface)
        if link is None or link.get("ifalias") != mark:
            return _LOST
        below = self._below(kind, outer, link)
        linked = all("UP" in each["flags"] for each in (link, *below)) and self._passes(kind, outer)
        return {
            "parent": self._parent(kind, outer, parent, link) if linked else "",
            "mac": "" if mac == "-" else link["address"],
            "vlan": self._vlan(kind, outer, link),
            "mtu": 0 if mtu == "-" else int(link["mtu"]),
            "addresses": tuple(sorted(_addresses(link))),
            "routes": tuple(sorted(_routes(self.routes.get(container, ()), interface))),
            "rules": tuple(sorted(_rules(self.rules.get(container, ()), priorities))),
            "answer_routes": self._answer_routes(container, priorities),
            "vlan_settings": self._vlan_settings(kind, outer),
        }

    def unclaimed(
        self, inventory: str, claimed: Collection[tuple[str, str]]
    ) -> Iterator[list[str]]:
        """Yield a claim for each interface with our mark that has none, as it would have been.

        The name of a NIC that was moved into a container is unknown: NICs are left out.
        """
        rules_of: set[str] = set()
        for container, links in self.inside.items():
            for link in links:
                interface = str(link.get("ifname"))
                mark = Mark(inventory, f"{container}/{interface}").tag
                if link.get("ifalias") != mark or (container, interface) in claimed:
                    continue
                outer = host_veth_name(inventory, container, interface)
                if kind := self._kind(link, outer):
                    # One claim of a container has all of its rules: nothing tells whose they are.
                    priorities = () if container in rules_of else self._priorities(container)
                    rules_of.add(container)
                    yield [
                        *(container, interface, kind, outer),
                        self._parent(kind, outer, "", link) or "-",
                        str(link["address"]),
                        "-" if kind == "macvlan" else str(link["mtu"]),
                        str(self._vlan(kind, outer, link) or "-"),
                        ",".join(priorities) or "-",
                    ]

    def _kind(self, link: Mapping[str, Any], outer: str) -> str:
        """The kind of attachment that an interface in a container is from; empty: unknown."""
        match link.get("linkinfo", {}).get("info_kind"):
            case "macvlan":
                return "macvlan"
            case "veth":
                return "ovs" if outer in self.ports else "bridge"
            case _:
                return ""

    def _priorities(self, container: str) -> tuple[str, ...]:
        rules = self.rules.get(container, ())
        return tuple(str(r["priority"]) for r in rules if str(r.get("protocol")) == str(PROTO))

    def _answer_routes(self, container: str, priorities: str) -> tuple[str, ...]:
        """Routes of Docker's interface, if it is this attachment whose rule leads to them."""
        claimed = priorities.split(",")
        rules = self.rules.get(container, ())
        if not any(_is_claimed(rule, claimed) and _table(rule) == ANSWER_TABLE for rule in rules):
            return ()
        table = self.routes.get(container, ())
        return tuple(sorted(_routes(table, DOCKER_INTERFACE)))

    def _link(self, container: str, interface: str) -> dict[str, Any] | None:
        for link in self.inside.get(container, ()):
            # `ip -j` prints an empty object for an interface that it leaves out.
            if link.get("ifname") == interface:
                return link
        return None

    def _below(self, kind: str, outer: str, link: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The host's links that frames of the interface pass; not those that are missing."""
        names = [outer] if kind in ("bridge", "ovs") else []
        if kind == "macvlan":
            lower_name = self.by_index.get(link.get("link_index", 0), "")
            names = [lower_name, str(self.links.get(lower_name, {}).get("link", ""))]
        return (self.links[name] for name in names if name in self.links)

    def _passes(self, kind: str, outer: str) -> bool:
        """True unless the port is mute, or has lost the VLAN that its bridge gives to new ports.

        Other VLANs of a port are an administrator's, and so is a bridge that gives none.
        """
        bridge = self.links.get(str(self.links.get(outer, {}).get("master", "")), {})
        is_up = "UP" in bridge.get("flags", ())
        if kind == "bridge" and bridge_port.mute(self.links.get(outer, {}), bridge_up=is_up):
            return False
        settings = bridge.get("linkinfo", {}).get("info_data", {})
        gives = settings.get("vlan_filtering") and settings.get("vlan_default_pvid")
        return kind != "bridge" or not gives or bool(self._vlans(outer))

    def _vlans(self, port: str) -> port_vlans.Entries:
        return self.vlans.get(port, ())

    def _parent(self, kind: str, outer: str, claimed: str, link: dict[str, Any]) -> str:
        """The bridge or NIC that really carries the interface."""
        if kind == "nic":
            return claimed
        if kind == "macvlan":
            lower_name = self.by_index.get(link.get("link_index", 0), "")
            lower = self.links.get(lower_name, {})
            tagged = lower.get("linkinfo", {}).get("info_kind") == "vlan"
            return str(lower.get("link", "")) if tagged else lower_name
        if kind == "ovs":
            return self.ports[outer].bridge if outer in self.ports else ""
        return str(self.links.get(outer, {}).get("master", ""))

    def _vlan_settings(self, kind: str, outer: str) -> str:
        """The settings of VLANs of a port of Open vSwitch besides its tag."""
        settings = self.ports[outer].vlans if kind == "ovs" and outer in self.ports else ""
        return " ".join(text for text in settings.split() if not text.startswith("tag="))

    def _vlan(self, kind: str, outer: str, link: dict[str, Any]) -> int:
        if kind == "macvlan":
            lower = self.links.get(self.by_index.get(link.get("link_index", 0), ""), {})
            return int(lower.get("linkinfo", {}).get("info_data", {}).get("id", 0))
        if kind == "ovs":
            return self.ports[outer].tag if outer in self.ports else 0
        untagged = port_vlans.untagged(self._vlans(outer))
        return 0 if untagged == port_vlans.DEFAULT_VLAN else untagged


def _by_container(lines: Iterable[tuple[str, str]], key: str) -> Mapping[str, list[dict[str, Any]]]:
    entries: dict[str, list[dict[str, Any]]] = {}
    for line_key, rest in lines:
        if line_key == key:
            container, _, printed = rest.partition(" ")
            entries.setdefault(container, []).extend(json.loads(printed))
    return entries


def _addresses(link: dict[str, Any]) -> Iterator[str]:
    for info in link["addr_info"]:
        # The kernel gives every interface a link-local address of its own (scope 253).
        link_local = info["family"] == "inet6" and info["scope"] in ("link", "253")
        if "local" in info and not link_local:
            yield f"{info['local']}/{info['prefixlen']}"


def _routes(table: Iterable[dict[str, Any]], interface: str) -> Iterator[str]:
    for route in table:
        if route.get("dev") == interface and str(route.get("protocol")) == str(PROTO):
            metric = int(route.get("metric", 0))
            ipv6 = ":" in route["dst"] or ":" in route.get("gateway", "")
            yield route_spec(
                route["dst"],
                route.get("gateway", ""),
                route.get("prefsrc", ""),
                0 if ipv6 and metric == _IPV6_METRIC else metric,
                int(route.get("table", MAIN_TABLE)),
            )


def _rules(rules: Iterable[dict[str, Any]], priorities: str) -> Iterator[str]:
    claimed = priorities.split(",")
    for rule in rules:
        if _is_claimed(rule, claimed):
            yield rule_spec(
                int(rule["priority"]),
                _table(rule),
                _range(rule, "src", "srclen"),
                _range(rule, "dst", "dstlen"),
            )


def _is_claimed(rule: dict[str, Any], priorities: list[str]) -> bool:
    return str(rule.get("protocol")) == str(PROTO) and str(rule["priority"]) in priorities


def _table(rule: dict[str, Any]) -> int:
    return int(rule["table"])


def _range(rule: dict[str, Any], key: str, length: str) -> str:
    address = rule.get(key, "all")
    return "" if address == "all" else f"{address}/{rule.get(length, full_length(address))}"
