"""Containers on several networks of an inventory, on three booted hosts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts, assert_same

pytestmark = pytest.mark.lab

FILE = "several.yml"
# By name, blue comes before green before red: Docker before 28 would choose in this order.
INVENTORY = """
name: several
hosts:
  h1: {{address: {data}.11}}
  h2: {{address: {data}.12}}
  h3: {{address: {data}.13}}
networks:
  red: {{method: vxlan, cidr: 172.21.0.0/16, names: true}}
  blue: {{method: routes, cidr: 172.20.0.0/16, names: lab.internal}}
  green: {{method: routes, cidr: 172.22.0.0/16}}
containers:
  web: {{host: h1, network: red, networks: [blue, {{network: green, address: 172.22.0.9}}],
         aliases: [www], ports: ["8080:80"]}}
  r2: {{host: h2, network: red, networks: [blue]}}
  b2: {{host: h2, network: blue, networks: [green]}}
  g3: {{host: h3, network: green, networks: [red]}}
"""
FLANNEL = """
name: several
hosts:
  h1: {{address: {data}.11}}
  h2: {{address: {data}.12}}
  h3: {{address: {data}.13}}
networks:
  over: {{method: flannel, cidr: 172.16.0.0/16, backend: vxlan, etcd: {{members: [h1]}}}}
  blue: {{method: routes, cidr: 172.20.0.0/16}}
  old: {{method: routes, cidr: 172.23.0.0/16, bridge: docker0}}
containers:
  fb: {{host: h1, network: over, networks: [blue], ports: ["8080:80"]}}
  bo: {{host: h2, network: blue, networks: [{{network: over, address: 172.16.1.77}}],
        ports: ["8080:80/udp"]}}
  od: {{host: h3, network: old, networks: [over, blue]}}
  do: {{host: h2, network: over, networks: [old]}}
  sharer: {{host: h1, network: "container:fb"}}
  b3: {{host: h3, network: blue}}
  o1: {{host: h1, network: old}}
"""
FIRST = {"web": ("h1", "172.21.0.1"), "r2": ("h2", "172.21.1.1"), "b2": ("h2", "172.20.1.1")}
FIRST |= {"g3": ("h3", "172.22.2.1")}
FIRST_OF_FLANNEL = {"fb": ("h1", "172.16.0.1"), "bo": ("h2", "172.20.1.1")}
FIRST_OF_FLANNEL |= {"od": ("h3", "172.23.2.1"), "do": ("h2", "172.16.1.1")}
ENTER = "nsenter -t $(docker inspect --format '{{{{.State.Pid}}}}' {}) -n "
STATE = "docker inspect --format '{{.Id}} {{.State.StartedAt}}' "


@pytest.fixture
def several(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards the inventory that they still have is destroyed."""
    yield mixed
    power.start(mixed.lab, say=print)
    if any(mixed.everywhere("ls -d /etc/provision/several", check=False).values()):
        mixed.provision("destroy", FILE, "--yes", status=None)
    (mixed.lab.folder / FILE).unlink(missing_ok=True)


def write(hosts: Hosts, text: str, *changes: tuple[str, str]) -> None:
    """Write the inventory with the lab's addresses and some changes."""
    text = text.format(data=hosts.networks[1])
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (hosts.lab.folder / FILE).write_text(text)


def assert_default_routes(hosts: Hosts, gateways: dict[str, tuple[str, str]]) -> None:
    """Packets to elsewhere leave by the first network, whatever Docker has chosen."""
    for name, (host, gateway) in gateways.items():
        route = hosts.ssh(host, ENTER.format(name) + "ip route get 192.0.2.1")
        assert f" via {gateway} " in route, (name, route)


def pinged(result: Any) -> set[tuple[str, str]]:
    """The pairs of which one has pinged the other."""
    return {(check["from"], check["to"]) for check in result["checks"] if check["check"] == "ping"}


def test_several_networks_from_apply_to_destroy(several: Hosts) -> None:
    """Default route, names and addresses are right after restarts, and destroy leaves nothing."""
    before = several.capture()
    write(several, INVENTORY)
    several.provision("apply", FILE)
    segments = ({"web", "r2", "g3.red"}, {"b2", "web.blue", "r2.blue"})
    segments = (*segments, {"g3", "web.green", "b2.green"})
    expected = {(a, b) for members in segments for a in members for b in members if a != b}
    # `wire` looks between hosts, and r2 and b2 are on one.
    assert pinged(several.verified(FILE, skips=["wire"])) == expected
    assert_default_routes(several, FIRST)
    several.everywhere("docker restart -t 0 $(docker ps -q)")
    several.everywhere("systemctl restart docker")
    assert pinged(several.verified(FILE, within_s=120, skips=["wire"])) == expected
    assert_default_routes(several, FIRST)

    # Without a network, and with another address: the container goes on running.
    running = several.ssh("h1", STATE + "web")
    write(several, INVENTORY, ("[blue, {network: green, address: 172.22.0.9}]", "[green]"))
    verbs = {c["name"]: c["verb"] for c in several.json("apply", FILE)["changes"]}
    assert (verbs["web/blue"], verbs["web/green"]) == ("delete", "update")
    assert several.json("plan", FILE)["changes"] == []
    assert several.ssh("h1", STATE + "web") == running
    assert_default_routes(several, FIRST)
    rules = several.ssh("h1", ENTER.format("web") + "ip rule")
    assert rules.count("32001:") == 1, rules
    several.provision("destroy", FILE, "--yes")
    assert_same(before, several.capture())


