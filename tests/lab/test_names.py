"""Names of containers on booted hosts: answers, faults, events, a move, and destroy."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts, assert_same

pytestmark = pytest.mark.lab

FILE = "names.yml"
UNIT = "provision-named-blue-dns.service"
CONTAINERS = {"web": "h1", "api": "h1", "db": "h2", "cache": "h3"}
NAMES = {
    "db": "172.20.1.77",
    "DB.blue": "172.20.1.77",
    "db.blue.lab.internal": "172.20.1.77",
}
# The DNS servers of a host that has one of its own, and a domain in which it searches.
HOSTS_OWN_DNS = """
cp /etc/resolv.conf /run/resolv.conf.before
systemd-run -q --unit=hosts-dns dnsmasq -k --conf-file=/dev/null \
  --address=/corp.example/192.0.2.77 --listen-address=127.0.0.1 --bind-interfaces
printf 'nameserver 127.0.0.1\\nsearch corp.example\\n' >/etc/resolv.conf
"""
NO_HOSTS_OWN_DNS = """
systemctl stop hosts-dns; systemctl reset-failed hosts-dns 2>/dev/null
[ ! -e /run/resolv.conf.before ] || cp /run/resolv.conf.before /etc/resolv.conf
rm -f /run/resolv.conf.before
"""
# The time to live of an answer, from the last four bytes before the length and the address.
TTL = """
import socket
question = b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\2db\\0\\0\\1\\0\\1"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.settimeout(10)
    udp.sendto(question, ("172.20.0.1", 53))
    print(int.from_bytes(udp.recv(512)[-10:-6], "big"))
"""


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards the inventory that they still have is destroyed."""
    yield mixed
    power.start(mixed.lab, say=print)
    mixed.everywhere(f"{NO_HOSTS_OWN_DNS}docker rm -f other", check=False)
    if any(mixed.everywhere("ls -d /etc/provision/named", check=False).values()):
        mixed.provision("destroy", mixed.inventory(FILE), "--yes", status=None)


def lookup(hosts: Hosts, container: str, *names: str, on: str = "") -> str:
    """What `nslookup` in a container prints for some names."""
    asked = "; ".join(f"docker exec {container} nslookup {name} 2>&1" for name in names)
    return hosts.ssh(on or CONTAINERS[container], asked, check=False)


def assert_names(hosts: Hosts) -> None:
    """A container on each host finds those of the others, forwards and backwards."""
    for container in ("web", "cache"):
        text = lookup(hosts, container, *NAMES, "172.20.1.77")
        assert text.count("Address: 172.20.1.77\n") == len(NAMES), (container, text)
        assert "name = db.blue.lab.internal" in text, text
    web = hosts.ssh("h1", "docker inspect -f '{{.NetworkSettings.Networks.blue.IPAddress}}' web")
    names = ("web", "www", "www.blue", "shop.example.org")
    text = lookup(hosts, "db", *names, "missing", "missing.blue.lab.internal")
    assert text.count(f"Address: {web.strip()}\n") == len(names), text
    assert "find missing: NXDOMAIN" in text, text
    assert "find missing.blue.lab.internal: NXDOMAIN" in text, text


def assert_guest(hosts: Hosts) -> None:
    """Containers of other hosts find a guest that joined the network by itself, and its address."""
    form = "{{.NetworkSettings.Networks.blue.IPAddress}}"
    address = hosts.ssh("h2", f"docker inspect -f '{form}' other").strip()
    deadline = time.monotonic() + 30
    for container in ("web", "cache"):
        for name in ("app", "app.blue", "app.blue.lab.internal"):
            while f"Address: {address}\n" not in (text := lookup(hosts, container, name)):
                assert time.monotonic() < deadline, (container, name, text)
                time.sleep(0.5)
        assert "name = app.blue.lab.internal" in lookup(hosts, container, address)


def processes(hosts: Hosts) -> dict[str, str]:
    """The DNS server's process and the ids of the containers of each host."""
    command = f"systemctl show -p MainPID {UNIT}; docker ps -q --no-trunc --filter name=^/[wdc]"
    return hosts.everywhere(command)


def test_names_from_apply_to_destroy(clean: Hosts) -> None:
    """They survive events on all hosts, follow a container that moves, and leave nothing."""
    inventory, before = clean.inventory(FILE), clean.capture()
    clean.provision("apply", inventory)
    clean.verified(inventory)
    assert_names(clean)
    assert clean.ssh("h1", f"python3 -c '{TTL}'").strip() == "5"
    assert clean.json("apply", inventory)["changes"] == []

    clean.ssh("h3", HOSTS_OWN_DNS)
    clean.ssh("h3", "sleep 1; docker restart -t 1 cache")
    assert "Address: 192.0.2.77\n" in lookup(clean, "cache", "mail.corp.example")
    assert "(192.0.2.77)" in clean.ssh("h3", "docker exec cache ping -c 1 -W 1 mail", check=False)
    # busybox's nslookup asks in the search domain first; ping asks as the C libraries do.
    assert "(172.20.1.77)" in clean.ssh("h3", "docker exec cache ping -c 1 -W 5 db")
    clean.ssh("h3", NO_HOSTS_OWN_DNS)

    clean.everywhere("docker restart -t 1 $(docker ps -q)")
    assert_names(clean)
    clean.everywhere("systemctl restart docker")
    assert_names(clean)
    power.reboot(clean.lab, HOSTS, say=print)
    clean.verified(inventory, within_s=120)
    assert_names(clean)
    assert clean.json("plan", inventory)["changes"] == []
    assert_faults_are_told(clean, inventory)
    assert_a_move_is_followed(clean)
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())


