"""Containers on several networks: members, connections, names, default route, and reports."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from json import loads
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision import methods
from provision.checks import name_probe, ports
from provision.checks.explain.ends import EndSpace, common_address, end
from provision.checks.gather import named_pairs, pairs
from provision.checks.modes import differences
from provision.checks.probe import Endpoint
from provision.engine import desired
from provision.engine.fleet import Fleet
from provision.engine.members import members
from provision.engine.plan import plan
from provision.facts.docker_entry import DockerEntry
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts
from provision.facts.topology import ContainerInfo, HostTopology, NamespaceLink, NetNamespace
from provision.inventory.load import load
from provision.model.inventory import Inventory
from provision.model.names import STASHED
from provision.resources.base import Origin, Ref, state
from provision.resources.kinds.connection import NetworkConnection
from provision.resources.kinds.container import DockerContainer
from provision.resources.kinds.dns_records import DnsRecords
from provision.resources.kinds.file import File
from provision.resources.lib import docker_restart
from provision.resources.on_hosts import Mark
from provision.resources.steps import Put, Run
from provision.show.members import joined_networks
from tests.cases.test_cases import facts as case_facts

FILE = """
name: demo
hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}
networks:
  red: {method: vxlan, cidr: 172.21.0.0/16, names: true}
  blue: {method: routes, cidr: 172.20.0.0/16, names: lab.internal}
  green: {method: routes, cidr: 172.22.0.0/16}
  old: {method: routes, cidr: 172.23.0.0/16, bridge: docker0}
containers:
  web: {host: h1, network: red, aliases: [www], service: shop, ports: ["80:80"],
        networks: [blue, {network: green, address: 172.22.0.9}, old]}
  b2: {host: h2, network: blue}
  g2: {host: h2, network: green, networks: [blue], ports: ["81:81"]}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    """A container on four networks, and one of which the second network has names."""
    path = tmp_path / "net.yml"
    path.write_text(FILE)
    return load(path)


def facts(inventory: Inventory) -> dict[str, HostFacts]:
    """The facts of both hosts."""
    return case_facts(inventory, {"docker": dict.fromkeys(inventory.hosts, "26.1.5")})


def test_a_container_is_a_member_of_each_network(inventory: Inventory) -> None:
    """As in DNS, a further network stands behind its name; ports stay at the first."""
    names = ["web", "b2", "g2", "web.blue", "web.green", "web.old", "g2.blue"]
    assert list(inventory.members) == names
    member = inventory.members["web.green"]
    assert (member.network, member.own_name, member.ports) == ("green", "web", ())
    assert str(member.address) == "172.22.0.9"
    found = {(a.name, b.name) for a, b in pairs(inventory, inventory.members.values())}
    assert ("b2", "web.blue") in found
    assert ("g2.blue", "b2") in found
    assert not {("web", "b2"), ("b2", "web")} & found
    callers = {p.caller for p in ports.publications(inventory, ("h1", "h2")) if p.caller}
    assert callers == {"b2", "g2", "web"}


def test_without_further_networks_members_are_the_containers(tmp_path: Path) -> None:
    """A file without the key has the same mapping as before."""
    path = tmp_path / "net.yml"
    path.write_text(FILE.partition("containers:")[0])
    inventory = load(path)
    assert inventory.members is inventory.containers


def test_a_connection_for_each_further_network(inventory: Inventory) -> None:
    """Peers on the link need no route; the container is connected before it starts."""
    wanted = desired.wanted(inventory, facts(inventory))
    connections = [r for r in wanted.values() if isinstance(r, NetworkConnection)]
    by_name = {connection.name: connection for connection in connections}
    assert set(by_name) == {"web/blue", "web/green", "web/old", "g2/blue"}
    green = by_name["web/green"]
    assert (str(green.address), str(green.peers)) == ("172.22.0.9", "172.22.0.0/16")
    assert green.default_route == "red"
    assert (by_name["web/old"].docker_network, by_name["web/old"].address) == ("bridge", None)
    assert Ref("h1", "docker_network", "green") in green.requires()
    web = wanted[Ref("h1", "container", "web")]
    assert isinstance(web, DockerContainer)
    (run,) = (step for step in web.create() if isinstance(step, Run))
    blue = str(by_name["web/blue"].address)
    assert run.argv[-6:] == ("blue", blue, "green", "172.22.0.9", "bridge", "-")
    # The network is there first, and can be made anew below a container that goes on running.
    assert Ref("h1", "docker_network", "green") in web.after()
    assert Ref("h1", "docker_network", "green") not in web.requires()
    assert run.stdin is not None
    endpoints = loads(run.stdin)["NetworkingConfig"]["EndpointsConfig"]
    assert endpoints["red"]["GwPriority"] == 1
    follower = wanted[Ref("h1", "file", "/etc/provision/demo/volatile.sh")]
    assert isinstance(follower, File)
    assert follower.text is not None
    assert " follow" in follower.text


