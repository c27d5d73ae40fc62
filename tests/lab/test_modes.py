"""Docker's network modes and published ports on booted hosts with Docker 20.10, 26.1 and 28.5."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.selection import sampled

pytestmark = pytest.mark.lab

Failed = dict[tuple[str, str, str], str]
EXAMPLES = {
    "mode-bridge.yml": {"drift", "mode", "dnat", "port", "ping", "source", "mtu", "tcp", "udp"},
    "mode-host.yml": {"drift", "mode"},
    "mode-container.yml": {"drift", "mode", "lo", "dnat", "port"},
    "mode-none.yml": {"drift", "mode", "alone"},
    "modes.yml": {
        *("drift", "mode", "lo", "alone", "dnat", "port"),
        *("ping", "source", "mtu", "tcp", "udp", "wire", "broadcast"),
    },
}


def failed_checks(result: dict[str, Any]) -> Failed:
    """The details of the failing checks, by check, source and target."""
    return {
        (check["check"], check["from"], check["to"]): check["detail"]
        for check in result["checks"]
        if not check["ok"]
    }


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards every inventory in the lab's folder is destroyed."""
    yield mixed
    power.start(mixed.lab, say=print)
    mixed.destroy_all()


@pytest.fixture
def applied(clean: Hosts) -> tuple[Hosts, str]:
    """Three hosts with modes.yml applied, and its file name."""
    inventory = clean.inventory("modes.yml")
    clean.provision("apply", inventory)
    return clean, inventory


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_from_apply_to_destroy(clean: Hosts, example: str) -> None:
    """Verify passes, a second apply changes nothing, and destroy restores the hosts."""
    inventory = clean.inventory(example)
    before = clean.capture()
    clean.provision("apply", inventory)
    result = clean.verified(inventory, within_s=10)
    assert {check["check"] for check in result["checks"]} == EXAMPLES[example]
    assert set(clean.executions("apply", inventory).values()) == {1}
    assert clean.json("plan", inventory)["changes"] == []
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())


def test_ports_are_opened_from_every_other_host_and_container(applied: tuple[Hosts, str]) -> None:
    """TCP and UDP ports are. Only its own host reaches a port that is published on 127.0.0.1."""
    hosts, inventory = applied
    checks = hosts.verified(inventory, within_s=10)["checks"]
    callers = {(c["port"], c["to"], c["from"]) for c in checks if c["check"] == "port"}
    for port in ("8080:80/tcp", "8053:53/udp"):
        sources = {source for name, target, source in callers if (name, target) == (port, "web1")}
        assert sources == {"h2", "h3", "web2", "site", "net2", "net3"}, port
    assert {source for port, _, source in callers if port == "127.0.0.1:9090:90/tcp"} == {"h2"}


EVENTS = {
    "containers restart": "docker restart -t 0 $(docker ps -q)",
    "shared containers restart": "docker restart -t 0 $(docker ps -qf name=web1 -f name=net3)",
    "docker restarts": "systemctl restart docker",
    "the link goes down and up": "ip link set dev eth1 down; sleep 1; ip link set dev eth1 up",
}


@pytest.mark.parametrize("event", sampled(EVENTS, "docker restarts"))
def test_the_containers_survive(applied: tuple[Hosts, str], event: str) -> None:
    """The hosts repair them twice without the controller, and no container restarts in a loop."""
    hosts, inventory = applied
    for _ in range(2):
        hosts.everywhere(f"{EVENTS[event]} || true")
        hosts.verified(inventory)
    assert hosts.json("plan", inventory)["changes"] == []
    # RestartCount does not count the restarts with Docker itself; StartedAt shows them.
    started_at = "docker inspect -f '{{.State.StartedAt}}' side1"
    first = hosts.ssh("h1", started_at)
    time.sleep(4)
    assert hosts.ssh("h1", started_at) == first


def test_the_containers_survive_a_reboot_of_all_hosts(applied: tuple[Hosts, str]) -> None:
    """Containers that shared a network namespace share one again."""
    hosts, inventory = applied
    power.reboot(hosts.lab, HOSTS, say=print)
    hosts.verified(inventory, within_s=120)
    assert hosts.json("plan", inventory)["changes"] == []


