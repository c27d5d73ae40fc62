"""The subnets that hosts keep when others leave, join or change their place in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provision.engine import desired, host_subnets, preflight
from provision.engine.host_subnets import settled_inventory
from provision.engine.kept_subnets import explicit_lines
from provision.inventory.load import load
from provision.methods.wireguard.facts import WireguardFacts
from provision.model.errors import InventoryError
from provision.model.inventory import Inventory
from provision.resources.base import State
from tests.unit.test_departures import applied, facts, inventory

METHODS = [
    "method: routes",
    "method: routes, bridge: docker0",
    "method: vxlan",
    "method: vxlan, mode: routed",
    "method: ovs-gre",
    "method: ovs-vxlan",
    "method: wireguard",
    "method: flannel, etcd: {members: [h1]}",
]


def subnets(inventory: Inventory) -> dict[str, str]:
    """The third byte of the subnet of each host, all of which are a /24 of one /16."""
    return {
        host: str(subnet).split(".")[2]
        for host, subnet in inventory.networks["blue"].subnets.items()
    }


def of_hosts(current: State, hosts: str) -> State:
    """The resources on some hosts."""
    return {ref: value for ref, value in current.items() if ref.host in hosts.split()}


@pytest.mark.parametrize("keys", METHODS)
@pytest.mark.parametrize(
    "hosts, expected",
    [
        ("h1 h3", {"h1": "0", "h3": "2"}),
        ("h3 h2 h1", {"h3": "2", "h2": "1", "h1": "0"}),
        ("h4 h1 h2 h3", {"h4": "3", "h1": "0", "h2": "1", "h3": "2"}),
        ("h1 h4 h3", {"h1": "0", "h4": "1", "h3": "2"}),
        ("h1 h2 h3 h4", {"h1": "0", "h2": "1", "h3": "2", "h4": "3"}),
    ],
)
def test_no_host_moves(tmp_path: Path, keys: str, hosts: str, expected: dict[str, str]) -> None:
    """One that leaves, is inserted, takes another's place or only changes its own."""
    current = applied(inventory(tmp_path, keys))
    changed = inventory(tmp_path, keys, hosts=hosts)
    settled = settled_inventory(changed, of_hosts(current, hosts))
    assert subnets(settled.inventory) == expected
    assert not settled.problems


@pytest.mark.parametrize("keys", METHODS)
def test_what_remains_is_not_touched(tmp_path: Path, keys: str) -> None:
    """The wanted state of the other hosts has the Docker networks that they have."""
    current = applied(inventory(tmp_path, keys))
    remaining = settled_inventory(inventory(tmp_path, keys, hosts="h1 h3"), current).inventory
    wanted = desired.wanted(remaining, {host: facts(remaining, host) for host in ("h1", "h3")})
    bridges = [ref for ref in wanted if ref.kind in ("docker_network", "docker0")]
    assert [ref.host for ref in bridges] == ["h1", "h3"]
    assert all(wanted[ref] == current[ref] for ref in bridges)
    again = settled_inventory(inventory(tmp_path, keys, hosts="h1 h3"), wanted).inventory
    assert again == remaining


def test_the_lines_to_write_give_the_same(tmp_path: Path) -> None:
    """With them the file alone says what the hosts have, and nothing is to be written any more."""
    keys = "method: routes"
    current = of_hosts(applied(inventory(tmp_path, keys, hosts="h1 h2 h3 h4")), "h1 h3 h4")
    settled = settled_inventory(inventory(tmp_path, keys, hosts="h1 h3 h4"), current).inventory
    pins = "subnets: {h3: 172.20.2.0/24, h4: 172.20.3.0/24}"
    assert list(explicit_lines(settled)) == [
        "network 'blue': by their place in the file, hosts would get other subnets than "
        f"h3 172.20.2.0/24, h4 172.20.3.0/24, and they keep these. To make that explicit, "
        f"write: networks.blue.{pins}"
    ]
    written = inventory(tmp_path, f"{keys}, {pins}", hosts="h1 h3 h4")
    assert settled_inventory(written, current).inventory is written
    assert written.networks["blue"].subnets == settled.networks["blue"].subnets
    grown = inventory(tmp_path, f"{keys}, {pins}", hosts="h1 h3 h4 h5")
    assert subnets(grown) == {"h1": "0", "h3": "2", "h4": "3", "h5": "1"}


def test_lines_have_what_is_written_already(tmp_path: Path) -> None:
    """So that they can replace it."""
    keys = "method: routes, subnets: {h1: 172.20.9.0/24}"
    current = applied(inventory(tmp_path, keys))
    settled = settled_inventory(inventory(tmp_path, keys, hosts="h1 h3"), current).inventory
    (line,) = explicit_lines(settled)
    assert line.endswith("networks.blue.subnets: {h1: 172.20.9.0/24, h3: 172.20.2.0/24}")


