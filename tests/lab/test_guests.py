"""Guests: containers that plain Docker makes, on networks of ours, on three booted hosts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from provision.lab import power
from tests.lab.hosts import Hosts, assert_same

pytestmark = pytest.mark.lab

INVENTORY = """
name: hosting
hosts:
  h1: {{address: {data}.11}}
  h2: {{address: {data}.12}}
  h3: {{address: {data}.13}}
networks:
  blue: {{method: routes, cidr: 172.20.0.0/16{names}}}
  red: {{method: vxlan, cidr: 172.21.0.0/16, hosts: [h1, h2]}}
containers:
  c1: {{host: h1, network: blue}}
  c3: {{host: h3, network: blue, ports: ["8081:80"]}}
guests:
  shop: {{host: h1, container: shop-web-1, network: blue}}
  db: {{host: h2, label: com.docker.compose.service=db, network: blue, address: 172.20.1.200}}
  red-shop: {{host: h1, container: shop-web-1, network: red}}
  red-db: {{host: h2, label: com.docker.compose.service=db, network: red}}
  later: {{host: h3, container: joined, network: blue, absent: wait}}
"""
SHOP = """docker run -d --name shop-web-1 --network shop_default -p 8080:80 busybox \
  sh -c 'mkdir /w; echo shop >/w/index.html; exec httpd -f -p 80 -h /w'"""
DB = """docker run -d --name {} --network zeta --label com.docker.compose.service=db busybox \
  sleep infinity"""
# Ranges of their own: Docker would choose those of the inventory after some tests.
MAKE = {
    "h1": f"docker network create --subnet 10.213.7.0/24 shop_default; {SHOP}",
    "h2": f"docker network create --subnet 10.213.8.0/24 zeta; {DB.format('shop-db-1')}",
}
NETWORKS = "docker inspect --format '{{json .NetworkSettings.Networks}}'"
STATE = "docker inspect --format '{{.Id}} {{.State.StartedAt}} {{.RestartCount}}'"
GUESTS = "$(docker ps -q --filter name=shop)"
RECONNECTED_S = 30
NAMED_S = 30


@pytest.fixture
def hosting(mixed: Hosts) -> Iterator[tuple[Hosts, str]]:
    """Three hosts with containers of others, and an inventory in which these are guests."""
    name = "guests.yml"
    write(mixed, name, names=", names: true")
    for host, command in MAKE.items():
        mixed.ssh(host, command)
    yield mixed, name
    power.start(mixed.lab, say=print)
    mixed.everywhere("docker rm -f $(docker ps -aq)", check=False)
    mixed.provision("destroy", name, "--yes", status=None)
    mixed.everywhere("docker network prune -f", check=False)
    (mixed.lab.folder / name).unlink()


def write(hosts: Hosts, name: str, *, names: str) -> None:
    """Write the inventory; `names` are further keys of its network."""
    text = INVENTORY.format(data=hosts.networks[1], names=names)
    (hosts.lab.folder / name).write_text(text)


def assert_named(
    hosts: Hosts, guest: str, host: str, container: str, *, asker: tuple[str, str] = ("h3", "c3")
) -> None:
    """A container finds a guest by the names that it has in the inventory, and by its address."""
    address = networks(hosts, host, container)["blue"]["IPAddress"]
    deadline = time.monotonic() + NAMED_S
    # Docker answers for addresses of its own host, by its own name of the container.
    reverse = {address: f"name = {guest}.blue"} if asker[0] != host else {}
    forward = dict.fromkeys((f"{guest}.blue", guest), f"Address: {address}\n")
    for name, answer in (forward | reverse).items():
        ask = f"docker exec {asker[1]} nslookup {name} 2>&1"
        while answer not in (text := hosts.ssh(asker[0], ask, check=False)):
            assert time.monotonic() < deadline, text
            time.sleep(0.5)


def networks(hosts: Hosts, host: str, container: str) -> dict[str, Any]:
    """A container's ends in Docker networks, by network."""
    ends: dict[str, Any] = json.loads(hosts.ssh(host, f"{NETWORKS} {container}"))
    return ends


def reconnected_s(hosts: Hosts, host: str, container: str) -> float:
    """The seconds until a container is on the network again."""
    begin = time.monotonic()
    while "blue" not in networks(hosts, host, container):
        assert time.monotonic() - begin < RECONNECTED_S
        time.sleep(0.2)
    return time.monotonic() - begin


def page(hosts: Hosts) -> str:
    """The page that the guest of h1 publishes at its host, as another host reads it."""
    request = r"printf 'GET / HTTP/1.0\r\n\r\n' >&3; timeout 5 cat <&3"
    return hosts.ssh("h2", f'bash -c "exec 3<>/dev/tcp/{hosts.networks[1]}.11/8080; {request}"')


def refused(hosts: Hosts, name: str, old: str, new: str) -> str:
    """What `plan` prints about the inventory with a change that it refuses."""
    text = (hosts.lab.folder / name).read_text()
    assert old in text
    (hosts.lab.folder / "refused.yml").write_text(text.replace(old, new))
    return json.dumps(hosts.json("plan", "refused.yml", status=4))


