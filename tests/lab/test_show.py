"""show and graph on booted hosts: what they say is what the hosts themselves say."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.lab.hosts import HOSTS, Hosts

pytestmark = pytest.mark.lab

INVENTORY = """name: look
hosts:
  h1: {address: 10.78.0.11}
  h2: {address: 10.78.0.12}
  h3: {address: 10.78.0.13}
networks:
  blue: {method: routes, cidr: 172.20.0.0/16}
containers:
  web1: {host: h1, network: bridge, command: [httpd, -f, -h, /etc], ports: ["8080:80", "53:53/udp"]}
  web2: {host: h2, network: bridge, command: [httpd, -f, -h, /etc], ports: ["8080:80"]}
  web3: {host: h3, network: bridge, command: [httpd, -f, -h, /etc], ports: ["8080:80"]}
  side1: {host: h1, network: "container:web1"}
  own2: {host: h2, network: host}
  bare3: {host: h3, network: none}
  net1: {host: h1, network: blue, address: 172.20.0.9}
  net2: {host: h2, network: blue, ports: ["9090:90"]}
  net3: {host: h3, network: blue}
"""


@pytest.fixture(scope="module")
def applied(booted: Callable[[str], Hosts]) -> Iterator[tuple[Hosts, str]]:
    """Hosts with containers of each mode and published ports."""
    mixed = booted("mixed")
    target = mixed.lab.folder / "look.yml"
    target.write_text(INVENTORY.replace("10.78.0.", f"{mixed.networks[1]}."))
    mixed.provision("apply", target.name)
    yield mixed, target.name
    mixed.provision("destroy", target.name, "--yes")


def containers(host: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["container"]: one for one in host["containers"]}


def ports(host: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is behind each port of each bridge, by bridge and port."""
    return {f"{b['bridge']}/{p['port']}": p for b in host["bridges"] for p in b["ports"]}


def rule(host: dict[str, Any], container: str, published: str) -> Any:
    found = [p for p in host["ports"] if (p["container"], p["published"]) == (container, published)]
    assert len(found) == 1, host["ports"]
    return found[0]["rule"]


def graph(hosts: Hosts, inventory: str, name: str, *words: str) -> str:
    """A graph as the file of this name holds it."""
    hosts.provision("graph", inventory, "-o", name, *words)
    return (hosts.lab.folder / name).read_text()


def test_colours_follow_verify(mixed: Hosts) -> None:
    """Green while all is well; red where a route is gone, and at what it cuts off.

    Before the others, whose network has the same range.
    """
    inventory = mixed.inventory("routes.yml")
    verified = mixed.lab.folder / "verified.json"
    mixed.provision("apply", inventory)
    try:
        verified.write_text(mixed.provision("verify", inventory, "--json"))
        well = graph(mixed, inventory, "g.txt", "--verify", verified.name)
        mixed.ssh("h1", "ip route del 172.20.1.0/24")
        verified.write_text(mixed.provision("verify", inventory, "--json", status=7))
        ill = graph(mixed, inventory, "g.txt", "--verify", verified.name)
        drawn = graph(mixed, inventory, "g.svg", "--verify", verified.name)
    finally:
        mixed.provision("destroy", inventory, "--yes")
    assert well.count("[ok]") == 6 and "[failed]" not in well
    lines = {line.split()[0]: line for line in ill.splitlines() if line.startswith("h")}
    assert lines["h1"].endswith("[failed]") and lines["h2"].endswith("[ok]")
    by_name = {
        name: line
        for line in ill.splitlines()
        for name in ("c1", "c2", "c3")
        if f" {name} (" in line
    }
    assert by_name["c1"].endswith("[failed]") and by_name["c2"].endswith("[failed]")
    assert by_name["c3"].endswith("[ok]")
    assert 'class="container failed"' in drawn and 'class="container ok"' in drawn


def test_show_says_what_the_hosts_say(applied: tuple[Hosts, str]) -> None:
    """Bridges' ports, namespaces, addresses and modes, asked for by their own commands."""
    hosts, inventory = applied
    seen = hosts.json("show", inventory)["hosts"]
    assert tuple(seen) == HOSTS
    for name, host in seen.items():
        said = json.loads(hosts.ssh(name, "ip -j link show type veth"))
        masters = {f"{one['master']}/{one['ifname']}" for one in said if "master" in one}
        assert set(ports(host)) == masters
        assert all(port["container"] and port["interface"] for port in ports(host).values())
        assert str(host["namespace"]) in hosts.ssh(name, "readlink /proc/1/ns/net")
        for container in containers(host).values():
            asked = shlex.quote(container["container"])
            pid = hosts.ssh(name, f"docker inspect -f '{{{{.State.Pid}}}}' {asked}").strip()
            told = hosts.ssh(
                name, f"readlink /proc/{pid}/ns/net; nsenter -t {pid} -n ip -br -4 addr"
            )
            assert str(container["namespace"]) in told
            for link in container["interfaces"]:
                assert all(address in told for address in link["addresses"]), told
            # A container's end is at the port, on the bridge, that show names.
            for link in container["interfaces"]:
                if link["port"]:
                    behind = ports(host)[f"{link['bridge']}/{link['port']}"]["interface"]
                    assert behind == link["interface"]
    words = {
        n: (c["mode"], c["namespace_of"]) for h in seen.values() for n, c in containers(h).items()
    }
    assert words == {
        "web1": ("bridge", "own"), "web2": ("bridge", "own"), "web3": ("bridge", "own"),
        "side1": ("container:web1", "web1"), "own2": ("host", "host"), "bare3": ("none", "own"),
        "net1": ("blue", "own"), "net2": ("blue", "own"), "net3": ("blue", "own"),
    }  # fmt: skip
    bare = containers(seen["h3"])["bare3"]
    assert [link["interface"] for link in bare["interfaces"]] == ["lo"] and bare["routes"] == []
    gateways = [
        route["via"]
        for route in containers(seen["h1"])["net1"]["routes"]
        if route["to"] == "default"
    ]
    assert gateways == ["172.20.0.1"]


