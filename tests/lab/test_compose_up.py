"""Projects that `docker compose up` starts itself, on a network of ours, on booted hosts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from tests import compose_program
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.test_compose import COMPOSE

pytestmark = pytest.mark.lab

FILE = "joined.yml"
INVENTORY = """
name: joined
hosts:
  h1: {{address: {data}.11}}
  h2: {{address: {data}.12}}
  h3: {{address: {data}.13}}
networks:
  blue: {{method: routes, cidr: 172.20.0.0/16, names: true}}
containers:
  c3: {{host: h3, network: blue}}
guests:
  web: {{host: h1, label: com.docker.compose.service=web, network: blue, absent: wait}}
  db: {{host: h2, label: com.docker.compose.service=db, network: blue, absent: wait}}
"""
SHOP = """
name: joined
hosts:
  h1: {{address: {data}.11}}
  h2: {{address: {data}.12}}
  h3: {{address: {data}.13}}
networks:
  blue: {{method: routes, cidr: 172.20.0.0/16, names: true}}
  red: {{method: vxlan, cidr: 172.21.0.0/16}}
guests:
  web: {{host: h1, label: com.docker.compose.service=web, network: blue, absent: wait}}
  front: {{host: h2, label: com.docker.compose.service=front, network: blue, absent: wait}}
  cache: {{host: h2, label: com.docker.compose.service=cache, network: blue, absent: wait}}
  db: {{host: h3, label: com.docker.compose.service=db, network: blue, absent: wait}}
  web-back: {{host: h1, label: com.docker.compose.service=web, network: red, absent: wait}}
  db-back: {{host: h3, label: com.docker.compose.service=db, network: red, absent: wait}}
"""
SERVICES = {"h1": "web api", "h2": "front cache", "h3": "db"}
PROGRAM = "/root/docker-compose"
# The gateway of the host's bridge is the DNS server of the network.
PROJECT = """
services:
  {service}:
    image: busybox
    command: sh -c 'mkdir /srv; echo {service} >/srv/name; exec httpd -f -p 80 -h /srv'
    dns: {gateway}
    stop_grace_period: 0s
"""
ON_OURS = """
networks:
  default: {name: blue, external: true}
"""
PROJECTS = {"h1": ("web", "172.20.0.1"), "h2": ("db", "172.20.1.1")}
NAMED_S = 30
"""A name that moved is right after that time; the C library of busybox asks each time."""
BACK_S = 5
"""The time after which a guest that Compose has made anew is back on the network."""
TRIES = 3
# The rules and routes in its namespace come last.
UNTIL_CONNECTED = """
for try in $(seq 300); do
  pid=$(docker inspect --format '{{.State.Pid}}' db-db-1) &&
    nsenter -t "$pid" -n ip -4 -N rule | grep -q '^32001:' && exit
  sleep 0.1
done
exit 1
"""


@pytest.fixture
def joined(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts, of which two have Compose and a project."""
    for host, (service, gateway) in PROJECTS.items():
        install(mixed, host)
        text = PROJECT.format(service=service, gateway=gateway) + ON_OURS
        mixed.ssh(
            host, f"mkdir /root/{service}; cat >/root/{service}/compose.yaml <<'END'\n{text}END"
        )
    (mixed.lab.folder / FILE).write_text(INVENTORY.format(data=mixed.networks[1]))
    yield mixed
    mixed.everywhere(
        "docker rm -f $(docker ps -aq --filter label=com.docker.compose.project)", check=False
    )
    mixed.provision("destroy", FILE, "--yes", status=None)
    mixed.everywhere(f"rm -rf /root/web /root/db /root/shop {PROGRAM}", check=False)
    (mixed.lab.folder / FILE).unlink()


def install(hosts: Hosts, host: str) -> None:
    """Copy this machine's Compose to a host."""
    command = f"cat >{PROGRAM}; chmod 700 {PROGRAM}"
    argv = ("ssh", "-F", str(hosts.lab.ssh_config), host, command)
    with compose_program.program().open("rb") as file:
        subprocess.run(argv, stdin=file, check=True, timeout=180)


def compose(hosts: Hosts, *words: str) -> None:
    """Run Compose for the project of each host."""
    for host, (service, _) in PROJECTS.items():
        hosts.ssh(host, f"cd /root/{service} && {PROGRAM} {' '.join(words)}")


def assert_reached(hosts: Hosts, host: str, container: str, name: str) -> None:
    """A program of a container gets the page of a service by its name."""
    deadline = time.monotonic() + NAMED_S
    ask = f"docker exec {container} timeout 5 wget -q -O- http://{name}/name"
    expected = f"{name.partition('.')[0]}\n"
    while (page := hosts.ssh(host, ask, check=False)) != expected:
        assert time.monotonic() < deadline, page
        time.sleep(0.5)


