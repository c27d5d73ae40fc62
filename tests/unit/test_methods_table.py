"""Each row of the table in docs/methods.md agrees with the resources that the methods plan.

On booted hosts, `verify` compares the same with reality: `wire` uses `Method.tunnel`, `broadcast`
uses `Method.single_l2`, `mtu` uses `Method.mtu`, and `drift` uses `Method.desired`.
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
from provision.resources.kinds.routes import Routes
from provision.resources.kinds.service import Service
from provision.resources.kinds.vxlan import Vxlan
from provision.resources.kinds.wireguard import Wireguard
from provision.resources.lib.daemon_range import daemon_range
from tests.cases.test_cases import facts
from tests.house.test_structure import ROOT

PAGE = ROOT / "docs" / "methods.md"
DOCKER = {"h1": "26.1.5", "h2": "20.10.24", "h3": "28.5.2"}
COLUMNS: dict[str, tuple[str, tuple[str, str]]] = {
    "routes": ("routes", ("", "")),
    "bgp": ("bgp", ("", "")),
    "vxlan bridged": ("vxlan", ("", "")),
    "vxlan evpn": ("vxlan-evpn", ("", "")),
    "vxlan routed": ("vxlan", ("# mode: routed", "mode: routed")),
    "ovs-gre": ("ovs-gre", ("", "")),
    "ovs-vxlan": ("ovs-vxlan", ("", "")),
    "pipework": ("pipework", ("", "")),
    "macvlan": ("macvlan", ("", "")),
    "wireguard": ("wireguard", ("", "")),
    "flannel vxlan": ("flannel-vxlan", ("", "")),
    "flannel udp": ("flannel-udp", ("", "")),
    "flannel host-gw": ("flannel-host-gw", ("", "")),
}
"""The example inventory of each column, and a change of its text."""


def _host_with_wireguard() -> HostFacts:
    inventory = load(ROOT / "inventories" / "wireguard.yml")
    return facts(inventory, {"docker": DOCKER, "kernel_wireguard": ["h1"]})["h1"]


KERNEL = _host_with_wireguard()


@dataclass(frozen=True)
class Planned:
    """A column: a network of three hosts with links of 1500 bytes, and its resources on h1."""

    inventory: Inventory
    network: Network
    hosts: Mapping[str, HostFacts]
    resources: tuple[Resource, ...]

    def of(self, kind: type[Any]) -> list[Any]:
        """The resources of one kind."""
        return [resource for resource in self.resources if isinstance(resource, kind)]

    def mtu(self) -> int:
        """The MTU in containers, in bytes."""
        return methods.of(self.network).mtu(self.inventory, self.network, self.hosts)


def planned(folder: Path, column: str, change: tuple[str, str] = ("", ""), **case: Any) -> Planned:
    """The network of a column, with another change; `case` are differences of the hosts."""
    name, column_change = COLUMNS[column]
    text = (ROOT / "inventories" / f"{name}.yml").read_text()
    for old, new in (column_change, change):
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "inventory.yml"
    path.write_text(text)
    inventory = load(path)
    hosts = facts(inventory, {"docker": DOCKER, **case})
    resources = desired.wanted(inventory, hosts).values()
    network = next(iter(inventory.networks.values()))
    return Planned(inventory, network, hosts, tuple(r for r in resources if r.host == "h1"))


@cache
def table() -> dict[str, dict[str, str]]:
    """The cells of the table by row and column, without links and backquotes."""
    first = PAGE.read_text().partition("\n## ")[0]
    lines = [line for line in first.splitlines() if line.startswith("|")]
    rows = [[_plain(cell) for cell in line.strip("|").split("|")] for line in lines]
    head = rows[0][1:]
    # Only the first of the three columns of flannel has its name in the head.
    head[-2:] = [f"flannel {backend}" for backend in head[-2:]]
    return {row[0]: dict(zip(head, row[1:], strict=True)) for row in rows[2:]}


def _plain(cell: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell).replace("`", "").strip()


def _one_l2(column: Planned) -> str:
    if methods.of(column.network).on_hosts_lan:
        return "yes: the hosts' own"
    return "yes" if methods.of(column.network).single_l2(column.network) else "no"


def _between(column: Planned) -> str:
    tunnel = methods.of(column.network).tunnel(column.network)
    if tunnel is None:
        return "plain Ethernet" if methods.of(column.network).on_hosts_lan else "plain IP"
    return "IP protocol 47" if tunnel.protocol == "gre" else f"UDP {tunnel.port}"


def _software(column: Planned) -> str:
    tools = set(methods.of(column.network).tools(column.network, "h1"))
    if "vtysh" in tools:
        return "frr"
    if "wg" in tools:
        assert not methods.of(column.network).tools_by_facts(column.network, KERNEL)
        return "wireguard-tools; wireguard-go without the kernel's module"
    if tools >= {"ovs-vsctl"}:
        return "Open vSwitch, ethtool" if "ethtool" in tools else "Open vSwitch"
    if column.of(Flannel):
        return "flanneld, etcd"
    return "nothing; Open vSwitch with kind: ovs" if column.of(LanBridge) else "nothing"


def _daemons(column: Planned) -> str:
    units = [str(resource.name) for resource in column.resources if resource.kind == "service"]
    if column.of(Wireguard):
        assert any("-wireguard." in unit for unit in units)
        return "wireguard-go without the kernel's module"
    if any("-bgp." in unit or "-evpn." in unit for unit in units):
        return "zebra, bgpd"
    daemons = [name for name in ("flanneld", "etcd") if any(f"-{name}." in unit for unit in units)]
    return ", ".join(daemons) or ("ovs-vswitchd, ovsdb-server" if column.of(OvsDaemon) else "none")


def _forwarding(column: Planned) -> str:
    routes = [row for table in column.of(Routes) for row in table.rows]
    devices = column.of(Vxlan)
    if devices and not devices[0].static:
        assert not routes and not devices[0].forwards
        return "BGP EVPN, by zebra"
    if devices and not devices[0].learning:
        assert len(routes) == len(devices[0].forwards) == 2
        return "the inventory (table, routes)"
    if column.of(Wireguard):
        assert [route.dst for route in routes] == [column.network.cidr]
        return "the inventory (peers, one route)"
    if any(daemon_range(service.text) for service in column.of(Service)):
        assert not routes
        return "BGP, read by zebra"
    if column.of(Flannel):
        assert not routes
        return "etcd, read by flanneld"
    if routes:
        assert len(routes) == 2
        return "the inventory (routes)"
    if column.of(OvsBridge):
        assert column.of(OvsBridge)[0].fail_mode == "standalone"  # learns like any switch
        return "the bridge learns from frames"
    if not methods.of(column.network).uses_bridge:
        return "switches learn from frames"
    return "the kernel learns from frames" if devices else "the bridge learns from frames"


def _subnet(column: Planned) -> str:
    (network,) = column.of(DockerNetwork)
    if methods.of(column.network).on_hosts_lan:
        assert network.subnet == column.network.cidr and network.ip_range is not None
        return "the LAN, a pool each"
    if network.subnet == column.network.cidr:
        assert network.ip_range == column.network.subnets["h1"]
        return "the whole cidr, a range each"
    assert network.subnet == column.network.subnets["h1"]
    return "the host's subnet"


ROWS: dict[str, Callable[[Planned], str]] = {
    "one layer 2 (broadcasts reach all)": _one_l2,
    "between the hosts": _between,
    "software on the host besides Docker": _software,
    "daemons": _daemons,
    "where forwarding entries come from": _forwarding,
    "a Docker network's subnet": _subnet,
}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", ROWS)
def test_a_cell_agrees_with_the_planned_resources(tmp_path: Path, row: str, column: str) -> None:
    """The cell describes the resources of the method on one host."""
    assert table()[row][column] == ROWS[row](planned(tmp_path, column))


@pytest.mark.parametrize("column", COLUMNS)
def test_the_mtu_agrees_with_the_table(tmp_path: Path, column: str) -> None:
    """The links have 1500 bytes; ovs-gre is tested with a key, too."""
    text = str(planned(tmp_path, column).mtu())
    if column == "ovs-gre":
        text += f"; {planned(tmp_path, column, ('# key: 7', 'key: 7')).mtu()} with a key"
    assert table()["MTU in containers, of 1500"][column] == text


@pytest.mark.parametrize("column", COLUMNS)
def test_routers_between_hosts_are_refused_if_the_table_says_so(
    tmp_path: Path, column: str
) -> None:
    """Preflight refuses them; for pipework, loading the inventory does."""
    if column == "pipework":
        with pytest.raises(ProvisionError, match="is not inside cidr"):
            planned(tmp_path, column, ("h1: {address: 10.78.0.11}", "h1: {address: 10.79.0.11}"))
        supported = False
    else:
        network = planned(tmp_path, column, via={"h1": "10.78.0.1"})
        supported = not problems(network.inventory, network.hosts)
    texts = {True: "yes", False: "with routers that speak BGP" if column == "bgp" else "no"}
    assert table()["hosts may be on different links"][column] == texts[supported]


@pytest.mark.parametrize("column", COLUMNS)
def test_preflight_refuses_the_causes_that_it_can_see(tmp_path: Path, column: str) -> None:
    """The other causes are tested on booted hosts, in tests/lab/test_methods_break.py."""
    causes = table()["what breaks it"][column].split("; ")
    if "an MTU set too high" in causes:
        size = planned(tmp_path, column).mtu()
        large = planned(tmp_path, column, ("    cidr:", f"    mtu: {size + 1}\n    cidr:"))
        hints = [problem.hint for problem in problems(large.inventory, large.hosts)]
        assert any(f"mtu: {size} or less" in hint for hint in hints)
    by_router = any(cause.startswith("a router between hosts") for cause in causes)
    one_link = by_router or column == "pipework"
    assert one_link == (table()["hosts may be on different links"][column] != "yes")


@pytest.mark.parametrize("column", COLUMNS)
def test_the_nics_addresses_move_as_the_table_says(tmp_path: Path, column: str) -> None:
    """Planned on hosts without the kernel module of Open vSwitch, and on hosts with it."""
    moves = [
        bool(network.of(OvsUplink) or network.of(LanBridge))
        for network in (
            planned(tmp_path, column),
            planned(tmp_path, column, kernel_datapath=["h1", "h2", "h3"]),
        )
    ]
    texts = {
        (False, False): "no",
        (True, True): "yes",
        (True, False): "without the kernel's module",
    }
    assert table()["the NIC's addresses move"][column] == texts[moves[0], moves[1]]


def test_every_row_has_a_test() -> None:
    """The test is in this file, or is one on booted hosts that the page names."""
    tested = {*ROWS, "MTU in containers, of 1500", "hosts may be on different links"}
    tested |= {"the NIC's addresses move"}
    assert set(table()) - tested == {"encrypted", "what breaks it"}
    references = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text())
    assert references
    for path, name in references:
        assert f"def {name}(" in (ROOT / path).read_text(), name
