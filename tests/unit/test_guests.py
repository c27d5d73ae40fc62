"""Guests: the container that each is, its connection, its mistakes, and undeclared members."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.engine import guests
from provision.engine.fleet import Fleet
from provision.engine.plan import plan
from provision.engine.strangers import NetworkMember, NetworkMembers, with_strangers
from provision.facts import docker_entry
from provision.facts.docker_entry import DockerEntry
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts
from provision.inventory.load import load
from provision.model.inventory import Guest, Inventory
from provision.resources.base import Origin, Ref, state
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.guest import GuestConnection
from provision.resources.on_hosts import UNMARKED, Mark
from provision.resources.render import program_text
from provision.resources.steps import Put
from tests.cases.test_cases import facts as case_facts

FILE = """
name: demo
hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}
networks:
  blue: {method: routes, cidr: 172.20.0.0/16}
  wide: {method: vxlan, cidr: 172.21.0.0/16}
guests:
  db: {host: h1, label: com.docker.compose.service=db, network: blue, address: 172.20.0.200}
  app: {host: h1, container: app, network: wide, absent: wait}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    """Two guests, on a routed network and on one of a single layer 2."""
    path = tmp_path / "net.yml"
    path.write_text(FILE)
    return load(path)


def entry(name: str, *, running: bool = True, mode: str = "own", **labels: str) -> DockerEntry:
    """A container of others."""
    return DockerEntry(name, UNMARKED, running, mode, {}, {}, labels)


def on_h1(inventory: Inventory, *entries: DockerEntry) -> dict[str, HostFacts]:
    """The facts of both hosts, with these containers on h1."""
    facts = case_facts(inventory, {"docker": dict.fromkeys(inventory.hosts, "26.1.5")})
    return {**facts, "h1": replace(facts["h1"], docker_containers=entries)}


LABEL = Guest("db", "h1", "blue", "label", "tier=db")


def test_a_single_container_that_runs_is_the_guest() -> None:
    """Compose makes the new container before it removes the old one, which is stopped."""
    old, new = entry("old", running=False, tier="db"), entry("new", tier="db")
    assert docker_entry.single(LABEL, (old, new)) == new
    assert docker_entry.single(LABEL, (old,)) == old
    assert docker_entry.single(LABEL, (new, entry("two", tier="db"))) is None
    one_off = entry("run", tier="db", **{"com.docker.compose.oneoff": "True"})
    assert docker_entry.single(LABEL, (new, one_off)) == new


def test_a_range_on_the_link_needs_no_route(inventory: Inventory) -> None:
    """Routed networks have one subnet for each host, a layer 2 has the whole range everywhere."""
    facts = on_h1(inventory)
    network = DockerNetwork(
        "h1", "wide", IPv4Network("172.21.0.0/16"), None, (), Mark("demo", "wide")
    )
    connections = {c.guest: c for c in guests.connections(inventory, facts, state([network]))}
    assert connections["db"].peers == IPv4Network("172.20.0.0/16")
    assert connections["app"].peers is None


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((), "guest db: h1 has no container with the label com.docker.compose.service=db"),
        ((entry("a"), entry("b")), "matches 2 on h1: a, b"),
        ((entry("a", mode="host"),), "container a has the network mode host"),
        ((entry("a", mode="container:c"),), "container a has the network mode container"),
        ((replace(entry("a"), mark=Mark("two", "red")),), "container a belongs to inventory two"),
        ((replace(entry("a"), mark=Mark("demo", "red")),), "container a belongs to this inventory"),
        (
            (replace(entry("a"), fixed={"blue": None}, addresses={"blue": None}),),
            "others have connected a to blue with an address that Docker chose, not 172.20.0.200",
        ),
    ],
)
def test_a_mistake_has_its_line(
    inventory: Inventory, entries: tuple[DockerEntry, ...], message: str
) -> None:
    """Some mistakes are known only when the host has been asked, before anything is changed."""
    service = {"com.docker.compose.service": "db"}
    labelled = tuple(replace(each, labels=service) for each in entries)
    (problem,) = guests.problems(inventory, on_h1(inventory, *labelled))
    assert str(problem).startswith("h1: net.yml:8:3: guest db: ")
    assert message in str(problem)
    assert problem.hint


def test_an_absent_guest_that_was_connected_is_a_warning(inventory: Inventory) -> None:
    """So `docker compose down` does not keep the other hosts from being changed."""
    facts = on_h1(inventory)
    facts["h1"] = replace(facts["h1"], guests=frozenset({"db"}))
    assert not list(guests.problems(inventory, facts))
    assert len(list(guests.warnings(inventory, facts))) == 2


def test_a_connection_that_is_as_wanted_is_no_change() -> None:
    """The container's id, process and address are not compared."""
    wanted = GuestConnection("h1", "db", "blue", "label a=b c", None, None, "demo")
    (made,) = GuestConnection.parse(
        "claim db blue label - - a=b c\nstate db 0123 77 172.20.0.3 -", Origin("h1", "demo")
    )
    assert made.ours
    assert not plan(state([made.resource]), state([wanted])).changes
    assert wanted.requires()[0] == Ref("h1", "docker_network", "blue")