def test_services_of_compose_up_reach_each_other_by_name(joined: Hosts) -> None:
    """Across hosts, also after they were made anew; apply has nothing to do for it."""
    before = joined.capture()
    joined.provision("apply", FILE)
    compose(joined, "up", "--detach")
    for _ in range(2):
        assert_reached(joined, "h3", "c3", "web")
        assert_reached(joined, "h3", "c3", "db")
        assert_reached(joined, "h1", "web-web-1", "db")
        assert_reached(joined, "h2", "db-db-1", "web")
        assert_reached(joined, "h1", "web-web-1", "db.blue")
        joined.verified(FILE)
        assert joined.json("plan", FILE)["changes"] == []
        # A container before it takes the address that the service had.
        joined.ssh(
            "h2",
            "docker rm -f db-db-1; docker run -d --name first --network blue busybox sleep 9999",
        )
        compose(joined, "up", "--detach", "--force-recreate")
        joined.ssh("h2", "docker rm -f first")
    compose(joined, "down")
    joined.provision("destroy", FILE, "--yes")
    assert_same(before, joined.capture())


@pytest.mark.full
def test_a_guest_is_back_after_force_recreate(joined: Hosts) -> None:
    """Its project has a network of its own; the follower connects each new container to ours."""
    for host, (service, gateway) in PROJECTS.items():
        text = PROJECT.format(service=service, gateway=gateway)
        joined.ssh(host, f"cat >/root/{service}/compose.yaml <<'END'\n{text}END")
    compose(joined, "up", "--detach")
    before = joined.capture()
    joined.provision("apply", FILE)
    joined.verified(FILE)
    seconds: list[float] = []
    for _ in range(TRIES):
        old = joined.ssh("h2", "docker inspect --format '{{.Id}}' db-db-1")
        joined.ssh("h2", f"cd /root/db && {PROGRAM} up --detach --force-recreate")
        begin = time.monotonic()
        joined.ssh("h2", UNTIL_CONNECTED)
        seconds.append(time.monotonic() - begin)
        assert joined.ssh("h2", "docker inspect --format '{{.Id}}' db-db-1") != old
        assert_reached(joined, "h3", "c3", "db")
    print(f"back after {', '.join(f'{each:.1f} s' for each in seconds)}")
    # A machine with more work than it can do may be late once.
    assert sorted(seconds)[TRIES // 2] <= BACK_S, seconds
    joined.verified(FILE)
    assert joined.json("plan", FILE)["changes"] == []
    joined.provision("destroy", FILE, "--yes")
    assert_same(before, joined.capture())


@pytest.mark.full
def test_the_shop_of_the_inventory_by_compose_up(joined: Hosts) -> None:
    """The project that `test_compose` applies: each host starts its services of the same file."""
    default = "networks: {default: {name: blue, external: true}, back"
    text = COMPOSE.replace("networks: {back", default)
    text = text.replace(
        "  restart: unless-stopped\n", "  restart: unless-stopped\n  dns: $GATEWAY\n", 1
    )
    assert text.count("$GATEWAY") == text.count("name: blue") == 1
    install(joined, "h3")
    for k, host in enumerate(HOSTS):
        files = {"compose.yaml": text, "api.env": "NEXT=true\n", ".env": f"GATEWAY=172.20.{k}.1\n"}
        for name, content in files.items():
            path = f"/root/shop/{name}"
            joined.ssh(host, f"mkdir -p /root/shop; cat >{path} <<'END'\n{content}END")
    before = joined.capture()
    (joined.lab.folder / FILE).write_text(SHOP.format(data=joined.networks[1]))
    joined.provision("apply", FILE)
    for host, services in SERVICES.items():
        joined.ssh(host, f"cd /root/shop && {PROGRAM} up --detach {services}")
    pages_come_from_all_hosts(joined)
    # api is on the network without being a guest, and sidecar came with web.
    joined.verified(FILE, skips=["wire", "broadcast"])
    stranger = joined.json("show", FILE)["hosts"]["h1"]["guests"]
    assert {(each["container"], each["guest"]) for each in stranger} >= {
        ("shop-web-1", "web"),
        ("shop-api-1", None),
        ("shop-api-2", None),
    }
    assert joined.json("plan", FILE)["changes"] == []
    for host in SERVICES:
        joined.ssh(
            host, f"cd /root/shop && {PROGRAM} up --detach --force-recreate {SERVICES[host]}"
        )
    pages_come_from_all_hosts(joined)
    for host in SERVICES:
        joined.ssh(host, f"cd /root/shop && {PROGRAM} down --volumes")
    joined.provision("destroy", FILE, "--yes")
    assert_same(before, joined.capture())


def pages_come_from_all_hosts(hosts: Hosts) -> None:
    """The page of web has those of the three services behind it, by their names."""
    deadline, names = time.monotonic() + 60, list[str]()
    while names != ["web", "front", "db", "cache"]:
        assert time.monotonic() < deadline, names
        page = "docker exec shop-web-1 wget -q -O- http://localhost/chain"
        names = hosts.ssh("h1", page, check=False).split()
