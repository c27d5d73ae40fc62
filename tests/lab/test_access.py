"""Access to containers on booted hosts: who comes in, who does not, faults, reboot and destroy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts, assert_same

pytestmark = pytest.mark.lab

FILE = "access.yml"
MANAGEMENT = ("tailscale0", "host0")
"""The interface of the lab hosts for SSH stands for that of a VPN."""
# h1 stands for a machine elsewhere, by addresses that only its loopback interface has.
ELSEWHERE = "ip address add 10.9.0.1/32 dev lo; ip address add 10.8.0.1/32 dev lo"
BACK = "ip route add 10.9.0.0/16 via {0}; ip route add 10.8.0.0/16 via {0}"
CLEAN = "ip address flush dev lo scope global; ip route del 10.9.0.0/16; ip route del 10.8.0.0/16"
OPENED = "iptables -I DOCKER-USER -j ACCEPT"
CLOSED = "while iptables -D DOCKER-USER -j ACCEPT 2>/dev/null; do :; done"


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards the inventories that they still have are destroyed."""
    yield mixed
    power.start(mixed.lab, say=print)
    mixed.everywhere(f"{CLEAN}; {CLOSED}; docker rm -f app", check=False)
    for name in ("open", "more"):
        if any(mixed.everywhere(f"ls -d /etc/provision/{name}", check=False).values()):
            file = FILE if name == "open" else "more.yml"
            mixed.provision("destroy", file, "--yes", status=None)


def address(hosts: Hosts, host: str, container: str) -> str:
    """The address of a container."""
    form = "'{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}'"
    return hosts.ssh(host, f"docker inspect -f {form} {container}").strip()


def checked(hosts: Hosts, inventory: str, status: int) -> list[dict[str, Any]]:
    """The checks `access` and `refused` of a verify."""
    words = ("--no-explain", "-k", "access or refused")
    checks: list[dict[str, Any]] = hosts.json("verify", inventory, *words, status=status)["checks"]
    return checks


def test_access_from_apply_to_destroy(clean: Hosts) -> None:
    """Hosts, a range and an interface come in, and nobody else; faults are told and healed."""
    inventory, before = clean.inventory(FILE, MANAGEMENT), clean.capture()
    clean.provision("apply", inventory)
    checks = clean.verified(inventory)["checks"]
    kinds = [check["check"] for check in checks]
    # Each host to the containers of the others: on one layer 2 also without the word `hosts`.
    assert (kinds.count("access"), kinds.count("refused")) == (10, 5), checks
    assert clean.json("apply", inventory)["changes"] == []
    assert_others_come_in(clean)
    assert_faults_are_told(clean, inventory)
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())


def assert_others_come_in(hosts: Hosts) -> None:
    """A range by any interface, and an interface with any source; also by Docker 28 on h3."""
    management, data = hosts.networks
    c2, c3, w3 = (address(hosts, h, c) for h, c in (("h2", "c2"), ("h3", "c3"), ("h3", "w3")))
    hosts.ssh("h1", f"{ELSEWHERE}; ip route add {w3}/32 via {management}.13")
    for host in ("h2", "h3"):
        hosts.ssh(host, BACK.format(f"{data}.11"))
    pings = {("10.9.0.1", c2): 1, ("10.9.0.1", c3): 1, ("10.8.0.1", c2): 0, ("10.8.0.1", c3): 0}
    for (source, target), answers in {**pings, ("10.8.0.1", w3): 1}.items():
        patience = "-w 10" if answers else "-W 2"
        text = hosts.ssh("h1", f"ping -c 1 {patience} -I {source} {target}", check=False)
        assert text.count(" bytes from ") == answers, text
    hosts.ssh("h1", f"ip route del {w3}/32")
    hosts.everywhere(CLEAN, check=False)


def assert_faults_are_told(hosts: Hosts, inventory: str) -> None:
    """verify names a host that lets strangers in, and one that keeps hosts out."""
    for host in ("h1", "h3"):
        hosts.ssh(host, OPENED)
    hosts.ssh("h3", "iptables -t raw -F")  # also the rules of Docker 28
    rule = "iptables -S | grep -e '-A PROV-open-blue.*/3[12] .*-j ACCEPT' | sed 's/^-A/-D/'"
    hosts.ssh("h2", f"{rule} | while read -r rule; do eval iptables $rule; done")
    failed = [check for check in checked(hosts, inventory, 7) if not check["ok"]]
    assert {(c["check"], c["from"], c["to"]) for c in failed} == {
        *(("refused", "192.0.2.77", container) for container in ("c1", "c3", "w1", "w3")),
        *(("access", host, "c2") for host in ("h1", "h3")),
    }, failed
    hosts.everywhere(CLOSED)
    hosts.provision("apply", inventory)
    hosts.ssh("h3", "docker restart -t 0 c3 w3")  # Docker makes its rules anew
    hosts.verified(inventory)


@pytest.mark.full
def test_explain_names_the_missing_entry(clean: Hosts) -> None:
    """A host that may not come in is dropped by our rule."""
    closed = clean.inventory(FILE, ("[hosts, 10.9", "[10.9"), MANAGEMENT)
    clean.provision("apply", closed)
    cause = clean.json("explain", closed, "h1", "c3", status=7)["cause"]
    assert (cause["host"], cause["owner"]) == ("h3", "provision"), cause
    assert "-j DROP" in cause["text"] and "add hosts to access of network blue" in cause["fix"]