def test_a_container_that_a_person_stopped_stays_stopped(applied: tuple[Hosts, str]) -> None:
    """The follower does not start a container that was stopped by hand, but apply does."""
    hosts, inventory = applied
    hosts.ssh("h1", "docker stop -t 0 side1; docker restart -t 0 net1")
    time.sleep(3)
    running = "docker inspect -f '{{.State.Running}}' side1"
    assert hosts.ssh("h1", running).strip() == "false"
    changes = hosts.json("plan", inventory)["changes"]
    assert ("container", "side1") in {(c["kind"], c["name"]) for c in changes}
    hosts.provision("apply", inventory)
    hosts.verified(inventory, within_s=10)


def test_verify_reports_a_dead_namespace_and_apply_repairs_it(applied: tuple[Hosts, str]) -> None:
    """Without the follower, side1 keeps the namespace of the container that web1 was before."""
    hosts, inventory = applied
    hosts.ssh("h1", "systemctl stop provision-modes-follow; docker restart -t 0 web1")
    failed = failed_checks(hosts.json("verify", inventory, status=7))
    assert "not that of container web1" in failed["mode", "side1", "side1"]
    assert ("lo", "side1", "web1") in failed
    kinds = {(c["kind"], c["name"]) for c in hosts.json("plan", inventory)["changes"]}
    unit = ("systemd_unit", "provision-modes-follow.service")
    assert kinds == {("shared_namespace", "side1"), unit}
    hosts.provision("apply", inventory)
    hosts.verified(inventory, within_s=10)


def test_a_changed_field_replaces_only_its_container(applied: tuple[Hosts, str]) -> None:
    """The plan shows the replacement, and every other container keeps its id."""
    hosts, _ = applied
    ids = "docker ps -a --no-trunc --format '{{.Names}} {{.ID}}'"
    before = dict(line.split() for line in hosts.ssh("h1", ids).splitlines())
    changed = hosts.inventory("modes.yml", ("ROLE: client", "ROLE: server"), to="changed.yml")
    (change,) = hosts.json("plan", changed)["changes"]
    assert (change["verb"], change["name"]) == ("replace", "net1")
    assert change["disruption"] == "container net1 stops and a new one starts"
    hosts.provision("apply", changed)
    after = dict(line.split() for line in hosts.ssh("h1", ids).splitlines())
    assert {name for name in before if before[name] != after[name]} == {"net1"}
    assert hosts.ssh("h1", "docker exec net1 env | grep ROLE").strip() == "ROLE=server"
    hosts.verified(changed, within_s=10)


def test_verify_reports_a_deleted_dnat_rule(applied: tuple[Hosts, str]) -> None:
    """No other check fails, because Docker's userland proxy still serves the port."""
    hosts, inventory = applied
    hosts.ssh("h1", "iptables -t nat -D DOCKER $(iptables -t nat -S DOCKER | sed -n "
              "'s/^-A DOCKER \\(.*--dport 8080 .*\\)/\\1/p')")  # fmt: skip
    failed = failed_checks(hosts.json("verify", inventory, status=7))
    assert list(failed) == [("dnat", "h1", "web1")]
    assert "no DNAT rule forwards 8080:80/tcp to web1" in failed["dnat", "h1", "web1"]
    hosts.ssh("h1", "docker restart -t 0 web1")
    hosts.verified(inventory)


def test_verify_reports_a_veth_without_its_bridge(applied: tuple[Hosts, str]) -> None:
    """The check names the host's end of the veth; other failures are of this container only."""
    hosts, inventory = applied
    link = hosts.ssh(
        "h2",
        "pid=$(docker inspect -f '{{.State.Pid}}' web2); "
        "index=$(nsenter -t $pid -n ip -o link show dev eth0 | sed 's/.*@if\\([0-9]*\\):.*/\\1/'); "
        'ip -o link | sed -n "s/^$index: \\([^@]*\\)@.*/\\1/p"',
    ).strip()
    hosts.damage("h2", f"ip link set dev {link} nomaster")
    failed = failed_checks(hosts.json("verify", inventory, status=7))
    expected = f"{link}, the host's end of its eth0, is not a port of docker0"
    assert failed["mode", "web2", "web2"] == expected
    # The drift of its host names the container, too.
    assert "web2" in failed.pop(("drift", "h2", "h2")), failed
    assert all("web2" in key for key in failed), failed
    hosts.ssh("h2", "docker restart -t 0 web2")
    hosts.verified(inventory)