def test_guests_from_apply_to_destroy(hosting: tuple[Hosts, str]) -> None:
    """They reach containers of other hosts, come back when they are made anew, and stay running."""
    hosts, name = hosting
    text = refused(hosts, name, "shop-web-1, network: blue", "shop-web-2, network: blue")
    assert "refused.yml:14:3: guest shop: h1 has no container shop-web-2" in text
    assert "did you mean shop-web-1?" in text
    before = hosts.capture()
    started = {host: hosts.ssh(host, f"{STATE} {GUESTS}") for host in ("h1", "h2")}
    hosts.provision("apply", name)
    assert hosts.json("plan", name)["changes"] == []
    assert networks(hosts, "h2", "shop-db-1")["blue"]["IPAddress"] == "172.20.1.200"
    assert "shop" in page(hosts)
    assert_named(hosts, "shop", "h1", "shop-web-1")
    assert_named(hosts, "db", "h2", "shop-db-1")

    # A guest that joins the network by itself, and a container that stands in no file.
    sleeping = "--network blue busybox sleep infinity"
    hosts.ssh("h3", f"docker run -d --name joined {sleeping}")
    hosts.ssh("h1", f"docker run -d --name stranger {sleeping}")
    # Docker has chosen its address, and the follower has told its host's DNS server.
    assert_named(hosts, "later", "h3", "joined", asker=("h1", "c1"))
    assert_named(hosts, "later", "h3", "joined")
    # Made anew with another address.
    hosts.ssh("h3", f"docker rm -f joined; docker run -d --name first {sleeping}")
    hosts.ssh("h3", f"docker run -d --name joined {sleeping}; docker rm -f first")
    assert_named(hosts, "later", "h3", "joined", asker=("h1", "c1"))
    assert hosts.json("plan", name)["changes"] == []
    result = hosts.verified(name, skips=["wire"])
    pairs = {(check["from"], check["to"]) for check in result["checks"] if check["check"] == "ping"}
    callers = {check["from"] for check in result["checks"] if check["check"] == "port"}
    assert callers >= {"shop", "db", "h1", "h2"}
    segments = ({"c1", "c3", "shop", "db", "later"}, {"red-shop", "red-db"})
    assert pairs == {(a, b) for members in segments for a in members for b in members if a != b}
    result = hosts.json("verify", name, "--all")
    assert "stranger" in {check["from"] for check in result["checks"] if check["check"] == "port"}
    pairs = {(check["from"], check["to"]) for check in result["checks"] if check["check"] == "ping"}
    assert ("stranger", "db") in pairs
    assert ("shop", "stranger") in pairs
    shown = hosts.json("show", name)["hosts"]
    assert [(m["container"], m["guest"]) for m in shown["h1"]["guests"]] == [
        ("shop-web-1", "shop"),
        ("shop-web-1", "red-shop"),
        ("stranger", None),
    ]
    drawing = hosts.provision("graph", name)
    assert "guest db, on blue" in drawing
    assert "not declared, on blue" in drawing
    assert hosts.json("explain", name, "shop", "db")["reached"]

    # As Compose does it: the new container is made before the old one is removed.
    hosts.ssh("h1", f"docker rm -f shop-web-1; {SHOP}")
    hosts.ssh("h2", f"{DB.format('new')}; docker rm -f shop-db-1; docker rename new shop-db-1")
    hosts.ssh("h2", "docker restart -t 0 shop-db-1")
    print("h1:", reconnected_s(hosts, "h1", "shop-web-1"), "s")
    print("h2:", reconnected_s(hosts, "h2", "shop-db-1"), "s")
    hosts.verified(name, skips=["wire"])
    assert hosts.json("plan", name)["changes"] == []
    assert "shop" in page(hosts)
    assert_named(hosts, "shop", "h1", "shop-web-1")

    # What others connected keeps the network: destroy names it, and the command that helps.
    assert "docker network disconnect blue joined" in json.dumps(
        hosts.json("destroy", name, "--yes", status=9)
    )
    hosts.ssh("h3", "docker rm -f joined")
    hosts.ssh("h1", "docker rm -f stranger")
    running = {host: hosts.ssh(host, f"{STATE} {GUESTS}") for host in ("h1", "h2")}
    assert running["h1"] != started["h1"]
    hosts.provision("destroy", name, "--yes")
    assert running == {host: hosts.ssh(host, f"{STATE} {GUESTS}") for host in running}
    assert set(networks(hosts, "h1", "shop-web-1")) == {"shop_default"}
    assert set(networks(hosts, "h2", "shop-db-1")) == {"zeta"}
    enter = "nsenter -t $(docker inspect --format '{{.State.Pid}}' shop-web-1) -n"
    assert "240" not in hosts.ssh("h1", f"{enter} ip rule")
    assert "shop" in page(hosts)
    assert_same(before, hosts.capture())


