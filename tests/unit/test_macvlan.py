"""Method `macvlan`: what a host tells about its LAN, what is refused, and what verify expects."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provision import methods
from provision.checks import lan_probe, modes
from provision.checks.ports import publications
from provision.facts.host import HostFacts
from provision.facts.topology import (
    ContainerInfo,
    HostTopology,
    NamespaceLink,
    NamespaceRoute,
    NetNamespace,
)
from provision.inventory.load import load
from provision.methods.macvlan.facts import MacvlanFacts, OtherNetwork
from provision.model.inventory import Inventory
from provision.resources.base import Ref
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.on_hosts import Mark
from tests.cases.test_cases import facts

HOSTS = """
name: mac
hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}
"""
LAN = "{method: macvlan, cidr: 10.78.0.0/24, pool: 10.78.0.208/28, gateway: 10.78.0.254}"
OWN_RANGE = "{method: macvlan, cidr: 172.30.0.0/24, pool: 172.30.0.0/24}"
CONTAINERS = """
containers:
  c1: {host: h1, network: net}
  web: {host: h2, network: bridge, ports: ["8080:80"]}
"""
DOCKER = {"h1": "26.1.5", "h2": "28.5.2"}


def inventory_of(folder: Path, network: str) -> Inventory:
    """Two hosts with one network, and a container on it."""
    path = folder / "inventory.yml"
    path.write_text(f"{HOSTS}networks: {{net: {network}}}{CONTAINERS}")
    return load(path)


def problems(inventory: Inventory, host: str, found: MacvlanFacts, **parts: Any) -> list[str]:
    """The messages for one host that has these facts."""
    known = replace(facts(inventory, {"docker": DOCKER})[host], **parts)
    known = replace(known, of_methods={MacvlanFacts: found})
    network = inventory.networks["net"]
    return [p.message for p in methods.of(network).check_host(inventory, network, known)]


def test_a_nic_that_is_down_is_named(tmp_path: Path) -> None:
    """Also after systemd-networkd has taken its address away, so that nothing tells the NIC."""
    inventory = inventory_of(tmp_path, LAN)
    links = facts(inventory, {"docker": DOCKER})["h1"].links
    down = links | {"eth1": replace(links["eth1"], up=False)}
    message = "eth1 is down, so its containers of network net reach no other host"
    assert problems(inventory, "h1", MacvlanFacts(), links=down) == [message]
    bare = links | {"eth1": replace(links["eth1"], up=False, addresses=())}
    (missing,) = problems(inventory, "h1", MacvlanFacts(), links=bare)
    assert missing.startswith("eth1 is down; its address 10.78.0.11 is on none of its links")


def test_the_probe_tells_networks_of_others_and_answers_by_arp(tmp_path: Path) -> None:
    """The inventory's own networks are left out: the plan removes or changes them."""
    inventory = inventory_of(tmp_path, LAN)
    (probe,) = methods.facts_probes(inventory, "h1")
    networks = [
        {"Name": "net", "Driver": "macvlan", "Labels": {"provision": "mac/net"}},
        {
            "Name": "theirs",
            "Driver": "macvlan",
            "Options": {"parent": "eth1"},
            "IPAM": {"Config": [{"Subnet": "10.99.0.7/24"}, {"Subnet": "fd00::/64"}]},
        },
        {"Name": "host", "Driver": "host", "IPAM": {"Config": None}},
    ]
    text = f"""networks {json.dumps(networks)}
answer arp net 10.78.0.254 1 nobody answers
answer duplicate net 10.78.0.209 1 02:00 answers
answer duplicate net 10.78.0.210 0 nobody answers"""
    assert probe.parse(text) == MacvlanFacts(
        (
            OtherNetwork("theirs", "eth1", (IPv4Network("10.99.0.0/24"),)),
            OtherNetwork("host", "", ()),
        ),
        {"10.78.0.209": "02:00 answers"},
        {"10.78.0.254": "nobody answers"},
    )
    assert probe.parse("") == MacvlanFacts()  # Docker does not answer


