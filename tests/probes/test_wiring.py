"""What booted hosts printed when asked how they are wired, and what it is read as.

`wiring/modes-<suite>.out` was captured with containers of every mode, one that never started, and
a VXLAN device as a port of a bridge; `stopped-sid.out` with Docker stopped. `.expected` beside
it holds what `provision show` says of it.
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
    """One capture, read."""
    return parse(HOSTS[name.split("-")[1]], (FOLDER / f"{name}.out").read_text())


def view(*names: str) -> View:
    """Captures as one look at hosts."""
    found = {one.host: one for one in map(captured, names)}
    return View(load(FOLDER / "inventory.yml"), tuple(found), found, ())


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_captured_wiring_is_read_as_expected(path: Path, request: pytest.FixtureRequest) -> None:
    """The same words of iproute2, iptables and Docker mean the same wiring."""
    seen = view(path.stem)
    said = [*warnings(seen), plain(tables(seen)), text(drawing(seen))]
    expected = path.with_suffix(".expected")
    if request.config.getoption("update_goldens"):
        expected.write_text("\n".join(said))
    assert "\n".join(said) == expected.read_text()


def test_all_three_suites_were_captured() -> None:
    """Each has another iproute2, iptables and Docker."""
    assert {path.stem for path in CAPTURES} >= {f"modes-{suite}" for suite in HOSTS}


@pytest.mark.parametrize("suite", HOSTS)
def test_ends_of_pairs_find_each_other(suite: str) -> None:
    """From a bridge's port to the container's interface, and back."""
    found = captured(f"modes-{suite}")
    inners = [
        (port, found.container_end(port)) for b in found.bridges.values() for port in found.ports(b)
    ]
    assert sorted(port.name for port, inner in inners if inner is None) == ["vxlan9"]
    ends = {port.name: inner for port, inner in inners if inner}
    assert len(ends) == 2
    for port, (lodger, link) in ends.items():
        outer = found.host_end(link)
        assert outer is not None and outer.name == port
        assert outer.master == found.bridges[lodger.mode]


def test_a_mode_is_told_by_inodes() -> None:
    """Host, own and another's namespace; one that never ran has none."""
    found = captured("modes-sid")
    lodgers = found.containers
    words = {name: namespace_name(found, one) for name, one in lodgers.items()}
    assert words == {"idle": "", "net3": "own", "own3": "host", "side3": "net3", "site": "own"}
    assert namespace_owner(found, lodgers["side3"]) == lodgers["net3"]
    assert lodgers["own3"].net == found.root.inode
    assert [link.name for link in captured("modes-trixie").namespaces[
        captured("modes-trixie").containers["bare1"].net].links] == ["lo"]  # fmt: skip


def test_published_ports_and_their_counters() -> None:
    """Docker 28's rules; the connections that were made before the capture are counted."""
    found = captured("modes-sid")
    http = next(one for one in found.dnat_rules if one.port == 8080)
    assert (http.protocol, http.to, http.target) == ("tcp", IPv4Address("172.17.0.2"), 80)
    assert http.packets > 0 and http.bytes > 0
    assert captured("modes-bookworm").dnat_rules[-1].ip == IPv4Address("127.0.0.1")


def test_a_host_without_docker_shows_its_links() -> None:
    """They are there all the same, and the reason is told."""
    found = captured("stopped-sid")
    assert found.docker_error == "Docker's daemon does not answer"
    bridge = found.root.link("docker0")
    assert bridge is not None and bridge.addresses == (IPv4Interface("172.17.0.1/16"),)
    assert not found.containers


@pytest.mark.parametrize("word", ["wired", "links", "networks", "spaces host"])
def test_a_missing_part_is_an_error(word: str) -> None:
    """Never an empty state."""
    whole = (FOLDER / "modes-sid.out").read_text()
    lines = [line for line in whole.splitlines() if not line.startswith(word)]
    with pytest.raises(FactsError):
        parse("h3", "\n".join(lines))


def test_a_container_that_ended_during_the_look_has_no_namespace() -> None:
    """Its inspection was answered, its namespace was gone."""
    whole = (FOLDER / "modes-trixie.out").read_text()
    net = captured("modes-trixie").containers["bare1"].net
    lines = [line for line in whole.splitlines() if not line.startswith(f"links {net} ")]
    found = parse("h1", "\n".join(lines))
    assert (found.containers["bare1"].net, found.containers["bare1"].pid) == (0, 0)
