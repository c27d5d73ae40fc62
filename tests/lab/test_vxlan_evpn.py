"""Method `vxlan` with `control: evpn` on booted hosts of three releases."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.pings import Pair, pings
from tests.lab.pipework import failing_checks, wait_for_output

pytestmark = pytest.mark.lab

FILE = "vxlan-evpn.yml"
UNIT, BRIDGE = "provision-fabric-lan-evpn.service", "br-lan-5nql2v"
NEIGHBOURS = f"ip -4 neighbour show dev {BRIDGE} proto 11"
KILL = f"systemctl kill -s KILL {UNIT}"
H3_TO_H1: Pair = ("h3", "e3", "172.24.0.2")
H1_TO_H2: Pair = ("h1", "e1", "172.24.1.0")
H2_TO_H3: Pair = ("h2", "e2", "172.24.2.0")
STRANGER = "vxlan9"
MAKE_STRANGER = f"""
ip link add {STRANGER} type vxlan id 9 dstport 4999 nolearning && ip link set {STRANGER} up
ip link add brvx9 type bridge && ip link set brvx9 up && ip link set {STRANGER} master brvx9
for peer in 11 12 13; do
  bridge fdb append 00:00:00:00:00:00 dev {STRANGER} dst {{network}}.$peer self permanent
  bridge fdb append 02:00:00:00:00:$peer dev {STRANGER} dst {{network}}.$peer self permanent
done
"""
"""A VXLAN device of others that is a port of a bridge, as FRR would announce it."""
STRANGERS_TABLE = f"bridge fdb show dev {STRANGER} | grep 'dst.*permanent' | sort"
EVENTS = (
    "systemctl restart docker",
    "systemctl restart systemd-networkd",
    "networkctl reconfigure eth1; networkctl reload",
    "ip link set dev eth1 down; sleep 1; ip link set dev eth1 up",
    KILL,
    "ip link del vx-lan-5nql2v; docker restart $(docker ps -q)",
    f"ip neighbour flush dev {BRIDGE} || :",  # zebra enters its own again meanwhile
)
"""Events on the hosts that they must handle without the controller."""


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards the inventory that they still have is destroyed."""
    yield mixed
    power.start(mixed.lab, say=print)
    if any(mixed.everywhere("ls -d /etc/provision/fabric", check=False).values()):
        mixed.provision("destroy", mixed.inventory(FILE), "--yes", status=None)


@pytest.fixture
def stranger(clean: Hosts) -> Iterator[Hosts]:
    """The hosts with a VXLAN device of others."""
    clean.everywhere(MAKE_STRANGER.format(network=clean.networks[1]))
    yield clean
    clean.everywhere(f"ip link del {STRANGER}; ip link del brvx9", check=False)


def await_count(hosts: Hosts, host: str, command: str, count: int, within_s: float = 60) -> None:
    """Wait until a command prints so many lines on a host."""
    begin = time.monotonic()
    while len(lines := hosts.ssh(host, command, check=False).splitlines()) != count:
        assert time.monotonic() - begin < within_s, lines
        time.sleep(0.2)


def test_the_example_from_apply_to_destroy(stranger: Hosts) -> None:
    """It survives ends of FRR and a reboot; the table of another VXLAN device never changes."""
    hosts, before = stranger, stranger.capture()
    inventory, table = hosts.inventory(FILE), hosts.everywhere(STRANGERS_TABLE)
    hosts.provision("apply", inventory)
    hosts.verified(inventory)
    assert hosts.json("apply", inventory)["changes"] == []
    (shown, *_) = hosts.json("show", inventory)["evpn"]
    assert len(shown["vteps"]) == 2 and len(shown["neighbours"]) == 6
    for event in (f"systemctl stop {UNIT}", f"systemctl start {UNIT}", KILL):
        hosts.everywhere(event)
        assert hosts.everywhere(STRANGERS_TABLE) == table, event
    hosts.verified(inventory)
    assert hosts.everywhere(STRANGERS_TABLE) == table
    assert hosts.json("plan", inventory)["changes"] == []
    hosts.provision("destroy", inventory, "--yes")
    assert_same(before, hosts.capture())
    assert hosts.everywhere(STRANGERS_TABLE) == table
    left = hosts.everywhere(
        "pgrep -a 'zebra|bgpd'; ip link show type vxlan | grep vx-", check=False
    )
    assert not any(left.values()), left


def test_the_hosts_learn_the_table_again_after_a_reboot(clean: Hosts) -> None:
    """The service starts before Docker, and the follower makes the device."""
    inventory = clean.inventory(FILE)
    clean.provision("apply", inventory)
    power.reboot(clean.lab, HOSTS, say=print)
    clean.verified(inventory, within_s=120)
    assert clean.json("plan", inventory)["changes"] == []


@pytest.mark.full
def test_a_reflector_that_is_away_costs_no_packet_of_others(clean: Hosts) -> None:
    """Its own containers reach nobody meanwhile; with both away, the hosts wait for one."""
    inventory = clean.inventory(FILE)
    clean.provision("apply", inventory)
    clean.verified(inventory)
    with pings(clean, (H2_TO_H3,)) as lost:
        clean.ssh("h1", f"systemctl stop {UNIT}")
        await_count(clean, "h3", NEIGHBOURS, 2)
        clean.ssh("h1", f"systemctl start {UNIT}")
        await_count(clean, "h3", NEIGHBOURS, 4)
    assert len(lost[H2_TO_H3]) <= 1, lost  # a loaded host may drop one
    clean.verified(inventory)
    for host in ("h1", "h2"):
        clean.ssh(host, f"systemctl stop {UNIT}")
    await_count(clean, "h3", NEIGHBOURS, 0)
    clean.ssh("h2", f"systemctl start {UNIT}")
    await_count(clean, "h3", NEIGHBOURS, 2)
    clean.ssh("h1", f"systemctl start {UNIT}")
    clean.verified(inventory)


