"""docs/methods.md's table, line by line, against what the methods plan.

What they plan is what `verify` finds on booted hosts: `wire` judges by `Method.tunnel`,
`broadcast` by `Method.single_l2`, `mtu` by `Method.mtu`, and `drift` by all of `desired`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from provision import methods
from provision.engine import desired
from provision.engine.preflight import problems
from provision.facts.host import HostFacts
from provision.inventory.load import load
from provision.model.errors import ProvisionError
from provision.model.inventory import Inventory, Network
from provision.resources.base import Resource
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.lan_bridge import LanBridge
from provision.resources.kinds.ovs_bridge import OvsBridge
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.kinds.route import Route
from provision.resources.kinds.vxlan import Vxlan
from tests.cases.test_cases import facts
from tests.house.test_structure import ROOT

PAGE = ROOT / "docs" / "methods.md"
DOCKER = {"h1": "26.1.5", "h2": "20.10.24", "h3": "28.5.2"}
COLUMNS: dict[str, tuple[str, tuple[str, str]]] = {
    "routes": ("routes", ("", "")),
    "vxlan bridged": ("vxlan", ("", "")),
    "vxlan routed": ("vxlan", ("# mode: routed", "mode: routed")),
    "ovs-gre": ("ovs-gre", ("", "")),
    "ovs-vxlan": ("ovs-vxlan", ("", "")),
    "pipework": ("pipework", ("", "")),
    "flannel vxlan": ("flannel-vxlan", ("", "")),
    "flannel udp": ("flannel-udp", ("", "")),
    "flannel host-gw": ("flannel-host-gw", ("", "")),
}
"""Each column's example inventory, and what is changed in it."""


@dataclass(frozen=True)
class Planned:
    """One column: a network on three hosts with links of 1500 bytes, and what it wants on h1."""

    inventory: Inventory
    network: Network
    hosts: Mapping[str, HostFacts]
    wanted: tuple[Resource, ...]

    def of(self, kind: type[Any]) -> list[Any]:
        """Its resources of one kind."""
        return [thing for thing in self.wanted if isinstance(thing, kind)]

    def mtu(self) -> int:
        """Bytes of a packet in a container."""
        return methods.of(self.network).mtu(self.inventory, self.network, self.hosts)


def planned(folder: Path, column: str, change: tuple[str, str] = ("", ""), **found: Any) -> Planned:
    """A column's network, with one more change; `found` says how the hosts are."""
    name, own = COLUMNS[column]
    text = (ROOT / "inventories" / f"{name}.yml").read_text()
    for old, new in (own, change):
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "inventory.yml"
    path.write_text(text)
    inventory = load(path)
    hosts = facts(inventory, {"docker": DOCKER, **found})
    wanted = desired.wanted(inventory, hosts).values()
    network = next(iter(inventory.networks.values()))
    return Planned(inventory, network, hosts, tuple(one for one in wanted if one.host == "h1"))


@cache
def table() -> dict[str, dict[str, str]]:
    """The page's cells by line and column; links are taken away, and backquotes."""
    first = PAGE.read_text().partition("\n## ")[0]
    lines = [line for line in first.splitlines() if line.startswith("|")]
    rows = [[_plain(cell) for cell in line.strip("|").split("|")] for line in lines]
    head = rows[0][1:]
    # Only the first of flannel's three columns has its name in the head.
    head[-2:] = [f"flannel {word}" for word in head[-2:]]
    return {row[0]: dict(zip(head, row[1:], strict=True)) for row in rows[2:]}


def _plain(cell: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell).replace("`", "").strip()


def _flat(column: Planned) -> str:
    if column.network.method == "pipework":
        return "yes: the hosts' own"
    return "yes" if methods.of(column.network).single_l2(column.network) else "no"


def _between(column: Planned) -> str:
    tunnel = methods.of(column.network).tunnel(column.network)
    if tunnel is None:
        return "plain Ethernet" if column.network.method == "pipework" else "plain IP"
    return "IP protocol 47" if tunnel.protocol == "gre" else f"UDP {tunnel.port}"


def _beside(column: Planned) -> str:
    tools = set(methods.of(column.network).tools(column.network, "h1"))
    if tools >= {"ovs-vsctl"}:
        return "Open vSwitch, ethtool" if "ethtool" in tools else "Open vSwitch"
    if column.of(Flannel):
        return "flanneld, etcd"
    return "nothing; Open vSwitch with kind: ovs" if column.of(LanBridge) else "nothing"


def _daemons(column: Planned) -> str:
    units = [str(one.name) for one in column.wanted if one.kind == "service"]
    words = [word for word in ("flanneld", "etcd") if any(f"-{word}." in unit for unit in units)]
    return ", ".join(words) or ("ovs-vswitchd, ovsdb-server" if column.of(OvsDaemon) else "none")