def test_one_network_makes_the_request_of_before(inventory: Inventory) -> None:
    """Docker is told nothing of priorities, and is given no network to connect."""
    b2 = desired.wanted(inventory, facts(inventory))[Ref("h2", "container", "b2")]
    assert isinstance(b2, DockerContainer)
    (run,) = (step for step in b2.create() if isinstance(step, Run))
    assert run.stdin is not None
    assert "GwPriority" not in run.stdin
    assert b2.after() == ()


@given(
    st.none() | st.ip_addresses(v=4),
    st.none() | st.integers(0, 32).map(lambda length: IPv4Network((0, length))),
)
def test_a_claim_is_read_as_it_was_written(
    address: IPv4Address | None, peers: IPv4Network | None
) -> None:
    """A container that is absent is a difference: its successor lacks the connection."""
    wanted = NetworkConnection("h1", "web", "old", "bridge", address, peers, "red", "demo")
    claim = wanted.create()[0]
    assert isinstance(claim, Put)
    text = f"claim web old {claim.text}state web old 77 172.20.0.3 -"
    (made,) = NetworkConnection.parse(text, Origin("h1", "demo"))
    assert made.resource == wanted
    assert not plan(state([made.resource]), state([wanted])).changes
    (absent,) = NetworkConnection.parse(text.partition("\n")[0], Origin("h1", "demo"))
    assert absent.resource == replace(wanted, lacks="container")


def test_healing_disconnects_nobody() -> None:
    """Only another address is a disruption; a rollback disconnects what a person had."""
    wanted = NetworkConnection("h1", "web", "red", "red", None, None, "blue", "demo")
    for lacks in ("container", "connection", "routes"):
        current = replace(wanted, lacks=lacks)
        assert wanted.update(current) == wanted.create()
        assert wanted.disruption(current, recreated=False) is None
        assert bool(wanted.undo(current, ours=True)) == (lacks == "connection")
    moved = replace(wanted, address=IPv4Address("172.21.0.9"))
    assert len(moved.update(wanted)) == 1 + len(moved.create())
    assert "for a moment" in (moved.disruption(wanted, recreated=False) or "")


def test_names_of_further_networks(inventory: Inventory) -> None:
    """The server of the first network with names also answers with the names of the others."""
    wanted = desired.wanted(inventory, facts(inventory))
    web, g2 = wanted[Ref("h1", "container", "web")], wanted[Ref("h2", "container", "g2")]
    assert isinstance(web, DockerContainer)
    assert isinstance(g2, DockerContainer)
    assert (web.dns, g2.dns) == (("172.21.0.1",), ("172.20.1.1",))
    records = {
        (r.host, r.network): {row.key: row for row in r.rows}
        for r in wanted.values()
        if isinstance(r, DnsRecords)
    }
    assert list(records["h1", "blue"]) == [
        "b2.blue.lab.internal",
        "g2.blue.lab.internal",
        "web.blue.lab.internal",
    ]
    assert "www" in records["h1", "blue"]["web.blue.lab.internal"].names
    assert set(records["h1", "red"]) == {"web.red", *records["h1", "blue"]}
    assert records["h1", "red"]["b2.blue.lab.internal"].names == ("b2.blue",)
    assert set(records["h2", "red"]) == {"web.red"}


def test_an_address_by_name_is_kept(inventory: Inventory) -> None:
    """The mark of a container is that of its first network, also in the others."""
    address = IPv4Address("172.20.0.77")
    ends = {"red": IPv4Address("172.21.0.5"), "blue": address}
    entry = DockerEntry("web", Mark("demo", "red"), True, "red", ends, {})
    of_hosts = facts(inventory)
    of_hosts["h1"] = replace(of_hosts["h1"], docker_containers=(entry,))
    wanted = desired.wanted(inventory, of_hosts)
    connection = wanted[Ref("h1", "connection", "web/blue")]
    assert isinstance(connection, NetworkConnection)
    assert connection.address == address


def test_verify_asks_for_the_names_that_the_asked_server_has(inventory: Inventory) -> None:
    """Plain names are those of the first network with names."""
    members = inventory.members.values()
    endpoint = Endpoint("web.blue", "h1", "blue", 7, IPv4Address("172.20.0.9"), 1500)
    own = Endpoint("g2.blue", "h2", "blue", 8, IPv4Address("172.20.1.9"), 1500)
    chosen = named_pairs(inventory, members)
    ends = {end.container: end for end in (endpoint, own)}
    asked = name_probe.questions(inventory, facts(inventory), ends, chosen)
    names = asked[endpoint][2::4]
    assert "b2.blue" in names
    assert "b2" not in names
    assert {"b2", "shop", "shop.blue"} <= set(asked[own][2::4])
    network = methods.dns_network(inventory, inventory.members["web.blue"])
    assert network is inventory.networks["red"]