@pytest.mark.parametrize(("applied", "asks"), [("mac/net", False), ("mac/net2", True)])
def test_addresses_are_asked_for_before_the_first_apply(
    tmp_path: Path, *, applied: str, asks: bool
) -> None:
    """Afterwards, the pool's addresses belong to our own containers."""
    network = LAN.replace("pool", "nic: lo, pool")
    (probe,) = methods.facts_probes(inventory_of(tmp_path, network), "h1")
    answers = f'networks [{{"Labels":{{"provision":"{applied}"}}}}]'
    # Instead of perl, a function that prints the arguments after the program.
    stubs = 'shared() { :; }\nperl() { shift 2; echo "$@"; }\n'
    run = subprocess.run(
        ["sh", "-eu", "-c", f"{stubs}answers='{answers}'\n{probe.script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    first = "net lo 1500 router 10.78.0.254 10.78.0.254 own 10.78.0.208 10.78.0.208"
    assert run.stdout.startswith(first) if asks else not run.stdout


def test_a_range_of_its_own_has_no_router_to_ask(tmp_path: Path) -> None:
    """The host has no address in it that the router could answer to."""
    network = OWN_RANGE.replace("pool", "gateway: 172.30.0.254, pool")
    network = network.replace("pool: 172.30.0.0/24", "pool: 172.30.0.0/25")
    (probe,) = methods.facts_probes(inventory_of(tmp_path, network), "h1")
    assert "own 172.30.0.1 own 172.30.0.2" in probe.script
    assert "router 172.30.0.254" not in probe.script


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            MacvlanFacts((OtherNetwork("old", "", (IPv4Network("10.78.0.0/25"),)),)),
            "Docker's network old has 10.78.0.0/25, which overlaps 10.78.0.0/24 of net",
        ),
        (
            MacvlanFacts((OtherNetwork("old", "eth1", ()),)),
            "Docker's network old and net are both on eth1, and its Docker allows one network per"
            " NIC",
        ),
        (
            MacvlanFacts(addresses_in_use={"10.78.0.208": "02:00 answers"}),
            "pool 10.78.0.208/28 holds 10.78.0.208, which is in use on the LAN: 02:00 answers",
        ),
        (
            MacvlanFacts(router_arp_errors={"10.78.0.254": "nobody answers"}),
            "gateway 10.78.0.254 cannot be used: nobody answers",
        ),
    ],
)
def test_what_a_host_has_already_is_refused(
    tmp_path: Path, found: MacvlanFacts, message: str
) -> None:
    """On Docker 26.1; a network of the same name is a conflict of the plan."""
    inventory = inventory_of(tmp_path, LAN)
    assert problems(inventory, "h1", found) == [message]
    own = replace(found, others=tuple(replace(other, name="net") for other in found.others))
    assert problems(inventory, "h1", own) == ([] if found.others else [message])


def test_docker_28_allows_several_networks_on_one_nic(tmp_path: Path) -> None:
    """Seen with 28.5."""
    found = MacvlanFacts((OtherNetwork("old", "eth1", ()),))
    assert not problems(inventory_of(tmp_path, LAN), "h2", found)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("10.78.0.254/24", "gateway 10.78.0.254 is its own address"),
        ("10.78.0.210/24", "pool 10.78.0.208/28 holds 10.78.0.210, which its own eth1 has"),
        ("10.78.0.99/16", "eth1 is in 10.78.0.0/16, which overlaps 10.78.0.0/24 of net"),
    ],
)
def test_addresses_of_the_host_itself_are_refused(
    tmp_path: Path, address: str, message: str
) -> None:
    """A host answers no ARP request of its own, so the probe by ARP does not find them."""
    inventory = inventory_of(tmp_path, LAN)
    known = facts(inventory, {"docker": DOCKER})["h1"]
    nic, link = known.nics["eth1"], known.links["eth1"]
    local, _, length = address.partition("/")
    more = replace(nic.addresses[0], local=local, prefixlen=int(length))
    parts = {
        "nics": {"eth1": replace(nic, addresses=(*nic.addresses, more))},
        "links": {"eth1": replace(link, addresses=(*link.addresses, IPv4Interface(address)))},
    }
    assert any(
        text.startswith(message) for text in problems(inventory, "h1", MacvlanFacts(), **parts)
    )