@pytest.mark.full
def test_containers_are_announced_when_they_start_and_forgotten_when_they_stop(
    clean: Hosts,
) -> None:
    """Also one that no inventory names, and one with the same MAC on another host."""
    inventory = clean.inventory(FILE)
    clean.provision("apply", inventory)
    clean.verified(inventory)
    run = "docker run -d --name guest --network lan --mac-address 02:42:00:00:00:77 {} sleep 600"
    image = clean.ssh("h1", "docker inspect -f '{{.Config.Image}}' e1").strip()
    for host, address in (("h1", "172.24.0.77"), ("h3", "172.24.2.77")):
        clean.ssh(host, run.format(f"--ip {address} {image}"))
        wait_for_output(clean, "h2", NEIGHBOURS, f"{address} lladdr 02:42:00:00:00:77")
        clean.ssh(host, "docker rm -f guest")
        await_count(clean, "h2", f"{NEIGHBOURS} | grep {address}", 0, within_s=90)
    clean.ssh("h3", "docker stop -t 0 e3")
    for host in ("h1", "h2"):
        await_count(clean, host, f"{NEIGHBOURS} | grep '^172.24.2.0 '", 0, within_s=90)
    failing = failing_checks(clean, inventory)
    assert {("neighbours", host, host) for host in HOSTS} <= failing, failing
    clean.provision("apply", inventory, "--yes")
    clean.verified(inventory)


@pytest.mark.full
def test_bfd_and_a_password(clean: Hosts) -> None:
    """A host that falls silent is forgotten in 3 s, not 9; without the password nobody calls."""
    (clean.lab.folder / "bgp.key").write_text("CANARY!#?|\"'$x\n")
    inventory = clean.inventory(
        FILE, ("# asn: 64512", "password: {file: bgp.key} #"), ("# bfd", "bfd")
    )
    clean.provision("apply", inventory)
    clean.verified(inventory)
    call = f"timeout 3 bash -c '</dev/tcp/{clean.networks[1]}.11/179' && echo open"
    assert not clean.ssh("h3", call, check=False)
    gone = (
        f"for n in $(seq 1500); do [ $({NEIGHBOURS} | wc -l) = 2 ] && "
        "{ date +%s.%N; exit; }; sleep 0.02; done; exit 1"
    )
    silence = "sleep 2; date +%s.%N; ip link set dev eth1 down; sleep 6; ip link set dev eth1 up"
    clean.ssh("h1", f"nohup sh -c '{gone}' >/run/gone 2>&1 &")
    start = float(clean.ssh("h3", silence))
    await_count(clean, "h1", "cat /run/gone", 1)
    delay = float(clean.ssh("h1", "cat /run/gone; rm /run/gone")) - start
    assert 0 < delay < 3, delay
    clean.verified(inventory)


@pytest.mark.full
@pytest.mark.parametrize("event", EVENTS)
def test_the_hosts_repair_it_without_the_controller(clean: Hosts, event: str) -> None:
    """Verify passes after an event on all hosts at once, and nothing is left to apply."""
    inventory = clean.inventory(FILE)
    clean.provision("apply", inventory)
    clean.everywhere(event)
    clean.verified(inventory)
    assert clean.json("plan", inventory)["changes"] == []


@pytest.mark.full
@pytest.mark.parametrize(
    "change",
    [("control: evpn", "control: static"), ("method: vxlan\n    control: evpn", "method: bgp")],
)
def test_it_replaces_another_method_and_is_replaced(clean: Hosts, change: tuple[str, str]) -> None:
    """One apply each way with the same range; destroy restores the hosts."""
    before = clean.capture()
    for inventory in (
        clean.inventory(FILE, change, to="other.yml"),
        clean.inventory(FILE),
        clean.inventory(FILE, change, to="other.yml"),
        clean.inventory(FILE),
    ):
        clean.provision("apply", inventory, "--yes")
        clean.verified(inventory)
        assert clean.json("plan", inventory)["changes"] == []
    clean.provision("destroy", FILE, "--yes")
    assert_same(before, clean.capture())


@pytest.mark.full
def test_an_frr_of_others_and_a_device_with_the_same_vni_are_refused(stranger: Hosts) -> None:
    """Nothing is changed, and the message names what is in the way."""
    before = stranger.capture()
    same_vni = stranger.inventory(FILE, ("# vni: 42 ", "vni: 9 "), to="same.yml")
    result = stranger.json("apply", same_vni, "--yes", status=None)
    assert STRANGER in str(result), result
    stranger.ssh("h2", "systemctl unmask frr.service && systemctl start frr.service")
    try:
        result = stranger.json("apply", stranger.inventory(FILE), "--yes", status=None)
        assert "frr.service" in str(result), result
    finally:
        stranger.ssh("h2", "systemctl stop frr.service; systemctl mask frr.service")
    assert_same(before, stranger.capture())
