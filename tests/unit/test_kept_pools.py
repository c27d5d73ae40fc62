"""The parts of a pool that hosts keep when others leave or join: methods on the hosts' LAN."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from provision.engine import host_subnets
from provision.engine.host_subnets import settled_inventory
from provision.engine.kept_subnets import explicit_lines, problems
from provision.inventory.load import load
from provision.methods._shared import lan_pool
from provision.model.errors import InventoryError
from provision.model.inventory import Inventory
from provision.model.ranges import free_blocks
from provision.resources.base import State
from tests.unit.test_departures import applied

METHODS = ["macvlan", "pipework", "pipework, docker0: replace"]


def inventory(tmp_path: Path, hosts: str, keys: str = "macvlan", containers: str = "") -> Inventory:
    """Hosts on a LAN with a pool of 16 addresses."""
    members = "".join(
        f"  {host}: {{address: 10.78.0.1{host.removeprefix('h')}}}\n" for host in hosts.split()
    )
    path = tmp_path / "inventory.yml"
    path.write_text(
        f"name: demo\nhosts:\n{members}networks:\n  lan: {{method: {keys}, "
        f"cidr: 10.78.0.0/24, pool: 10.78.0.208/28}}\n{containers}"
    )
    return load(path)


def parts(inventory: Inventory) -> dict[str, str]:
    """The last byte and the size of the part of each host."""
    subnets = inventory.networks["lan"].subnets.items()
    return {host: str(subnet).removeprefix("10.78.0.") for host, subnet in subnets}


def of_hosts(current: State, hosts: str) -> State:
    """The resources on some hosts."""
    return {ref: value for ref, value in current.items() if ref.host in hosts.split()}


@pytest.mark.parametrize("keys", METHODS)
@pytest.mark.parametrize(
    "hosts, expected",
    [
        ("h1 h3", {"h1": "208/30", "h3": "216/30"}),  # the file alone gives two hosts a /29 each
        ("h3 h2 h1", {"h3": "216/30", "h2": "212/30", "h1": "208/30"}),
        ("h1 h3 h4", {"h1": "208/30", "h3": "216/30", "h4": "212/30"}),
        ("h4 h1 h2 h3", {"h4": "220/30", "h1": "208/30", "h2": "212/30", "h3": "216/30"}),
        # For five hosts the file alone gives parts of two addresses.
        (
            "h1 h2 h3 h4 h5",
            {"h1": "208/30", "h2": "212/30", "h3": "216/30", "h4": "220/31", "h5": "222/31"},
        ),
    ],
)
def test_no_host_moves(tmp_path: Path, keys: str, hosts: str, expected: dict[str, str]) -> None:
    """The size of a part follows from the number of hosts, but not that of a part in use."""
    current = applied(inventory(tmp_path, "h1 h2 h3", keys))
    settled = settled_inventory(inventory(tmp_path, hosts, keys), of_hosts(current, hosts))
    assert parts(settled.inventory) == expected
    assert not settled.problems


@pytest.mark.parametrize("keys", METHODS)
@pytest.mark.parametrize(
    "hosts, refused",
    [("h4 h1 h3", "h4"), ("h1 h4 h3", ""), ("h3 h4 h1", "h4"), ("h1 h3", ""), ("h1 h3 h4", "h4")],
)
def test_a_new_host_does_not_get_the_part_of_a_silent_one(
    tmp_path: Path, keys: str, hosts: str, refused: str
) -> None:
    """No host on the LAN knows the part of another one, so that of h1 is not known."""
    current = of_hosts(applied(inventory(tmp_path, "h1 h2 h3", keys)), "h3")
    settled = settled_inventory(inventory(tmp_path, hosts, keys), current, silent=("h1",))
    assert [problem.host for problem in settled.problems] == ([refused] if refused else [])
    for problem in settled.problems:
        assert "might get that of h1, which cannot be asked" in problem.message


def test_the_lines_to_write_give_the_same(tmp_path: Path) -> None:
    """With them the file alone says what the hosts have; parts may be smaller than a /29."""
    current = applied(inventory(tmp_path, "h1 h2 h3"))
    settled = settled_inventory(inventory(tmp_path, "h1 h3"), current).inventory
    (line,) = explicit_lines(settled)
    pins = line.rpartition("networks.lan.")[2]
    assert pins == "subnets: {h1: 10.78.0.208/30, h3: 10.78.0.216/30}"
    written = inventory(tmp_path, "h1 h3", f"macvlan, {pins}")
    assert parts(written) == parts(settled)
    assert settled_inventory(written, current).inventory is written


def test_full_pool_narrows_parts_where_they_begin(tmp_path: Path) -> None:
    """Two hosts have all of it, each a half; a third one gets the end of the first half."""
    current = applied(inventory(tmp_path, "h1 h2"))
    settled = settled_inventory(inventory(tmp_path, "h1 h2 h3"), current).inventory
    assert parts(settled) == {"h1": "208/30", "h2": "216/30", "h3": "212/30"}


def test_free_parts_are_looked_for_in_the_pool_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of a large LAN has more blocks than anybody can wait for."""
    drawn: list[IPv4Network] = []

    def counted(*arguments: Any) -> Iterator[IPv4Network]:
        for block in free_blocks(*arguments):
            drawn.append(block)
            assert len(drawn) < 100
            yield block

    def on_a_large_lan(hosts: str) -> Inventory:
        inventory(tmp_path, hosts)
        path = tmp_path / "inventory.yml"
        path.write_text(path.read_text().replace("10.78.0.0/24", "10.64.0.0/12"))
        return load(path)

    current = applied(on_a_large_lan("h1 h2"))
    monkeypatch.setattr(host_subnets, "free_blocks", counted)
    settled = settled_inventory(on_a_large_lan("h1 h2 h3"), current).inventory
    assert parts(settled) == {"h1": "208/30", "h2": "216/30", "h3": "212/30"}
    assert drawn