def test_members_that_run_have_the_address_of_their_network(inventory: Inventory) -> None:
    """The process is that of the container."""
    address = IPv4Address("172.20.0.3")
    connection = NetworkConnection(
        "h1", "web", "blue", "blue", None, None, "red", "demo", pid=7, live_address=address
    )
    stopped = replace(connection, network="green", pid=0)
    ours = {resource.ref: resource for resource in (connection, stopped)}
    fleet = Fleet({"h1": HostSnapshot(facts(inventory)["h1"], ours, {})})
    (member,) = members(inventory, fleet)
    assert (member.container.name, member.docker) == ("web.blue", "web")
    assert (member.pid, member.address) == (7, address)


def topology(*addresses: str) -> HostTopology:
    """A host with the container web, whose interfaces have these addresses."""
    links = tuple(
        NamespaceLink(number, f"eth{number}", "veth", "", 1500, True, "", 0, (IPv4Interface(text),))
        for number, text in enumerate(addresses)
    )
    space, root = NetNamespace(2, links, ()), NetNamespace(1, (), ())
    web = ContainerInfo("web", Mark("demo", "red"), "busybox", "running", "red", 7, 2, 3, 4, (), {})
    return HostTopology("h1", root, {1: root, 2: space}, {"web": web}, {}, (), ())


def test_show_tells_networks_and_the_default_route(inventory: Inventory) -> None:
    """A network that the container is not on has no address."""
    rows = list(joined_networks(inventory, topology("172.20.0.3/24", "172.21.0.3/16")))
    assert [(row.network, row.address, row.has_default_route) for row in rows] == [
        ("red", "172.21.0.3", True),
        ("blue", "172.20.0.3", False),
        ("green", "", False),
        ("old", "", False),
    ]


def test_a_container_on_dockers_bridge_can_have_further_networks(tmp_path: Path) -> None:
    """It asks the server of the first network with names; `show` finds its address on docker0."""
    path = tmp_path / "net.yml"
    text = FILE.replace(
        "networks: [blue, {network: green, address: 172.22.0.9}, old]", "networks: [blue]"
    )
    path.write_text(text.replace("web: {host: h1, network: red", "web: {host: h1, network: bridge"))
    inventory = load(path)
    wanted = desired.wanted(inventory, facts(inventory))
    web = wanted[Ref("h1", "container", "web")]
    assert isinstance(web, DockerContainer)
    assert (web.network, web.dns) == ("bridge", ("172.20.0.1",))
    address = (IPv4Interface("172.17.0.1/16"),)
    docker0 = NamespaceLink(1, "docker0", "bridge", "", 1500, True, "", 0, address)
    found = topology("172.17.0.3/16", "172.20.0.3/24")
    root = NetNamespace(1, (docker0,), ())
    found = replace(found, root=root, bridges={"bridge": "docker0"})
    rows = joined_networks(inventory, found)
    assert [row.address for row in rows] == ["172.17.0.3", "172.20.0.3"]


def test_a_stashed_container_stays_stopped() -> None:
    """A restart of Docker starts those that ran, not one whose network was removed before it."""
    run = docker_restart.each("start", ("1", "2", "3", "4"))
    names = "id=1) echo web ;; id=2) echo web.provision-0a1b ;; id=3) ;; *) echo x.provision-test"
    names = f"case $5 in {names} ;; esac"
    docker = f'docker() {{ if [ "$1" = ps ]; then {names}; else echo "$2" >&3; fi; }}; '
    argv = ("sh", "-c", f"exec 3>&1; {docker}{run.argv[2]}", *run.argv[3:])
    started = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert started.split() == ["1", "4"]
    assert STASHED.search("web.provision-0a1b") and not STASHED.search("x.provision-test")


def test_mode_finds_a_missing_address(inventory: Inventory) -> None:
    """Each membership is checked by itself; the default route of the main table is Docker's."""
    found = topology("172.21.0.3/16")
    assert differences(inventory, inventory.containers["web"], found) == ()
    (difference,) = differences(inventory, inventory.members["web.blue"], found)
    assert difference == "it has no address of blue (172.20.0.0/16)"


@pytest.mark.parametrize(
    ("source", "target", "address"),
    [
        ("172.20.1.3/24", "web", "172.20.0.3"),
        ("172.21.1.3/16", "web", "172.21.0.3"),
        ("192.0.2.3/24", "web", "172.21.0.3"),
        ("172.21.1.3/16", "web.blue", "172.20.0.3"),
    ],
)
def test_explain_asks_at_the_common_network(
    inventory: Inventory, source: str, target: str, address: str
) -> None:
    """Without one at the first, and at the network that the name of the target tells."""
    link = NamespaceLink(1, "eth0", "veth", "", 1500, True, "", 0, (IPv4Interface(source),))
    near = EndSpace("+x", 1, NetNamespace(3, (link,), ()))
    far = EndSpace("+web", 7, topology("172.20.0.3/24", "172.21.0.3/16").namespaces[2])
    container = end(inventory, target, "TO").container
    assert container is not None
    common = common_address(inventory, near, far, container)
    assert common is not None
    assert str(common[1]) == address