@pytest.mark.full
def test_guests_that_have_lost_their_claims_are_ours(hosting: tuple[Hosts, str]) -> None:
    """`apply` leaves them connected, and `destroy` disconnects them before it removes networks."""
    hosts, name = hosting
    before = hosts.capture()
    hosts.provision("apply", name)
    ends = networks(hosts, "h1", "shop-web-1")
    hosts.ssh("h1", "rm -rf /etc/provision")
    plan = hosts.provision("plan", name)
    assert plan.count("shop is ours, damaged: its claim /etc/provision/hosting/guests/") == 2, plan
    hosts.provision("apply", name)
    assert hosts.json("plan", name)["changes"] == []
    assert networks(hosts, "h1", "shop-web-1") == ends
    hosts.everywhere("rm -rf /etc/provision")
    hosts.provision("destroy", name, "--yes")
    assert set(networks(hosts, "h1", "shop-web-1")) == {"shop_default"}
    assert set(networks(hosts, "h2", "shop-db-1")) == {"zeta"}
    assert_same(before, hosts.capture())


@pytest.mark.full
def test_guests_after_a_reboot(hosting: tuple[Hosts, str]) -> None:
    """Docker starts a guest with its networks; the follower gives it its routes again."""
    hosts, name = hosting
    write(hosts, name, names="")
    hosts.provision("apply", name)
    hosts.ssh(
        "h3",
        "docker run -d --restart unless-stopped --name joined --network blue busybox sleep 9999",
    )
    hosts.everywhere("docker update --restart unless-stopped $(docker ps -q)")
    hosts.verified(name)
    power.reboot(hosts.lab, ("h1", "h2", "h3"), say=print)
    hosts.verified(name, within_s=120)
    assert hosts.json("plan", name)["changes"] == []


@pytest.mark.full
def test_a_guest_that_was_disconnected_gets_its_routes_again(hosting: tuple[Hosts, str]) -> None:
    """On one layer 2 nothing but the table of its rule tells that its interface is another one."""
    hosts, name = hosting
    path = hosts.lab.folder / name
    shop = "red-shop: {host: h1, container: shop-web-1, network: red"
    text = path.read_text()
    assert shop in text
    path.write_text(text.replace(shop, f"{shop}, address: 172.21.0.200"))
    hosts.provision("apply", name)
    enter = "nsenter -t $(docker inspect --format '{{.State.Pid}}' shop-web-1) -n ip -4 -N"
    rules = f"{enter} rule | sed -n 's/.*from 172.21.0.200 lookup \\([0-9]*\\).*/\\1/p'"
    (before,) = hosts.ssh("h1", rules).split()
    hosts.damage("h1", "docker network disconnect red shop-web-1")
    hosts.provision("apply", name, "--yes")
    (table,) = hosts.ssh("h1", rules).split()
    assert table != before
    assert "default via 172.21.0.1 " in hosts.ssh("h1", f"{enter} route show table {table}")
    assert hosts.json("plan", name)["changes"] == []


@pytest.mark.full
def test_guests_that_stop_leave_or_double(hosting: tuple[Hosts, str]) -> None:
    """A warning while one is stopped or absent, and an error while a label matches two."""
    hosts, name = hosting
    hosts.provision("apply", name)
    hosts.ssh("h3", "docker run -d --name joined --network blue busybox sleep 9999")
    hosts.verified(name, skips=["wire"])
    hosts.ssh("h1", "docker stop -t 0 shop-web-1")
    assert_warned(hosts, name, "container shop-web-1 does not run")
    failed = hosts.json("verify", name, "--no-explain", status=7)["checks"]
    assert {"shop"} <= {end for c in failed if not c["ok"] for end in (c["from"], c["to"])}
    hosts.ssh("h1", "docker start shop-web-1")
    hosts.verified(name, skips=["wire"])
    assert_named(hosts, "shop", "h1", "shop-web-1")

    hosts.ssh("h2", "docker rm -f shop-db-1")
    assert_warned(hosts, name, "h2 has no container with the label")
    hosts.provision("apply", name)
    hosts.ssh("h2", DB.format("shop-db-1"))
    print("h2:", reconnected_s(hosts, "h2", "shop-db-1"), "s")
    hosts.verified(name, skips=["wire"])

    hosts.ssh("h2", DB.format("second"))
    text = json.dumps(hosts.json("plan", name, status=4))
    assert "matches 2 on h2" in text and f"{name}:15:3: guest db" in text, text
    time.sleep(5)
    assert set(networks(hosts, "h2", "second")) == {"zeta"}
    hosts.ssh("h2", "docker rm -f second")
    hosts.verified(name, skips=["wire"])
    assert hosts.json("plan", name)["changes"] == []


def assert_warned(hosts: Hosts, name: str, text: str) -> None:
    """The plan has nothing to change, and a warning."""
    assert hosts.json("plan", name)["changes"] == []
    warnings = hosts.warnings("plan", name)
    assert text in warnings, warnings