def _knows(column: Planned) -> str:
    routes, devices = column.of(Route), column.of(Vxlan)
    if devices and not devices[0].learning:
        assert len(routes) == len(devices[0].forwards) == 2
        return "the inventory (table, routes)"
    if column.of(Flannel):
        assert not routes
        return "etcd, read by flanneld"
    if routes:
        assert len(routes) == 2
        return "the inventory (routes)"
    if column.of(OvsBridge):
        assert column.of(OvsBridge)[0].fail_mode == "standalone"  # it learns, as any switch
        return "the bridge learns from frames"
    return "the kernel learns from frames" if devices else "the bridge learns from frames"


def _subnet(column: Planned) -> str:
    (network,) = column.of(DockerNetwork)
    if column.network.method == "pipework":
        assert network.subnet == column.network.cidr and network.ip_range is not None
        return "the LAN, a pool each"
    if network.subnet == column.network.cidr:
        assert network.ip_range == column.network.subnets["h1"]
        return "the whole cidr, a range each"
    assert network.subnet == column.network.subnets["h1"]
    return "the host's subnet"


HELD: dict[str, Callable[[Planned], str]] = {
    "one layer 2 (broadcasts reach all)": _flat,
    "between the hosts": _between,
    "software on the host besides Docker": _beside,
    "daemons": _daemons,
    "where forwarding entries come from": _knows,
    "a Docker network's subnet": _subnet,
}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("line", HELD)
def test_a_line_of_the_table_is_what_is_planned(tmp_path: Path, line: str, column: str) -> None:
    """Each cell says of a method what it wants on a host."""
    assert table()[line][column] == HELD[line](planned(tmp_path, column))


@pytest.mark.parametrize("column", COLUMNS)
def test_the_mtu_is_as_the_table_says(tmp_path: Path, column: str) -> None:
    """Of links of 1500 bytes; with a key, too."""
    words = str(planned(tmp_path, column).mtu())
    if column == "ovs-gre":
        words += f"; {planned(tmp_path, column, ('# key: 7', 'key: 7')).mtu()} with a key"
    assert table()["MTU in containers, of 1500"][column] == words


@pytest.mark.parametrize("column", COLUMNS)
def test_routers_between_hosts_are_refused_or_served(tmp_path: Path, column: str) -> None:
    """Where they are not, preflight names the host and the way; pipework refuses the inventory."""
    if column == "pipework":
        with pytest.raises(ProvisionError, match="is not inside cidr"):
            planned(tmp_path, column, ("h1: {address: 10.78.0.11}", "h1: {address: 10.79.0.11}"))
        served = False
    else:
        found = planned(tmp_path, column, via={"h1": "10.78.0.1"})
        served = not problems(found.inventory, found.hosts)
    assert table()["hosts may be on different links"][column] == ("yes" if served else "no")


@pytest.mark.parametrize("column", COLUMNS)
def test_what_breaks_a_method_is_refused_where_it_can_be_seen(tmp_path: Path, column: str) -> None:
    """Booted hosts show the other causes: tests/lab/test_methods_break.py."""
    causes = table()["what breaks it"][column].split("; ")
    if "an MTU set too high" in causes:
        size = planned(tmp_path, column).mtu()
        large = planned(tmp_path, column, ("    cidr:", f"    mtu: {size + 1}\n    cidr:"))
        refused = [problem.hint for problem in problems(large.inventory, large.hosts)]
        assert any(f"mtu: {size} or less" in hint for hint in refused)
    apart = "a router between hosts" in causes or column == "pipework"
    assert apart == (table()["hosts may be on different links"][column] == "no")


@pytest.mark.parametrize("column", COLUMNS)
def test_whether_addresses_move_depends_on_the_kernel(tmp_path: Path, column: str) -> None:
    """As planned on hosts without the module and on hosts that have it."""
    moved = [
        bool(one.of(OvsUplink) or one.of(LanBridge))
        for one in (
            planned(tmp_path, column),
            planned(tmp_path, column, kernel_datapath=["h1", "h2", "h3"]),
        )
    ]
    words = {
        (False, False): "no",
        (True, True): "yes",
        (True, False): "without the kernel's module",
    }
    assert table()["the NIC's addresses move"][column] == words[moved[0], moved[1]]


def test_every_line_is_held_by_something() -> None:
    """By a test here, or by one on booted hosts that the page names and that is there."""
    here = {*HELD, "MTU in containers, of 1500", "hosts may be on different links"}
    here |= {"the NIC's addresses move"}
    assert set(table()) - here == {"encrypted", "what breaks it"}
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text())
    assert named
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(), name
