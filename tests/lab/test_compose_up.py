"""Projects that `docker compose up` starts itself, on a network of ours, on booted hosts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from tests import compose_program
from tests.lab.hosts import Hosts, assert_same

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
    program = compose_program.program()
    for host, (service, gateway) in PROJECTS.items():
        argv = (
            "ssh",
            "-F",
            str(mixed.lab.ssh_config),
            host,
            f"cat >{PROGRAM}; chmod 700 {PROGRAM}",
        )
        with program.open("rb") as file:
            subprocess.run(argv, stdin=file, check=True, timeout=180)
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
    mixed.everywhere(f"rm -rf /root/web /root/db {PROGRAM}", check=False)
    (mixed.lab.folder / FILE).unlink()


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