def test_lines_hold_hosts_that_are_not_at_their_place(tmp_path: Path) -> None:
    """h4 has the second free block, which would be the first one once h3 has another."""
    fixed = "h1: 172.20.2.0/24, h2: 172.20.3.0/24"
    before = inventory(
        tmp_path, f"method: routes, subnets: {{{fixed}, h3: 172.20.5.0/24}}", hosts="h1 h2 h3"
    )
    keys = f"method: routes, subnets: {{{fixed}}}"
    loaded = inventory(tmp_path, keys, hosts="h1 h2 h3 h4")
    assert subnets(loaded) == {"h1": "2", "h2": "3", "h3": "0", "h4": "1"}
    settled = settled_inventory(loaded, applied(before)).inventory
    assert subnets(settled) == {"h1": "2", "h2": "3", "h3": "5", "h4": "1"}
    (line,) = explicit_lines(settled)
    pins = line.rpartition("networks.blue.")[2]
    assert pins == f"subnets: {{{fixed}, h3: 172.20.5.0/24, h4: 172.20.1.0/24}}"
    written = inventory(tmp_path, f"method: routes, {pins}", hosts="h1 h2 h3 h4")
    assert subnets(written) == subnets(settled)


def test_the_subnet_of_a_host_that_left_is_given_away_last(tmp_path: Path) -> None:
    """h2 may still use it; once no peer knows of it, it is free."""
    current = of_hosts(applied(inventory(tmp_path, "method: routes")), "h1 h3")
    changed = inventory(tmp_path, "method: routes", hosts="h1 h3 h4")
    settled = settled_inventory(changed, current).inventory
    assert subnets(settled) == {"h1": "0", "h3": "2", "h4": "3"}
    small = "method: routes, subnet_size: 18"
    current = of_hosts(applied(inventory(tmp_path, small, hosts="h1 h2 h3 h4")), "h1 h3 h4")
    full = settled_inventory(inventory(tmp_path, small, hosts="h1 h3 h4 h5"), current).inventory
    assert subnets(full) == {"h1": "0", "h3": "128", "h4": "192", "h5": "64"}


@pytest.mark.parametrize(
    "keys", ["method: routes", "method: wireguard", "method: vxlan, mode: routed"]
)
def test_peers_tell_the_subnet_of_a_host_that_does_not_answer(tmp_path: Path, keys: str) -> None:
    """The same holds for one that was installed anew."""
    before = inventory(tmp_path, keys)
    known = WireguardFacts(kernel=True, keys={"blue": "key="})
    of_before = {
        host: replace(facts(before, host), of_methods={WireguardFacts: known})
        for host in before.hosts
    }
    current = of_hosts(desired.wanted(before, of_before), "h2")
    changed = inventory(tmp_path, keys, hosts="h2 h4 h3")
    settled = settled_inventory(changed, current, silent=("h3",))
    assert subnets(settled.inventory) == {"h2": "1", "h4": "3", "h3": "2"}
    assert not settled.problems


def test_a_subnet_that_nobody_tells_is_a_problem_of_new_hosts(tmp_path: Path) -> None:
    """On one layer 2, peers do not have each other's subnets."""
    keys = "method: vxlan"
    current = of_hosts(applied(inventory(tmp_path, keys)), "h2")
    changed = inventory(tmp_path, keys, hosts="h2 h3 h4")
    (problem,) = settled_inventory(changed, current, silent=("h3",)).problems
    assert problem.host == "h4"
    assert problem.message == (
        "it has no subnet of network 'blue' yet, and might get that of h3, which cannot be asked"
    )
    assert not settled_inventory(changed, current, silent=("h3", "h4")).problems


def test_a_new_host_before_a_silent_one_waits_for_it(tmp_path: Path) -> None:
    """It would get the subnet of the silent host, which peers know; one at the end does not."""
    current = of_hosts(applied(inventory(tmp_path, "method: vxlan")), "h1 h2")
    inserted = inventory(tmp_path, "method: vxlan", hosts="h1 h2 h4 h3")
    (problem,) = settled_inventory(inserted, current, silent=("h3",)).problems
    assert problem.host == "h4" and "might get that of h3" in problem.message
    at_end = inventory(tmp_path, "method: vxlan", hosts="h1 h2 h3 h4")
    assert not settled_inventory(at_end, current, silent=("h3",)).problems
    # Nobody knows h5, which is new as well, and down: h4 need not wait for it.
    unknown = inventory(tmp_path, "method: vxlan", hosts="h1 h2 h3 h4 h5")
    known = of_hosts(applied(inventory(tmp_path, "method: vxlan")), "h1 h2 h3")
    assert not settled_inventory(unknown, known, silent=("h5",)).problems