NETWORKS = {
    "fv": "method: flannel, etcd: {client_port: 12379, peer_port: 12380}",
    "fh": "method: flannel, backend: host-gw, etcd: {client_port: 12479, peer_port: 12480}",
    "vr": "method: vxlan, mode: routed, port: 4799",
    "vx": "method: vxlan",
    "rt": "method: routes",
}
KINDS = {
    "kernel": NETWORKS,
    "wireguard and bgp": {"wg": "method: wireguard", "bg": "method: bgp"},
    # The userspace datapath takes the NIC: each of these alone on it.
    "ovs-gre": {"og": "method: ovs-gre"},
    "ovs-vxlan": {"ov": "method: ovs-vxlan"},
}
HEALED = """
for second in $(seq 60); do iptables -t raw -S PREROUTING | grep -q PROV && exit; sleep 1; done
exit 1
"""


def of_every_method(hosts: Hosts, networks: dict[str, str], members: tuple[str, ...]) -> str:
    """Write an inventory with a network of each kind and a container on each member; its name."""
    data = hosts.networks[1]
    lines = ["name: more", "hosts:"]
    lines += [f"  {host}: {{address: {data}.1{host[1]}}}" for host in HOSTS]
    lines.append("networks:")
    for number, (name, keys) in enumerate(networks.items()):
        own = f"cidr: 172.2{number}.0.0/16, hosts: [{', '.join(members)}], access: [hosts]"
        lines.append(f"  {name}: {{{keys}, {own}}}")
    lines.append("containers:")
    for name in networks:
        lines += [f"  {name}{host}: {{host: {host}, network: {name}}}" for host in members]
    (hosts.lab.folder / "more.yml").write_text("\n".join(lines) + "\n")
    return "more.yml"


def fill_checksums(hosts: Hosts, members: tuple[str, ...]) -> None:
    """Let hosts outside compute checksums, as a NIC does; Open vSwitch drops packets without."""
    for host in set(HOSTS) - set(members):
        hosts.ssh(host, "ethtool -K eth1 tx off >/dev/null")


@pytest.mark.full
@pytest.mark.parametrize("networks", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("members", [HOSTS, ("h1", "h3")], ids=["all", "one host outside"])
def test_every_method_survives_a_reboot(
    clean: Hosts, networks: dict[str, str], members: tuple[str, ...]
) -> None:
    """Hosts reach containers of each method, also from outside of the networks."""
    inventory, before = of_every_method(clean, networks, members), clean.capture()
    clean.provision("apply", inventory)
    fill_checksums(clean, members)
    checks = clean.verified(inventory)["checks"]
    kinds = [check["check"] for check in checks]
    number = len(networks) * len(members)
    assert (kinds.count("access"), kinds.count("refused")) == (2 * number, number)
    assert clean.json("apply", inventory)["changes"] == []
    power.reboot(clean.lab, HOSTS, say=print)
    fill_checksums(clean, members)
    clean.verified(inventory, within_s=120)
    assert clean.json("plan", inventory)["changes"] == []
    clean.ssh("h3", "iptables -t raw -F")
    clean.ssh("h3", HEALED)  # by the follower
    assert clean.json("plan", inventory)["changes"] == []
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())


FURTHER = """
name: more
hosts:
  h1: {{address: {data}.11}}
  h2: {{address: {data}.12}}
  h3: {{address: {data}.13}}
networks:
  blue: {{method: routes, cidr: 172.20.0.0/16}}
  red: {{method: routes, cidr: 172.21.0.0/16, access: [hosts]}}
containers:
  both: {{host: h3, network: blue, networks: [red]}}
  r1: {{host: h1, network: red}}
guests:
  app: {{host: h2, container: app, network: red}}
"""


@pytest.mark.full
def test_hosts_reach_guests_and_further_networks(clean: Hosts) -> None:
    """Answers leave by the network that was asked, although another one has the default route."""
    (clean.lab.folder / "more.yml").write_text(FURTHER.format(data=clean.networks[1]))
    before = clean.capture()
    clean.ssh("h2", "docker run -d --name app busybox sleep 9999")
    clean.provision("apply", "more.yml")
    checks = clean.verified("more.yml")["checks"]
    callers = {(each["from"], each["to"]) for each in checks if each["check"] == "access"}
    assert callers == {
        *(("h1", end) for end in ("app", "both.red")),
        *(("h2", end) for end in ("r1", "both.red")),
        *(("h3", end) for end in ("app", "r1")),
    }
    refused = {each["to"] for each in checks if each["check"] == "refused"}
    assert refused == {"app", "both.red", "r1"}
    assert clean.json("plan", "more.yml")["changes"] == []
    clean.everywhere("docker restart -t 0 $(docker ps -q)")
    clean.verified("more.yml")
    clean.provision("destroy", "more.yml", "--yes")
    clean.ssh("h2", "docker rm -f app")
    assert_same(before, clean.capture())
