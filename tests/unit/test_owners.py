"""Conflicts name the inventory whose things are in the way, and the command that helps."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

from provision.engine import names_in_use
from provision.engine.overlaps import overlaps
from provision.engine.owners import Owners, existence, ownership, removal
from provision.engine.parts_in_use import parts_in_use
from provision.facts.host import KernelRoute, Link
from provision.resources.base import Origin, state
from provision.resources.kinds.docker_network import LABEL, DockerNetwork
from provision.resources.kinds.image_archive import ImageArchive
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.kinds.routes import Routes, row
from provision.resources.lib.network_guests import network_guests
from provision.resources.lib.network_options import BRIDGE_NAME
from provision.resources.lib.route_claims import FOREIGN
from provision.resources.on_hosts import Mark
from tests.unit.test_overlaps import KERNEL, facts, inventory

SHOP = Mark("shop", "front")
PART, WIDE = IPv4Network("172.20.0.0/24"), IPv4Network("172.20.0.0/16")
BRIDGE = DockerNetwork("h1", "front", PART, None, ((BRIDGE_NAME, "br-front"),), SHOP)
HINT = "choose another name or range, or destroy it by the file of shop"


def test_a_bridge_and_a_range_tell_the_owner_of_a_route(tmp_path: Path) -> None:
    """On the subnet of a host, and elsewhere in the range of a network."""
    blue = inventory(tmp_path, "method: routes, cidr: 172.20.0.0/16")
    on_part, inside = KernelRoute(PART, "br-front", KERNEL), IPv4Network("172.20.77.0/24")
    foreign = state([BRIDGE])
    (part,) = parts_in_use(blue, {"h1": facts(on_part)}, {}, foreign, {})
    assert (part.message, part.hint) == (
        f"{PART} is in use on br-front, which belongs to inventory shop",
        HINT,
    )
    (overlap,) = overlaps(blue, {"h1": facts(KernelRoute(inside, "br-front", KERNEL))}, {}, foreign)
    assert (overlap.message, overlap.hint) == (
        f"{WIDE} overlaps {inside} on br-front, which belongs to inventory shop",
        HINT,
    )


def test_the_range_of_another_inventory_tells_the_owner_of_its_routes(tmp_path: Path) -> None:
    """A route to a peer is on a NIC, which belongs to nobody."""
    blue = inventory(tmp_path, "method: routes, cidr: 172.20.0.0/16")
    rule = ("-s", str(PART), "-d", str(WIDE), "-j", "ACCEPT")
    chain = IptablesChain("h1", "nat", "PROV-shop", "POSTROUTING", (rule,), SHOP)
    theirs = Routes.of("h1", FOREIGN, "demo", [row("172.20.1.0/24", "10.78.0.9", "eth1")])
    ours = Routes.of("h1", "blue", "demo", [row("172.20.1.0/24", "10.78.0.12", "eth1")])
    (conflict,) = parts_in_use(blue, {"h1": facts()}, {}, state([chain, theirs]), state([ours]))
    assert conflict.message == "route 172.20.1.0/24 belongs to inventory shop"
    assert conflict.hint == HINT


def test_a_pool_of_docker_tells_its_owner(tmp_path: Path) -> None:
    """Docker would refuse the network."""
    blue = inventory(tmp_path, "method: routes, cidr: 172.20.0.0/16")
    wanted = replace(BRIDGE, network="blue", mark=Mark("demo", "blue"))
    pool = replace(BRIDGE, driver="macvlan")
    conflicts = parts_in_use(blue, {"h1": facts()}, {}, state([pool]), state([wanted]))
    assert [conflict.message for conflict in conflicts] == [
        f"{PART} overlaps {PART} of Docker network front (macvlan), which belongs to inventory shop"
    ]


def test_names_without_an_owner_are_outside() -> None:
    """A name of an interface belongs to the resource that gives it."""
    owners = Owners.of(state([BRIDGE, replace(BRIDGE, host="h2", mark=Mark(""))]))
    assert owners.of_name("h1", "br-front") == SHOP
    assert owners.of_name("h2", "br-front") is None
    assert existence(SHOP) == "belongs to inventory shop"
    assert existence(None) == "exists outside this inventory"
    assert (ownership(None), removal(None)) == ("outside this inventory", "")
    taken = replace(BRIDGE, network="blue", mark=Mark("demo", "blue"))
    named = replace(facts(), links={"br-front": Link("br-front", 1500, ())})
    (conflict,) = names_in_use.conflicts({"h1": named}, {}, state([BRIDGE]), state([taken]))
    assert conflict.message == "interface br-front belongs to inventory shop"


def test_a_container_of_another_inventory_keeps_a_network() -> None:
    """Docker does not remove a network that it is on; the command names the container alone."""
    entries = [
        {
            "Id": name,
            "State": "running",
            "Labels": labels,
            "Names": [f"/{name}"],
            "NetworkSettings": {"Networks": {"blue": {}}},
        }
        for name, labels in (
            ("app", {LABEL: "shop/front"}),
            ("c1", {LABEL: "demo/blue"}),
            ("hand", None),
        )
    ]
    guests = network_guests(entries, (), "demo", LABEL)
    assert guests == {"blue": ("app of inventory shop", "hand")}
    network = replace(BRIDGE, network="blue", guests=guests["blue"])
    assert network.blocking_reason(None) == (
        "network blue has containers of others: app of inventory shop, hand"
    )
    assert network.blocking_hint() == "run `docker network disconnect blue app`, or remove it"


def test_an_image_of_another_inventory_has_an_owner() -> None:
    """Two files may load archives of one tag; only one of them can be there."""
    image = {"Id": "sha256:1", "RepoTags": ["app:1", "own:1"], "RootFS": {"Layers": ["sha256:2"]}}
    text = f"image {json.dumps(image)}\nclaim own:1\nuser shop app:1\nuser demo own:1\n"
    found = {each.resource.name: each for each in ImageArchive.parse(text, Origin("h1", "demo"))}
    assert {name: each.ours for name, each in found.items()} == {"app:1": False, "own:1": True}
    theirs, ours = found["app:1"].resource, found["own:1"].resource
    assert theirs.blocking_reason(theirs) == "image app:1 belongs to inventory shop"
    assert "under another tag" in theirs.blocking_hint()
    assert ours.blocking_reason(ours) is None
    (loaded,) = ImageArchive.parse(
        f"image {json.dumps(image | {'RepoTags': ['app:1']})}", Origin("h1", "demo")
    )
    reason = loaded.resource.blocking_reason(loaded.resource)
    assert reason == "image app:1 exists with other layers outside this inventory"
    assert "docker image rm app:1" in loaded.resource.blocking_hint()


def test_a_nic_in_a_bridge_of_another_inventory_has_an_owner() -> None:
    """As on a LAN of pipework; a bridge that somebody made by hand has none."""
    captured = Path(__file__).parents[1] / "probes/ovs_uplink/ovs-bookworm.txt"
    key = '["provision-nic","eth1"]'
    text = captured.read_text()
    assert key in text
    for other, whose in (
        ('["provision-lan","shop/lan"]', "which belongs to inventory shop"),
        ('["made-by","hand"]', "outside this inventory"),
    ):
        uplinks = [
            found.resource
            for found in OvsUplink.parse(text.replace(key, other), Origin("h1", "demo"))
        ]
        (obstacle,) = (
            each.obstacle for each in uplinks if isinstance(each, OvsUplink) and each.nic == "eth1"
        )
        expected = "eth1 is already a port of phy-eth1, a bridge of Open vSwitch "
        assert obstacle == expected + whose