def test_a_bridge_of_another_network_on_the_nic_is_refused(tmp_path: Path) -> None:
    """pipework would make the parent a port."""
    lan = "{method: pipework, cidr: 10.78.0.0/24}"
    inventory = inventory_of(tmp_path, f"{OWN_RANGE}, lan: {lan}")
    (message,) = problems(inventory, "h1", MacvlanFacts())
    assert message == "network lan makes eth1 a port of bri0, so no macvlan can be on it"


def test_without_a_router_the_gateway_is_named(tmp_path: Path) -> None:
    """Docker shows a gateway of its own choice only after a restart, as a difference."""
    inventory = inventory_of(tmp_path, OWN_RANGE)
    network = inventory.networks["net"]
    hosts = facts(inventory, {"docker": DOCKER})
    wanted = list(methods.of(network).desired(inventory, network, hosts))
    gateways = [r.gateway for r in wanted if isinstance(r, DockerNetwork)]
    # Docker gives nobody the network's own address.
    assert gateways == [IPv4Address("172.30.0.1"), IPv4Address("172.30.0.128")]


@pytest.mark.parametrize(("network", "asking"), [(LAN, {"h1", "h2"}), (OWN_RANGE, set())])
def test_a_host_probes_only_a_range_that_it_is_in(
    tmp_path: Path, network: str, asking: set[str]
) -> None:
    """Otherwise no container has a route for its answer."""
    inventory = inventory_of(tmp_path, network)
    hosts: Mapping[str, HostFacts] = facts(inventory, {"docker": DOCKER})
    snapshots = {host: SimpleNamespace(ours=dict[Ref, Any]()) for host in hosts}
    fleet: Any = SimpleNamespace(facts=hosts, snapshots=snapshots)
    assert {end.name for end in lan_probe.endpoints(inventory, fleet, hosts)} == asking


@pytest.mark.parametrize(("network", "calls"), [(LAN, True), (OWN_RANGE, False)])
def test_a_container_calls_only_ports_that_it_has_a_way_to(
    tmp_path: Path, network: str, *, calls: bool
) -> None:
    """In a range of its own without a router, the address of a host is out of reach."""
    inventory = inventory_of(tmp_path, network)
    assert ("c1" in {call.caller for call in publications(inventory, ("h1", "h2"))}) == calls


@pytest.mark.parametrize(
    ("network", "address", "gateway", "differences"),
    [
        (LAN, "10.78.0.209/24", "10.78.0.254", []),
        (LAN, "10.78.0.209/24", "10.78.0.1", ["its default gateway is 10.78.0.1, not 10.78.0.254"]),
        (OWN_RANGE, "172.30.0.2/24", "172.30.0.1", []),
        (OWN_RANGE, "10.9.0.2/24", "10.9.0.1", ["it has no address of the LAN 172.30.0.0/24"]),
    ],
)
def test_the_mode_of_a_container(
    tmp_path: Path, network: str, address: str, gateway: str, differences: list[str]
) -> None:
    """Without a router, the gateway is one that nobody has, and no check asks for it."""
    inventory = inventory_of(tmp_path, network)
    held = (IPv4Interface(address),)
    link = NamespaceLink(5, "eth0", "macvlan", "02:00:00:00:00:01", 1500, True, "", 3, held)
    own = NetNamespace(7, (link,), (NamespaceRoute("default", gateway, "eth0"),))
    info = ContainerInfo("c1", Mark("mac", "net"), "busybox", "running", "net", 9, 7, 8, 9, ())
    root = NetNamespace(1, (), ())
    topology = HostTopology("h1", root, {1: root, 7: own}, {"c1": info}, {}, (), ())
    found = modes.differences(inventory, inventory.containers["c1"], topology)
    assert list(found) == differences