@pytest.mark.parametrize(
    "keys",
    [
        "method: routes, subnet_size: 25",
        "method: flannel, etcd: {members: [h1]}, subnet_min: 172.20.8.0",
    ],
)
def test_a_size_or_a_bound_that_was_changed_moves_hosts(tmp_path: Path, keys: str) -> None:
    """They were written on purpose."""
    before = "method: flannel, etcd: {members: [h1]}" if "flannel" in keys else "method: routes"
    current = applied(inventory(tmp_path, before))
    changed = inventory(tmp_path, keys, hosts="h3 h2 h1")
    assert settled_inventory(changed, current).inventory is changed


def test_another_range_counts_from_the_file(tmp_path: Path) -> None:
    """No subnet of the former range is in it."""
    current = applied(inventory(tmp_path, "method: routes"))
    inventory(tmp_path, "method: routes", hosts="h3 h2 h1")
    path = tmp_path / "inventory.yml"
    path.write_text(path.read_text().replace("172.20.0.0", "172.21.0.0"))
    changed = host_subnets.settled_inventory(load(path), current).inventory
    assert str(changed.networks["blue"].subnets["h3"]) == "172.21.0.0/24"


def test_a_subnet_that_two_hosts_have_stays_with_the_one_that_peers_know(tmp_path: Path) -> None:
    """h2 was away while h4 got its subnet."""
    before = inventory(tmp_path, "method: routes")
    h2 = of_hosts(applied(before), "h2")
    others = inventory(
        tmp_path,
        "method: routes, subnets: {h4: 172.20.1.0/24, h3: 172.20.2.0/24}",
        hosts="h1 h4 h3",
    )
    current = {**applied(others), **h2}
    back = inventory(tmp_path, "method: routes", hosts="h1 h2 h3 h4")
    settled = settled_inventory(back, current).inventory
    assert subnets(settled) == {"h1": "0", "h2": "3", "h3": "2", "h4": "1"}


def test_an_edited_docker_network_is_drift(tmp_path: Path) -> None:
    """The iptables chain says what was applied, as long as it exists."""
    current = applied(inventory(tmp_path, "method: routes"))
    swapped = {
        ref: applied(inventory(tmp_path, "method: routes, subnets: {h2: 172.20.9.0/24}"))[ref]
        if ref.kind == "docker_network"
        else value
        for ref, value in current.items()
    }
    unchanged = inventory(tmp_path, "method: routes")
    assert settled_inventory(unchanged, swapped).inventory is unchanged


def test_an_address_outside_of_the_kept_subnet_is_a_problem(tmp_path: Path) -> None:
    """The file takes it for one of the host's subnet, so that only the hosts tell."""
    current = applied(inventory(tmp_path, "method: routes"))
    inventory(tmp_path, "method: routes", hosts="h1 h3")
    path = tmp_path / "inventory.yml"
    path.write_text(
        f"{path.read_text()}containers:\n  c3: {{host: h3, network: blue, address: 172.20.1.9}}\n"
    )
    settled = settled_inventory(load(path), current).inventory
    of_hosts = {host: facts(settled, host) for host in settled.hosts}
    problem = next(p for p in preflight.problems(settled, of_hosts) if "172.20.1.9" in p.message)
    assert problem.host == "h3"
    assert problem.message == (
        "c3 has address 172.20.1.9, but h3 has 172.20.2.0/24 of network 'blue'"
    )
    assert "write networks.blue.subnets: {h3: 172.20.1.0/24}" in problem.hint


def test_an_address_of_a_free_part_has_the_line_that_keeps_it(tmp_path: Path) -> None:
    """Without h2 the file gives h3 another part, and cannot know what the hosts have."""
    inventory(tmp_path, "method: routes", hosts="h1 h3")
    path = tmp_path / "inventory.yml"
    path.write_text(
        f"{path.read_text()}containers:\n  c3: {{host: h3, network: blue, address: 172.20.2.9}}\n"
    )
    with pytest.raises(InventoryError) as error:
        load(path)
    (finding,) = error.value.findings
    assert finding.hint.endswith(
        "; or, if h3 has that part, write subnets: {h3: 172.20.2.0/24} in the network"
    )


def test_the_work_grows_with_the_hosts(tmp_path: Path) -> None:
    """500 hosts of which the second left."""
    hosts = [f"h{k}" for k in range(500)]
    members = "".join(
        f"  {host}: {{address: 10.78.{k >> 8}.{k & 255}}}\n" for k, host in enumerate(hosts)
    )
    path = tmp_path / "inventory.yml"
    path.write_text(
        f"name: demo\nhosts:\n{members}networks:\n  blue: {{method: vxlan, cidr: 172.16.0.0/12}}\n"
    )
    current = applied(load(path))
    path.write_text(path.read_text().replace("  h1: {address: 10.78.0.1}\n", ""))
    settled = settled_inventory(load(path), current).inventory
    assert len(settled.networks["blue"].kept) == 498