def test_a_size_that_is_written_counts(tmp_path: Path) -> None:
    """It was written on purpose."""
    current = applied(inventory(tmp_path, "h1 h2 h3"))
    changed = inventory(tmp_path, "h1 h3", "macvlan, subnet_size: 29")
    assert settled_inventory(changed, current).inventory is changed


def test_of_two_parts_that_cover_each_other_one_is_kept(tmp_path: Path) -> None:
    """An apply that was cut off may leave a host with a part of the former size."""
    wide = of_hosts(applied(inventory(tmp_path, "h1 h2")), "h1")
    narrow = of_hosts(applied(inventory(tmp_path, "h1 h2 h3")), "h2 h3")
    settled = settled_inventory(inventory(tmp_path, "h1 h2 h3"), {**wide, **narrow}).inventory
    subnets = [*settled.networks["lan"].subnets.values()]
    assert not any(a.overlaps(b) for a in subnets for b in subnets if a is not b)
    assert parts(settled)["h3"] == "216/30"


def test_a_part_without_room_is_a_problem(tmp_path: Path) -> None:
    """The file gives the host eight addresses, and it keeps four."""
    current = applied(inventory(tmp_path, "h1 h2 h3"))
    five = "".join(f"  c{k}: {{host: h1, network: lan}}\n" for k in range(5))
    changed = inventory(tmp_path, "h1 h3", containers=f"containers:\n{five}")
    settled = settled_inventory(changed, current).inventory
    (problem,) = problems(settled, settled.hosts)
    assert problem.message == (
        "it has 10.78.0.208/30 of network 'lan', which has no room for 5 containers"
    )
    assert not [*problems(settled, ())]


def test_a_kept_part_has_no_room_for_addresses_that_docker_keeps(tmp_path: Path) -> None:
    """Docker needs the first one of a macvlan without a router, and pipework all four."""
    four = "containers:\n" + "".join(f"  c{k}: {{host: h1, network: lan}}\n" for k in range(4))
    fixed = "containers: {web: {host: h2, network: lan, address: 10.78.0.212}}\n"
    for keys, full, taken in (
        (
            "macvlan",
            "it has 10.78.0.208/30 of network 'lan', which has no room for 4 containers",
            "web has address 10.78.0.212, which is kept for Docker, which needs a gateway",
        ),
        ("macvlan, gateway: 10.78.0.1", "", ""),
        ("pipework", "", ""),
    ):
        current = applied(inventory(tmp_path, "h1 h2 h3", keys))
        for hosts, containers, expected in (("h1 h3", four, full), ("h2 h1", fixed, taken)):
            changed = inventory(tmp_path, hosts, keys, containers)
            settled = settled_inventory(changed, of_hosts(current, hosts)).inventory
            messages = [each.message for each in problems(settled, settled.hosts)]
            assert messages == ([expected] if expected else [])


def test_a_small_subnet_is_for_the_lan_only(tmp_path: Path) -> None:
    """Elsewhere a gateway and a broadcast address take most of it."""
    assert parts(inventory(tmp_path, "h1 h2", "macvlan, subnets: {h1: 10.78.0.208/30}"))
    path = tmp_path / "inventory.yml"
    text = path.read_text().replace("macvlan", "routes").replace("10.78.0.", "172.20.0.")
    path.write_text(text.replace(", pool: 172.20.0.208/28", ""))
    with pytest.raises(InventoryError) as error:
        load(path)
    assert "too small" in str(error.value)


def test_a_new_host_asks_for_the_whole_pool(tmp_path: Path) -> None:
    """The others keep their parts, so that it may get another one than that of the file."""
    loaded = inventory(tmp_path, "h1 h3 h4")
    networks = tuple(loaded.networks.values())
    probes = [*lan_pool.arp_probes(loaded, networks, "h4")]
    assert probes[:4] == [f"10.78.0.{last}" for last in range(216, 220)]
    assert set(probes) == {str(address) for address in IPv4Network("10.78.0.208/28")}
    pinned = inventory(tmp_path, "h1 h3 h4", "macvlan, subnets: {h4: 10.78.0.220/30}")
    probes = [*lan_pool.arp_probes(pinned, tuple(pinned.networks.values()), "h4")]
    assert probes == [f"10.78.0.{last}" for last in range(220, 224)]


def test_a_pipework_network_without_a_pool_has_no_parts(tmp_path: Path) -> None:
    """Docker puts no container there."""
    loaded = inventory(tmp_path, "h1 h3", "pipework")
    path = tmp_path / "inventory.yml"
    path.write_text(path.read_text().replace(", pool: 10.78.0.208/28", ""))
    loaded = load(path)
    assert host_subnets.settled_inventory(loaded, applied(loaded)).inventory is loaded