@given(
    st.sampled_from(("container app", "label a=b c", "label a=", "label a=  = ")),
    st.none() | st.ip_addresses(v=4),
    st.none() | st.integers(0, 32).map(lambda length: IPv4Network((0, length))),
)
def test_a_claim_is_read_as_it_was_written(
    found_by: str, address: IPv4Address | None, peers: IPv4Network | None
) -> None:
    """Otherwise the second apply would not be empty."""
    wanted = GuestConnection("h1", "db", "blue", found_by, address, peers, "demo")
    (claim,) = (step for step in wanted.create() if isinstance(step, Put))
    (made,) = GuestConnection.parse(f"claim db {claim.text[:-1]}", Origin("h1", "demo"))
    assert made.resource == wanted


def test_undeclared_members_are_guests_of_the_evidence(inventory: Inventory) -> None:
    """Those that are declared, ours, or on another network of Docker are not."""
    facts = on_h1(inventory, entry("app"))
    address = IPv4Address("172.20.0.9")
    members = (
        NetworkMember("wide", "app", 1, address, UNMARKED),
        NetworkMember("blue", "app", 1, address, UNMARKED),
        NetworkMember("blue", "h2", 2, address, Mark("two", "red")),
        NetworkMember("blue", "mine", 3, address, Mark("demo", "blue")),
        NetworkMember("own", "elsewhere", 4, address, UNMARKED),
    )
    found = replace(facts["h1"], of_methods={NetworkMembers: NetworkMembers(members)})
    fleet = Fleet({"h1": HostSnapshot(found, {}, {})})
    extended = with_strangers(inventory, fleet)
    assert {n: g.network for n, g in extended.guests.items() if not g.declared} == {
        "app@h1": "blue",
        "h2@h1": "blue",
    }
    # They are checked, never connected.
    assert {c.guest for c in guests.connections(extended, facts, {})} == {"db", "app"}


CONNECTION = GuestConnection(
    "h1", "db", "blue", "container db", None, None, "demo",
    proposed=IPv4Address("172.20.0.200"), dns_names=("db.blue", "db"),
)  # fmt: skip


def test_names_are_read_as_they_are_written() -> None:
    """The second line of the claim has the proposed address and the names."""
    (claim,) = (step for step in CONNECTION.create() if isinstance(step, Put))
    first, second = claim.text.splitlines()
    assert second == "names 172.20.0.200 db.blue db"
    lines = f"claim db {first}\nnames db {second.removeprefix('names ')}\n"
    (entry,) = GuestConnection.parse(lines, Origin("h1", "demo"))
    assert entry.resource == CONNECTION


def test_a_guest_without_a_fixed_address_keeps_its_connection() -> None:
    """Also one that had a fixed address, or no names, before."""
    for before in (
        replace(CONNECTION, address=IPv4Address("172.20.0.9"), proposed=None, dns_names=()),
        replace(CONNECTION, proposed=IPv4Address("172.20.0.201")),
    ):
        assert before.delete()[0] not in CONNECTION.update(before)
        assert CONNECTION.disruption(before, recreated=False) is None
    elsewhere = replace(CONNECTION, network="red")
    assert elsewhere.delete()[0] in CONNECTION.update(elsewhere)


def test_the_file_of_a_name_goes_with_it() -> None:
    """When the network has no names any more, or the guest leaves it."""
    live = "/etc/provision/demo/names/blue.live/db"
    nameless = replace(CONNECTION, proposed=None, dns_names=())
    for steps in (nameless.update(CONNECTION), CONNECTION.delete()):
        assert f"'--', '{live}'" in str(steps)
    assert live not in str(nameless.create())
    assert "'rm'" not in str(CONNECTION.update(replace(CONNECTION, lacks="connection")))


DOCKER = """#!/bin/sh
case $6 in 0a1b) echo /shop-web-1 ;; *) exit 1 ;; esac
"""


def test_a_guest_without_its_claim_is_known_by_its_record(tmp_path: Path) -> None:
    """`rm -rf /etc/provision` leaves the connection, and so Docker does not remove the network."""
    records = tmp_path / "var/lib/provision/guests/demo"
    records.mkdir(parents=True)
    (records / "shop").write_text("0a1b blue\n")
    (records / "gone").write_text("0c2d blue\n")
    (records / "half").write_text("0a1b\n")
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    program = program_text("host/docker_id.sh", "host/guest.sh", "look/guest.sh")
    for folder in ("/var/lib/provision", "/etc/provision"):
        program = program.replace(folder, f"{tmp_path}{folder}")
    program = f"need() {{ :; }}; need_docker() {{ :; }}; name=demo\n{program}"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    argv = ("sh", "-c", program)
    text = subprocess.run(argv, env=environment, check=True, stdout=-1, text=True).stdout
    assert text.splitlines() == ["lost gone blue -", "lost shop blue shop-web-1"]
    gone, shop = GuestConnection.parse(text, Origin("h1", "demo"))
    assert gone.ours and shop.ours and gone.resource.name == "gone"
    lost, wanted = shop.resource, replace(CONNECTION, guest="shop", found_by="label tier=web")
    assert isinstance(lost, GuestConnection)
    claim = "/etc/provision/demo/guests/shop"
    (change,) = plan(state([lost]), state([wanted])).changes
    assert change.disruption == f"guest shop is ours, damaged: its claim {claim} was deleted"
    # The connection stays, a rollback removes the claim again, and a removal disconnects.
    assert wanted.update(lost) == wanted.create()
    undo = str(wanted.undo(lost, ours=True))
    assert claim in undo and "network connect" not in undo and "network disconnect" not in undo
    assert "network disconnect" in str(lost.delete()[0])
    assert claim not in str(lost.unstash("0a")) and "network connect" in str(lost.unstash("0a"))