# By container: its host, the mode in which a person creates it again, and the detail of `mode`.
OTHER_MODES = {
    "own2": ("h2", "bridge", "its network namespace is one of its own, not the host's"),
    "web2": ("h2", "host", "its network namespace is the host's, not one of its own"),
    "net2": ("h2", "none", "it has no interface but lo, so none on"),
    "side1": (
        "h1",
        "bridge",
        "its network namespace is one of its own, not that of container web1",
    ),
    "bare1": ("h1", "bridge", "it has an interface besides lo: eth0"),
    "bare2": ("h2", "container:web2", "its network namespace is that of container web2"),
}


@pytest.mark.parametrize("container", sampled(OTHER_MODES, "own2", "side1"))
def test_verify_reports_another_mode(applied: tuple[Hosts, str], container: str) -> None:
    """Verify judges a container that a person created again by its network namespace."""
    hosts, inventory = applied
    host, mode, detail = OTHER_MODES[container]
    create = f"docker run -d --name {container} --network {mode} busybox sleep 1000"
    hosts.ssh(host, f"docker rm -f {container} && {create}")
    try:
        failed = failed_checks(hosts.json("verify", inventory, status=7))
        assert detail in failed["mode", container, container]
        assert [key for key in failed if key[0] == "mode"] == [("mode", container, container)]
        assert f"container {container} exists outside this inventory" in failed["drift", host, host]
    finally:
        hosts.ssh(host, f"docker rm -f {container}")
    hosts.provision("apply", inventory)
    hosts.verified(inventory)


MACS = """
name: macs
hosts: {h1: {address: LAN.11}, h2: {address: LAN.12}, h3: {address: LAN.13}}
networks: {blue: {method: routes, cidr: 172.20.0.0/16}}
containers:
  c1: {host: h1, network: blue, address: 172.20.0.9, mac: "02:42:ac:14:00:71"}
  c2: {host: h2, network: blue, address: 172.20.1.9, mac: "02:42:ac:14:00:72"}
  c3: {host: h3, network: blue, address: 172.20.2.9, mac: "02:42:ac:14:00:73"}
"""
CONTAINER = "c$(hostname | tr -dc 0-9)"
RECONNECT = f"""c={CONTAINER} a=172.20.$(($(hostname | tr -dc 0-9) - 1)).9; %s
docker network disconnect blue $c; docker network connect --ip $a blue $c"""
FORGETFUL = {"h1", "h3"}
"""Hosts with Docker 25 or newer; 20.10 gives a container its MAC again by itself."""


@pytest.mark.full
def test_a_container_gets_its_mac_again(clean: Hosts) -> None:
    """Somebody connects it again, also while it is stopped, or a rollback makes its network."""
    (clean.lab.folder / "macs.yml").write_text(MACS.replace("LAN", clean.networks[1]))
    wanted = {host: f"02:42:ac:14:00:7{host[1]}\n" for host in HOSTS}
    address = f"docker exec {CONTAINER} sh -c 'cat /sys/class/net/eth*/address'"
    clean.provision("apply", "macs.yml")
    assert clean.everywhere(address) == wanted
    for state in (":", "docker stop -t 0 $c"):
        clean.everywhere(RECONNECT % state)
        changes = clean.json("plan", "macs.yml")["changes"]
        differing = FORGETFUL if state == ":" else set(HOSTS)
        assert {(c["host"], c["kind"]) for c in changes} == {(h, "container") for h in differing}
        clean.provision("apply", "macs.yml", "--yes")
        assert clean.everywhere(address) == wanted
        assert clean.json("plan", "macs.yml")["changes"] == []

    text = (clean.lab.folder / "macs.yml").read_text()
    (clean.lab.folder / "macs.yml").write_text(text.replace("/16}", "/16, mtu: 1400}"))
    clean.provision("apply", "macs.yml", "--manual", "--yes")
    ended = clean.json("recover", "macs.yml", "--yes", status=None)["hosts"]
    now = clean.everywhere(address)
    assert {host for host in HOSTS if now[host] != wanted[host]} <= FORGETFUL
    for host in HOSTS:
        assert ("reverted" in ended[host]) == (now[host] == wanted[host]), ended
    (clean.lab.folder / "macs.yml").write_text(text)
    clean.provision("apply", "macs.yml", "--yes")
    assert clean.everywhere(address) == wanted
    assert clean.json("plan", "macs.yml")["changes"] == []