@pytest.mark.full
def test_several_networks_are_shown_and_swapped(several: Hosts) -> None:
    """Names, show and explain know each network; another first network replaces the container."""
    write(several, INVENTORY)
    several.provision("apply", FILE)
    text = several.ssh(
        "h1", "docker exec web nslookup b2.blue.lab.internal; docker exec web nslookup r2"
    )
    assert text.count("Address: 172.2") == 2, text
    rows = several.json("show", FILE)["hosts"]["h1"]["several_networks"]
    assert [(row["network"], row["default_route"]) for row in rows] == [
        ("red", True),
        ("blue", False),
        ("green", False),
    ]
    assert rows[2]["address"] == "172.22.0.9"
    assert several.json("explain", FILE, "b2", "web")["reached"]
    change = ("red, networks: [blue, {network: green, address: 172.22.0.9}]",)
    write(several, INVENTORY, (*change, "blue, networks: [red, green]"))
    verbs = {c["name"]: c["verb"] for c in several.json("apply", FILE)["changes"]}
    expected = {"web": "replace", "web/blue": "delete", "web/red": "create", "web/green": "replace"}
    assert {name: verbs[name] for name in expected} == expected
    several.verified(FILE, skips=["wire"])
    assert_default_routes(several, FIRST | {"web": ("h1", "172.20.0.1")})
    assert several.json("plan", FILE)["changes"] == []
    several.provision("destroy", FILE, "--yes")


@pytest.mark.full
def test_several_networks_of_other_methods_and_damage(several: Hosts) -> None:
    """flannel and docker0, damage that apply heals, a failed apply, a reboot."""
    before = several.capture()
    write(several, FLANNEL)
    several.provision("apply", FILE, "--restart-docker")
    assert several.json("plan", FILE)["changes"] == []
    several.verified(FILE, skips=["wire"])
    assert_default_routes(several, FIRST_OF_FLANNEL)

    damage = {
        "docker network disconnect over bo": ("h2", "connection"),
        ENTER.format("bo") + "ip rule delete priority 32002": ("h2", "routes"),
        ENTER.format("fb") + "ip rule delete priority 32001": ("h1", "routes"),
        "docker network disconnect over bo; docker network connect over bo": ("h2", "address"),
    }
    for command, (host, lacks) in damage.items():
        several.damage(host, command)
        (change,) = several.json("plan", FILE)["changes"]
        assert (change["kind"], change["before"]["lacks"]) == ("connection", lacks), change
        several.provision("apply", FILE)
        assert several.json("plan", FILE)["changes"] == []
    several.ssh("h1", "docker rm -f fb")
    several.ssh("h2", "rm -r /etc/provision/several/connections; docker stop -t 0 bo")
    several.provision("apply", FILE)
    several.verified(FILE, skips=["wire"])

    # fb is made anew, bo moves, and then b3 does not start: all of it is taken back.
    write(
        several,
        FLANNEL,
        ("fb: {host: h1,", "fb: {env: {A: b}, host: h1,"),
        ("172.16.1.77", "172.16.1.78"),
        ("b3: {host: h3,", "b3: {entrypoint: [/no/such], host: h3,"),
    )
    states = several.json("apply", FILE, status=5)["hosts"]
    assert set(states.values()) == {"reverted (failed)"}, states
    write(several, FLANNEL)
    assert several.json("plan", FILE)["changes"] == []

    # A further network is made anew below a container that goes on running.
    running = several.ssh("h1", STATE + "fb")
    write(several, FLANNEL, ("blue: {method", "blue: {mtu: 1400, method"))
    several.provision("apply", FILE)
    assert several.ssh("h1", STATE + "fb") == running
    power.reboot(several.lab, HOSTS, say=print)
    several.verified(FILE, within_s=120, skips=["wire"])
    assert several.json("plan", FILE)["changes"] == []
    assert_default_routes(several, FIRST_OF_FLANNEL)
    several.provision("destroy", FILE, "--yes")
    assert_same(before, several.capture())