def test_counters_grow_with_use(applied: tuple[Hosts, str]) -> None:
    """On all three versions of Docker; a port that nobody used stands still."""
    hosts, inventory = applied
    before = hosts.json("show", inventory)["hosts"]
    for here, there in (("h1", "h2"), ("h2", "h3"), ("h3", "h1")):
        address = f"{hosts.networks[1]}.1{there[1]}"
        request = 'printf "GET /hostname HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3'
        got = hosts.ssh(here, f"bash -c 'exec 3<>/dev/tcp/{address}/8080; {request}'")
        assert "200 OK" in got, got
    after = hosts.json("show", inventory)["hosts"]
    for number, host in enumerate(HOSTS, 1):
        old, new = (rule(one[host], f"web{number}", "0.0.0.0:8080") for one in (before, after))
        assert new["packets"] > old["packets"] and new["bytes"] > old["bytes"]
    idle = [rule(one["h1"], "web1", "0.0.0.0:53")["packets"] for one in (before, after)]
    assert idle == [0, 0]


def test_one_execution_a_host_and_nothing_changes(applied: tuple[Hosts, str]) -> None:
    """Both verbs only look."""
    hosts, inventory = applied
    before = hosts.capture()
    for verb in ("show", "graph"):
        assert hosts.executions(verb, inventory) == dict.fromkeys(HOSTS, 1)
    assert hosts.capture() == before
    assert hosts.json("plan", inventory)["changes"] == []


def test_the_drawing_holds_every_thing(applied: tuple[Hosts, str]) -> None:
    """In each form; a device that leads to other hosts is a tunnel, whatever made it."""
    hosts, inventory = applied
    hosts.ssh("h3", "ip link add name vx7 type vxlan id 7 dev eth1 dstport 4789 && "
                    "ip link set dev vx7 master docker0 up")  # fmt: skip
    try:
        told = {
            name: graph(hosts, inventory, name) for name in ("g.svg", "g.dot", "g.mmd", "g.txt")
        }
    finally:
        hosts.ssh("h3", "ip link del dev vx7")
    root = ElementTree.fromstring(told["g.svg"])
    words = " ".join(one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text"))
    names = ("web1", "web2", "web3", "side1", "own2", "bare3", "net1", "net2", "net3")
    for name in (*names, "docker0", "eth1", "172.20.0.9/24", f"{hosts.networks[1]}.12/24"):
        assert name in words
        assert all(name in text for text in told.values()), name
    assert "tunnel vx7 (vxlan)" in told["g.txt"] and "vx7 (vxlan)" in words
    assert hosts.provision("graph", inventory) in told["g.txt"].replace(
        "│  ├─ tunnel vx7 (vxlan)\n", ""
    )


def test_hosts_that_tell_less(applied: tuple[Hosts, str]) -> None:
    """One that is lost: status 4; one whose Docker is stopped: its links are shown."""
    hosts, inventory = applied
    lost = hosts.lab.folder / "lost.yml"
    text = (hosts.lab.folder / inventory).read_text()
    lost.write_text(
        text.replace("networks:", f"  h9: {{address: {hosts.networks[1]}.99}}\nnetworks:")
    )
    hosts.ssh("h2", "systemctl stop docker.socket docker.service")
    try:
        seen = hosts.json("show", lost.name, status=4)
        drawn = hosts.provision("graph", lost.name, status=4)
    finally:
        hosts.ssh("h2", "systemctl start docker.socket docker.service")
    assert tuple(seen["hosts"]) == HOSTS
    assert [error["host"] for error in seen["errors"]] == ["h9"]
    assert seen["hosts"]["h2"]["undocked"] == "Docker's daemon does not answer"
    assert seen["hosts"]["h2"]["containers"] == []
    assert any(link["interface"] == "eth1" for link in seen["hosts"]["h2"]["interfaces"])
    assert f"h2 {hosts.networks[1]}.12: Docker's daemon does not answer" in drawn
    assert f"h9 {hosts.networks[1]}.99: " in drawn


def test_what_is_broken_is_seen(applied: tuple[Hosts, str]) -> None:
    """A DNAT rule that is gone, and a veth that was taken out of its bridge."""
    hosts, inventory = applied
    text = hosts.ssh("h1", "iptables -t nat -S DOCKER")
    line = next(line for line in text.splitlines() if "--dport 8080 " in line)
    hosts.ssh("h1", f"iptables -t nat {line.replace('-A', '-D', 1)}")
    seen = hosts.json("show", inventory)["hosts"]
    port = containers(seen["h3"])["web3"]["interfaces"][1]["port"]
    hosts.ssh("h3", f"ip link set dev {port} nomaster")
    seen = hosts.json("show", inventory)["hosts"]
    assert rule(seen["h1"], "web1", "0.0.0.0:8080") is None
    rows = [line.split() for line in hosts.provision("show", inventory).splitlines()]
    assert ["h1", "0.0.0.0:8080", "web1", "80/tcp", "missing", "-", "-"] in rows
    assert [b["ports"] for b in seen["h3"]["bridges"] if b["bridge"] == "docker0"] == [[]]
    loose = containers(seen["h3"])["web3"]["interfaces"][1]
    assert (loose["port"], loose["bridge"]) == (port, None)
    assert f"link {port}" in hosts.provision("graph", inventory, "--limit", "h3")