def assert_faults_are_told(hosts: Hosts, inventory: str) -> None:
    """verify names a server that is stopped and a wrong address; apply heals both."""
    hosts.ssh("h1", f"systemctl stop {UNIT}")
    hosts_file = "/etc/provision/named/names/blue.hosts"
    hosts.ssh("h3", f"sed -i s/172.20.1.77/172.20.1.9/ {hosts_file}; systemctl reload {UNIT}")
    checks = hosts.json("verify", inventory, "--no-explain", status=7)["checks"]
    failed = {(c["check"], c["from"], c["to"]): c["detail"] for c in checks if not c["ok"]}
    assert f"{UNIT} does not run" in failed["drift", "h1", "h1"], failed
    assert f"{UNIT} does not run" in failed["name", "web", "db"], failed
    assert "hosts file" in failed["drift", "h3", "h3"], failed
    assert "db: 172.20.1.9, not 172.20.1.77" in failed["name", "cache", "db"], failed
    assert ("name", "db", "web") not in failed, failed
    hosts.provision("apply", inventory)
    hosts.verified(inventory)


def assert_a_move_is_followed(hosts: Hosts) -> None:
    """The name of a container that moves is right within 30 s, and nothing else is made anew."""
    running = processes(hosts)
    moved = hosts.inventory(FILE, ("api: {host: h1", "api: {host: h3"), to="moved.yml")
    hosts.provision("apply", moved)
    deadline = time.monotonic() + 30
    while "Address: 172.20.2." not in (text := lookup(hosts, "web", "api")):
        assert time.monotonic() < deadline, text
        time.sleep(1)
    assert "Address: 172.20.2." in lookup(hosts, "api", "api", on="h3")
    assert processes(hosts) == running
    hosts.verified(moved)


@pytest.mark.full
def test_a_program_at_port_53_is_not_touched(clean: Hosts) -> None:
    """apply refuses beside a DNS server of the user that takes all addresses, and leaves it."""
    clean.ssh("h2", "systemd-run -q --unit=hosts-dns dnsmasq -k --conf-file=/dev/null; sleep 1")
    before = clean.capture()
    inventory = clean.inventory(FILE)
    plan = clean.json("plan", inventory, status=9)
    assert [conflict["host"] for conflict in plan["conflicts"]] == ["h2"], plan
    assert "dnsmasq listens at port 53" in clean.provision("plan", inventory, status=9)
    clean.provision("apply", inventory, status=9)
    assert clean.ssh("h2", "systemctl is-active hosts-dns").strip() == "active"
    assert_same(before, clean.capture())


@pytest.mark.full
@pytest.mark.parametrize(
    "method",
    [
        "{method: vxlan, cidr: 172.20.0.0/16, names: lab.internal}",
        "{method: vxlan, mode: routed, cidr: 172.20.0.0/16, names: lab.internal}",
        "{method: ovs-gre, cidr: 172.20.0.0/16, names: lab.internal}",
        "{method: wireguard, cidr: 172.20.0.0/16, names: lab.internal}",
        "{method: ovs-vxlan, cidr: 172.20.0.0/16, names: lab.internal}",
        "{method: bgp, cidr: 172.20.0.0/16, names: lab.internal}",
        "{method: flannel, etcd: {members: [h1]}, cidr: 172.20.0.0/16, names: lab.internal}",
    ],
)
def test_names_with_every_method(clean: Hosts, method: str) -> None:
    """The server is at the gateway of each host, whatever joins the hosts, and others ask it for a
    container that joins the network by itself."""
    written = clean.inventory(FILE)
    text = (clean.lab.folder / written).read_text()
    begin, end = text.index("  blue:\n"), text.index("containers:")
    guest = "guests: {app: {host: h2, container: other, network: blue, absent: wait}}"
    text = f"{text[:begin]}  blue: {method}\n{text[end:]}{guest}\n"
    (clean.lab.folder / written).write_text(text)
    before = clean.capture()
    clean.provision("apply", written)
    assert_names(clean)
    assert clean.json("plan", written)["changes"] == []
    clean.ssh("h2", "docker run -d --name other --network blue busybox sleep 9999")
    assert_guest(clean)
    clean.verified(written, skips=["wire", "broadcast"])
    assert clean.json("plan", written)["changes"] == []
    clean.ssh("h2", "docker rm -f other")
    clean.provision("destroy", written, "--yes")
    assert_same(before, clean.capture())
