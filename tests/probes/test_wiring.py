"""Captured output of the topology probe is parsed into the expected topology.

`wiring/modes-<suite>.out` was captured with containers of every mode, one that never started, and
a VXLAN device as a port of a bridge; `stopped-sid.out` with Docker stopped. `.expected` beside
each file has the output of `provision show`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from provision.facts.topology import HostTopology
from provision.facts.topology_probe import parse
from provision.inventory.load import load
from provision.model.errors import FactsError
from provision.show.graph.draw import drawing
from provision.show.graph.formats import text
from provision.show.tables import tables, warnings
from provision.show.text import plain
from provision.show.view import View, namespace_name, namespace_owner

FOLDER = Path(__file__).parent / "wiring"
HOSTS = {"trixie": "h1", "bookworm": "h2", "sid": "h3"}
CAPTURES = sorted(FOLDER.glob("*.out"))


def captured(name: str) -> HostTopology:
    """The topology in one capture."""
    return parse(HOSTS[name.split("-")[1]], (FOLDER / f"{name}.out").read_text())


def view(*names: str) -> View:
    """The view of the hosts in these captures."""
    topologies = {topology.host: topology for topology in map(captured, names)}
    return View(load(FOLDER / "inventory.yml"), tuple(topologies), topologies, ())


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_capture_is_shown_as_expected(path: Path, request: pytest.FixtureRequest) -> None:
    """The output of iproute2, iptables and Docker in each suite gives the same topology."""
    shown = view(path.stem)
    parts = [*warnings(shown), plain(tables(shown)), text(drawing(shown))]
    expected = path.with_suffix(".expected")
    if request.config.getoption("update_goldens"):
        expected.write_text("\n".join(parts))
    assert "\n".join(parts) == expected.read_text()


def test_all_three_suites_were_captured() -> None:
    """Each has other versions of iproute2, iptables and Docker."""
    assert {path.stem for path in CAPTURES} >= {f"modes-{suite}" for suite in HOSTS}


@pytest.mark.parametrize("suite", HOSTS)
def test_both_ends_of_a_veth_are_found(suite: str) -> None:
    """A bridge's port leads to the container's interface, and the interface to the port."""
    host = captured(f"modes-{suite}")
    container_ends = [
        (port, host.container_end(port)) for b in host.bridges.values() for port in host.ports(b)
    ]
    assert sorted(port.name for port, end in container_ends if end is None) == ["vxlan9"]
    ends = {port.name: end for port, end in container_ends if end}
    assert len(ends) == 2
    for port, (container, link) in ends.items():
        host_end = host.host_end(link)
        assert host_end is not None and host_end.name == port
        assert host_end.master == host.bridges[container.mode]


def test_the_inode_of_a_namespace_shows_the_mode() -> None:
    """The namespace is the host's, its own or another's; a container that never ran has none."""
    host = captured("modes-sid")
    containers = host.containers
    namespaces = {name: namespace_name(host, c) for name, c in containers.items()}
    assert namespaces == {"idle": "", "net3": "own", "own3": "host", "side3": "net3", "site": "own"}
    assert namespace_owner(host, containers["side3"]) == containers["net3"]
    assert containers["own3"].net == host.root.inode
    assert [link.name for link in captured("modes-trixie").namespaces[
        captured("modes-trixie").containers["bare1"].net].links] == ["lo"]  # fmt: skip


def test_published_ports_have_counters() -> None:
    """The rules of Docker 28 counted the connections before the capture."""
    host = captured("modes-sid")
    http = next(rule for rule in host.dnat_rules if rule.port == 8080)
    assert (http.protocol, http.to, http.target) == ("tcp", IPv4Address("172.17.0.2"), 80)
    assert http.packets > 0 and http.bytes > 0
    assert captured("modes-bookworm").dnat_rules[-1].ip == IPv4Address("127.0.0.1")


def test_a_host_with_docker_stopped_has_links() -> None:
    """The topology has the reason, no containers, and all links."""
    host = captured("stopped-sid")
    assert host.docker_error == "Docker's daemon does not answer"
    bridge = host.root.link("docker0")
    assert bridge is not None and bridge.addresses == (IPv4Interface("172.17.0.1/16"),)
    assert not host.containers


@pytest.mark.parametrize("prefix", ["wired", "links", "networks", "spaces host"])
def test_a_missing_part_is_an_error(prefix: str) -> None:
    """The parser never returns an empty state instead."""
    capture = (FOLDER / "modes-sid.out").read_text()
    lines = [line for line in capture.splitlines() if not line.startswith(prefix)]
    with pytest.raises(FactsError):
        parse("h3", "\n".join(lines))


def test_a_container_that_ended_during_the_probe_has_no_namespace() -> None:
    """Docker still described the container when its namespace was gone."""
    capture = (FOLDER / "modes-trixie.out").read_text()
    net = captured("modes-trixie").containers["bare1"].net
    lines = [line for line in capture.splitlines() if not line.startswith(f"links {net} ")]
    container = parse("h1", "\n".join(lines)).containers["bare1"]
    assert (container.net, container.pid) == (0, 0)
