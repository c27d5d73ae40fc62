"""`show` and `graph` on booted hosts agree with the hosts' own commands."""

from __future__ import annotations

import ipaddress
import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from tests import graph_paths
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
    """Three hosts with containers of each network mode and published ports."""
    hosts = booted("mixed")
    target = hosts.lab.folder / "look.yml"
    target.write_text(INVENTORY.replace("10.78.0.", f"{hosts.networks[1]}."))
    hosts.provision("apply", target.name)
    yield hosts, target.name
    hosts.provision("destroy", target.name, "--yes")


def containers(host: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The containers of a host in the JSON of `show`, by name."""
    return {container["container"]: container for container in host["containers"]}


def ports(host: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The ports of a host's bridges, by `bridge/port`."""
    return {f"{b['bridge']}/{p['port']}": p for b in host["bridges"] for p in b["ports"]}


def dnat_rule(host: dict[str, Any], container: str, published: str) -> Any:
    """The DNAT rule of a published port of a container; None if it is missing."""
    port = (container, published)
    (entry,) = [p for p in host["ports"] if (p["container"], p["published"]) == port]
    return entry["rule"]


def graph(hosts: Hosts, inventory: str, name: str, *options: str) -> str:
    """The text that `graph -o NAME` writes."""
    hosts.provision("graph", inventory, "-o", name, *options)
    return (hosts.lab.folder / name).read_text()


def test_a_graph_has_the_results_of_verify(mixed: Hosts) -> None:
    """A container fails in it if a host's missing route cuts it off, and so does that host.

    The first test of this file, because the others keep a network of the same range.
    """
    inventory = mixed.inventory("routes.yml")
    verified = mixed.lab.folder / "verified.json"
    mixed.provision("apply", inventory)
    try:
        verified.write_text(mixed.provision("verify", inventory, "--json"))
        passed = graph(mixed, inventory, "g.txt", "--verify", verified.name)
        mixed.damage("h1", "ip route del 172.20.1.0/24")
        verified.write_text(mixed.provision("verify", inventory, "--json", status=7))
        failed = graph(mixed, inventory, "g.txt", "--verify", verified.name)
        drawing = graph(mixed, inventory, "g.svg", "--verify", verified.name)
    finally:
        mixed.provision("destroy", inventory, "--yes")
    assert passed.count("[ok]") == 6 and "[failed]" not in passed
    lines = {line.split()[0]: line for line in failed.splitlines() if line.startswith("h")}
    assert lines["h1"].endswith("[failed]") and lines["h2"].endswith("[ok]")
    by_name = {
        name: line
        for line in failed.splitlines()
        for name in ("c1", "c2", "c3")
        if f" {name} (" in line
    }
    assert by_name["c1"].endswith("[failed]") and by_name["c2"].endswith("[failed]")
    assert by_name["c3"].endswith("[ok]")
    assert 'class="container failed"' in drawing
    assert 'class="container ok"' in drawing


CUTS = {
    "ovs-gre": "ovs-vsctl del-port $(ovs-vsctl list-ports {bridge} | grep ^gre-h2)",
    "ovs-vxlan": "ovs-vsctl del-port $(ovs-vsctl list-ports {bridge} | grep ^vxl-h2)",
    "routes": "ip route del {subnet}",
    "routes-docker0": "ip route del {subnet}",
    "vxlan": "dev=$(ls /sys/class/net | grep ^vx-); bridge fdb show dev $dev | grep 'dst {peer} ' |"
             " while read -r mac _; do bridge fdb del $mac dev $dev dst {peer}; done",
    "flannel-vxlan": "bridge fdb show dev flannel.1 | grep 'dst {peer} ' |"
                     " while read -r mac _; do bridge fdb del $mac dev flannel.1 dst {peer}; done",
    "flannel-docker0": "ip route del {subnet}",
    "flannel-host-gw": "ip route del {subnet}",
    "flannel-udp": "systemctl stop $(systemctl list-units -q --plain 'provision-*flanneld*' |"
                   " cut -d' ' -f1)",
    "wireguard": "dev=$(ls /sys/class/net | grep ^wg-);"
                 " wg set $dev peer $(wg show $dev allowed-ips | grep {subnet} | cut -f1) remove",
    # systemd-networkd would make the NIC a port again.
    "pipework": "systemctl stop 'systemd-networkd*'; ip link set dev eth1 nomaster",
    "pipework-ovs": "ovs-vsctl del-port eth1",
}  # fmt: skip
"""Commands on h1 that cut its containers off from those of h2, by example.

{bridge}: the bridge of Open vSwitch with the tunnels; {subnet} and {peer}: of h2.
"""
DEFAULT = ("ovs-gre", "vxlan")
"""Examples of a tunnel that the kernel does not know, and of one that it has."""


@pytest.mark.parametrize(
    "example",
    [e if e in DEFAULT else pytest.param(e, marks=pytest.mark.full) for e in CUTS],
)
def test_a_graph_connects_what_verify_found_reachable(mixed: Hosts, example: str) -> None:
    """And not what a cut has disconnected, though everything else is as before."""
    inventory = mixed.inventory(f"{example}.yml")
    mixed.provision("apply", inventory)
    try:
        checks = mixed.verified(inventory)["checks"]
        drawn = mixed.json("graph", inventory)
        names = {node["name"] for node in drawn["nodes"] if node["kind"] == "container"}
        # The checks of a LAN name interfaces: o1/eth1.
        pairs = {
            (check["from"].split("/")[0], check["to"].split("/")[0])
            for check in checks
            if check["check"] in REACHED
        }
        pairs = {pair for pair in pairs if names.issuperset(pair) and pair[0] != pair[1]}
        assert len(pairs) >= 6
        for source, target in pairs:
            assert graph_paths.path(drawn, source, target), (source, target, drawn)
        assert all(edge["up"] for edge in drawn["edges"])
        lans = {node["name"] for node in drawn["nodes"] if node["kind"] == "lan"}
        assert lans == {f"{network}.0/24" for network in mixed.networks}
        (source, target) = cut(mixed, example, drawn)
        assert not graph_paths.path(mixed.json("graph", inventory), source, target)
    finally:
        mixed.ssh("h1", "systemctl start systemd-networkd")
        mixed.provision("destroy", inventory, "--yes")


REACHED = ("ping", "arp")
"""Checks from one container to another that succeed if the other one answers."""


def cut(hosts: Hosts, example: str, drawn: dict[str, Any]) -> tuple[str, str]:
    """Cut a container of h1 off from one of h2; their names."""
    nodes = drawn["nodes"]
    first, second = (
        next(n for n in nodes if n["kind"] == "container" and n["host"] == host)
        for host in ("h1", "h2")
    )
    tunnels = [n["name"] for n in nodes if n["kind"] == "bridge" and n["name"].startswith("ov-")]
    subnet = ipaddress.ip_interface(second["addresses"][0]).network
    values = {"bridge": tunnels[0] if tunnels else "", "subnet": subnet}
    command = CUTS[example].format(**values, peer=f"{hosts.networks[1]}.12")
    # The follower would end the cut at the next event.
    hosts.damage("h1", f"systemctl stop 'provision-*-follow.service'; {command}")
    return first["name"], second["name"]


def test_show_agrees_with_the_hosts(applied: tuple[Hosts, str]) -> None:
    """Bridge ports, namespaces, addresses and modes are those that ip and docker print."""
    hosts, inventory = applied
    shown = hosts.json("show", inventory)["hosts"]
    assert tuple(shown) == HOSTS
    for name, host in shown.items():
        links = json.loads(hosts.ssh(name, "ip -j link show type veth"))
        masters = {f"{link['master']}/{link['ifname']}" for link in links if "master" in link}
        assert set(ports(host)) == masters
        assert all(port["container"] and port["interface"] for port in ports(host).values())
        assert str(host["namespace"]) in hosts.ssh(name, "readlink /proc/1/ns/net")
        for container in containers(host).values():
            quoted = shlex.quote(container["container"])
            pid = hosts.ssh(name, f"docker inspect -f '{{{{.State.Pid}}}}' {quoted}").strip()
            output = hosts.ssh(
                name, f"readlink /proc/{pid}/ns/net; nsenter -t {pid} -n ip -br -4 addr"
            )
            assert str(container["namespace"]) in output
            for link in container["interfaces"]:
                assert all(address in output for address in link["addresses"]), output
                if link["port"]:
                    interface = ports(host)[f"{link['bridge']}/{link['port']}"]["interface"]
                    assert interface == link["interface"]
    modes = {
        n: (c["mode"], c["namespace_of"]) for h in shown.values() for n, c in containers(h).items()
    }
    assert modes == {
        "web1": ("bridge", "own"), "web2": ("bridge", "own"), "web3": ("bridge", "own"),
        "side1": ("container:web1", "web1"), "own2": ("host", "host"), "bare3": ("none", "own"),
        "net1": ("blue", "own"), "net2": ("blue", "own"), "net3": ("blue", "own"),
    }  # fmt: skip
    bare = containers(shown["h3"])["bare3"]
    assert [link["interface"] for link in bare["interfaces"]] == ["lo"] and bare["routes"] == []
    gateways = [
        route["via"]
        for route in containers(shown["h1"])["net1"]["routes"]
        if route["to"] == "default"
    ]
    assert gateways == ["172.20.0.1"]


def test_the_counters_of_used_ports_grow(applied: tuple[Hosts, str]) -> None:
    """On all three versions of Docker; the counter of an unused port stays 0."""
    hosts, inventory = applied
    before = hosts.json("show", inventory)["hosts"]
    for client, server in (("h1", "h2"), ("h2", "h3"), ("h3", "h1")):
        address = f"{hosts.networks[1]}.1{server[1]}"
        request = 'printf "GET /hostname HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3'
        reply = hosts.ssh(client, f"bash -c 'exec 3<>/dev/tcp/{address}/8080; {request}'")
        assert "200 OK" in reply, reply
    after = hosts.json("show", inventory)["hosts"]
    for number, host in enumerate(HOSTS, 1):
        old, new = (
            dnat_rule(shown[host], f"web{number}", "0.0.0.0:8080") for shown in (before, after)
        )
        assert new["packets"] > old["packets"] and new["bytes"] > old["bytes"]
    unused = [dnat_rule(shown["h1"], "web1", "0.0.0.0:53") for shown in (before, after)]
    assert [rule["packets"] for rule in unused] == [0, 0]


def test_show_and_graph_change_nothing(applied: tuple[Hosts, str]) -> None:
    """Each needs one SSH execution per host."""
    hosts, inventory = applied
    before = hosts.capture()
    for verb in ("show", "graph"):
        assert hosts.executions(verb, inventory) == dict.fromkeys(HOSTS, 1)
    assert hosts.capture() == before
    assert hosts.json("plan", inventory)["changes"] == []


def test_every_format_of_the_graph_is_complete(applied: tuple[Hosts, str]) -> None:
    """Each has all containers, bridges, NICs and addresses, and a foreign tunnel device."""
    hosts, inventory = applied
    hosts.ssh("h3", "ip link add name vx7 type vxlan id 7 dev eth1 dstport 4789 && "
                    "ip link set dev vx7 master docker0 up")  # fmt: skip
    try:
        graphs = {
            name: graph(hosts, inventory, name) for name in ("g.svg", "g.dot", "g.mmd", "g.txt")
        }
    finally:
        hosts.ssh("h3", "ip link del dev vx7")
    root = ElementTree.fromstring(graphs["g.svg"])
    text_nodes = root.iter("{http://www.w3.org/2000/svg}text")
    drawing = " ".join(node.text or "" for node in text_nodes)
    names = ("web1", "web2", "web3", "side1", "own2", "bare3", "net1", "net2", "net3")
    for name in (*names, "docker0", "eth1", "172.20.0.9/24", f"{hosts.networks[1]}.12/24"):
        assert name in drawing
        assert all(name in text for text in graphs.values()), name
    assert "tunnel vx7 (vxlan)" in graphs["g.txt"] and "vx7 (vxlan)" in drawing
    assert hosts.provision("graph", inventory) in graphs["g.txt"].replace(
        "│  ├─ tunnel vx7 (vxlan)\n", ""
    )


def test_hosts_without_ssh_or_docker_are_shown_as_far_as_possible(
    applied: tuple[Hosts, str],
) -> None:
    """An unreachable host is an error (4); a host with Docker stopped is shown with its links."""
    hosts, inventory = applied
    lost = hosts.lab.folder / "lost.yml"
    text = (hosts.lab.folder / inventory).read_text()
    lost.write_text(
        text.replace("networks:", f"  h9: {{address: {hosts.networks[1]}.99}}\nnetworks:")
    )
    hosts.ssh("h2", "systemctl stop docker.socket docker.service")
    try:
        shown = hosts.json("show", lost.name, status=4)
        drawing = hosts.provision("graph", lost.name, status=4)
        (drift,) = (
            check for check in hosts.json("verify", inventory, "-k", "drift", status=7)["checks"]
            if not check["ok"]
        )  # fmt: skip
    finally:
        hosts.ssh("h2", "systemctl start docker.socket docker.service")
    assert drift["from"] == "h2" and "cannot be compared: dockerd does not" in drift["detail"]
    assert "missing" not in drift["detail"]
    assert tuple(shown["hosts"]) == HOSTS
    assert [error["host"] for error in shown["errors"]] == ["h9"]
    assert shown["hosts"]["h2"]["undocked"] == "Docker's daemon does not answer"
    assert shown["hosts"]["h2"]["containers"] == []
    assert any(link["interface"] == "eth1" for link in shown["hosts"]["h2"]["interfaces"])
    assert f"h2 {hosts.networks[1]}.12: Docker's daemon does not answer" in drawing
    assert f"h9 {hosts.networks[1]}.99: " in drawing


def test_show_reports_a_missing_dnat_rule_and_a_veth_without_its_bridge(
    applied: tuple[Hosts, str],
) -> None:
    """The rule is shown as missing, and the veth without a bridge in `show` and `graph`."""
    hosts, inventory = applied
    text = hosts.ssh("h1", "iptables -t nat -S DOCKER")
    line = next(line for line in text.splitlines() if "--dport 8080 " in line)
    hosts.ssh("h1", f"iptables -t nat {line.replace('-A', '-D', 1)}")
    shown = hosts.json("show", inventory)["hosts"]
    port = containers(shown["h3"])["web3"]["interfaces"][1]["port"]
    hosts.damage("h3", f"ip link set dev {port} nomaster")
    shown = hosts.json("show", inventory)["hosts"]
    assert dnat_rule(shown["h1"], "web1", "0.0.0.0:8080") is None
    rows = [line.split() for line in hosts.provision("show", inventory).splitlines()]
    assert ["h1", "0.0.0.0:8080", "web1", "80/tcp", "missing", "-", "-"] in rows
    assert [b["ports"] for b in shown["h3"]["bridges"] if b["bridge"] == "docker0"] == [[]]
    interface = containers(shown["h3"])["web3"]["interfaces"][1]
    assert (interface["port"], interface["bridge"]) == (port, None)
    assert f"link {port}" in hosts.provision("graph", inventory, "--limit", "h3")
