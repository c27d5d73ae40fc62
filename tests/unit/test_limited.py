"""`--limit`: which hosts a plan for some of them has to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.engine import apply
from provision.engine.desired import wanted
from provision.engine.fleet import Session
from provision.engine.limited import hosts_to_read
from provision.inventory.load import load
from provision.model.inventory import Inventory
from tests import fakes
from tests.cases.test_cases import facts

SETTINGS = {
    "bgp": "method: bgp, cidr: 172.27.0.0/16",
    "evpn": "method: vxlan, control: evpn, cidr: 172.27.0.0/16",
}
WRITTEN = "mtu: 1400, subnets: {h3: 172.27.2.0/24}"
GUEST = "guests:\n  db1: {host: h3, network: core, container: db1}\n"
DOCKER = {"docker": {"h1": "26.1.5", "h2": "26.1.5", "h3": "26.1.5"}}


def inventory(folder: Path, network: str, more: str = "") -> Inventory:
    """Three hosts with a network `core`, and h4 with no network."""
    path = folder / "inventory.yml"
    hosts = "".join(f"  h{n}: {{address: 10.78.0.1{n}}}\n" for n in (1, 2, 3, 4))
    path.write_text(
        f"name: mesh\nhosts:\n{hosts}"
        f"networks:\n  core: {{{network}, hosts: [h1, h2, h3]}}\n"
        f"containers:\n  c3: {{host: h3, network: core}}\n{more}"
    )
    return load(path)


@pytest.mark.parametrize("method", SETTINGS)
def test_a_host_that_the_file_describes_wholly_is_read_alone(method: str, tmp_path: Path) -> None:
    """Its resources are the same, whether the other hosts are read or not."""
    mesh = inventory(tmp_path, f"{SETTINGS[method]}, {WRITTEN}")
    assert tuple(hosts_to_read(mesh, ("h3",))) == ("h3",)
    assert tuple(hosts_to_read(mesh, ("h4",))) == ("h4",)
    assert tuple(hosts_to_read(mesh, ("h3", "h4"))) == ("h3", "h4")
    assert tuple(hosts_to_read(mesh, ("h2", "h3"))) == ("h1", "h2", "h3", "h4")

    every = facts(mesh, {"docker": DOCKER["docker"] | {"h4": "26.1.5"}})
    by_all = {ref: res for ref, res in wanted(mesh, every).items() if ref.host == "h3"}
    assert by_all and wanted(mesh, {"h3": every["h3"]}) == by_all


@pytest.mark.parametrize(
    ("network", "more"),
    [
        (f"{SETTINGS['bgp']}, subnets: {{h3: 172.27.2.0/24}}", ""),
        (f"{SETTINGS['bgp']}, mtu: 1400", ""),
        (f"{SETTINGS['bgp']}, {WRITTEN}, names: true", ""),
        (f"{SETTINGS['bgp']}, {WRITTEN}, access: [eth1]", ""),
        (f"{SETTINGS['bgp']}, {WRITTEN}, reflectors: [h3], strict: true", ""),
        (f"{SETTINGS['bgp']}, {WRITTEN}", GUEST),
        (f"method: vxlan, cidr: 172.27.0.0/16, {WRITTEN}", ""),
        (f"method: routes, cidr: 172.27.0.0/16, {WRITTEN}", ""),
        (f"method: wireguard, cidr: 172.27.0.0/16, {WRITTEN}", ""),
    ],
    ids=["mtu", "subnet", "names", "access", "strict", "guest", "vxlan", "routes", "wireguard"],
)
def test_other_hosts_are_read_where_they_matter(network: str, more: str, tmp_path: Path) -> None:
    """An MTU or subnet that is not written, names, rows for peers, or guests."""
    mesh = inventory(tmp_path, network, more)
    assert tuple(hosts_to_read(mesh, ("h3",))) == ("h1", "h2", "h3", "h4")


def test_a_host_outside_a_network_with_access_needs_its_hosts(tmp_path: Path) -> None:
    """The host has routes to the subnets of all of them, which they may have kept."""
    mesh = inventory(tmp_path, "method: routes, cidr: 172.27.0.0/16, access: [hosts]")
    assert tuple(hosts_to_read(mesh, ("h4",))) == ("h1", "h2", "h3", "h4")


RULES = """
rules [{"priority":0,"src":"all","table":"local"},\
{"priority":100,"src":"all","dst":"172.27.9.0","dstlen":24,"table":"99"},\
{"priority":32766,"src":"all","table":"main"}]
every_route []"""


@pytest.mark.parametrize(("more", "read"), [("", {"h1"}), (RULES, {"h1", "h2"})])
def test_a_host_with_rules_is_compared_with_the_others(
    monkeypatch: pytest.MonkeyPatch, more: str, read: set[str]
) -> None:
    """They may have kept other subnets than the file says, to which its `ip rule` takes packets."""
    monkeypatch.setattr("provision.resources.kinds.all_kinds", tuple)
    hosts = fakes.Hosts(facts={"h1": fakes.HOST + more})
    session = Session(fakes.inventory("h1", "h2"), hosts)
    assert not apply.preview(session, ("h1",)).errors
    assert {host for host, _ in hosts.log} == read
