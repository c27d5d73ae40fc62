"""Method `bgp` on booted hosts of three releases: its example, reflectors that fail, a liar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.pipework import failing_checks, wait_for_output

pytestmark = pytest.mark.lab

UNIT = "provision-mesh-core-bgp.service"
VTYSH = "vtysh -d bgpd --vty_socket /run/provision-bgp-core-ehwfnv"
REFLECTORS = ("h1", "h2")
PAIRS = (("h3", "b3", "172.27.0.2"), ("h1", "b1", "172.27.1.2"), ("h2", "b2", "172.27.2.2"))
PASSWORD = ("# asn: 64512", "password: {file: bgp.key} #")
SECRET = "CANARY!#?|\"'$x"
KILL = f"systemctl kill -s KILL {UNIT}"
PING = (
    "nsenter -t $(docker inspect -f '{{{{.State.Pid}}}}' {container}) -n "
    "ping -q -i 0.1 -c {count} -W 1 {address}"
)
# It ends as soon as the host has a session with both reflectors again.
UNTIL_SESSIONS = (
    "for n in $(seq 300); do [ $(ss -Htn state established "
    "'( sport = :179 or dport = :179 )' | wc -l) -ge {count} ] && exit; sleep 0.1; done; exit 1"
)
EVENTS = (
    "systemctl restart docker",
    "systemctl restart systemd-networkd",
    "networkctl reconfigure eth1; networkctl reload",
    "ip link set dev eth1 down; sleep 1; ip link set dev eth1 up",
    KILL,
    "ip route flush proto 186",
)
"""Events on the hosts that they must handle without the controller."""


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards the inventory that they still have is destroyed."""
    yield mixed
    power.start(mixed.lab, say=print)
    if any(mixed.everywhere("ls -d /etc/provision/mesh", check=False).values()):
        mixed.provision("destroy", mixed.inventory("bgp.yml"), "--yes", status=None)


def lost_during(hosts: Hosts, seconds: int, *events: tuple[str, str]) -> dict[str, str]:
    """The pings of PAIRS that were lost while commands ran on hosts, at once: `7 of 300`."""

    def ping(pair: tuple[str, str, str]) -> str:
        host, container, address = pair
        # Not -w: that ends at the first error that a host reports.
        command = PING.format(container=container, address=address, count=10 * seconds)
        return hosts.ssh(host, command, check=False)

    with ThreadPoolExecutor() as pool:
        pings = [pool.submit(ping, pair) for pair in PAIRS]
        for event in [pool.submit(hosts.ssh, host, command) for host, command in events]:
            event.result()
        lost = {}
        for pair, output in zip(PAIRS, (each.result() for each in pings), strict=True):
            match = re.search(r"(\d+) packets transmitted, (\d+) received", output)
            assert match is not None and int(match[1]) == 10 * seconds, output
            # A loaded host may drop one.
            if int(match[1]) - int(match[2]) > 1:
                lost[f"{pair[1]} to {pair[2]}"] = f"{match[2]} of {match[1]} came back"
    return lost


def await_sessions(hosts: Hosts) -> None:
    """Wait until every host has its sessions again, which no controller has asked for."""
    hosts.everywhere(UNTIL_SESSIONS.format(count=2))


def await_bfd(hosts: Hosts) -> None:
    """Wait until the reflectors have a session of BFD with h3 each."""
    sessions = f"{VTYSH.replace('bgpd', 'bfdd')} -c 'show bfd peers brief' | grep -c ' up ' || :"
    for host, count in (("h1", 1), ("h2", 1), ("h3", 2)):
        wait_for_output(hosts, host, sessions, f"{count}\n", within_s=60)


def assert_silence_is_noticed(hosts: Hosts) -> None:
    """h3 falls silent for 6 s, and both reflectors drop its subnet within 3 s.

    BFD needs 0.75 s, a loaded host more; without BFD it would be 9 s.
    """
    gone = (
        "for n in $(seq 1500); do ip route show 172.27.2.0/24 proto 186 | grep -q . || "
        "{ date +%s.%N; exit; }; sleep 0.02; done; exit 1"
    )
    silence = "sleep 2; date +%s.%N; ip link set dev eth1 down; sleep 6; ip link set dev eth1 up"
    with ThreadPoolExecutor() as pool:
        noticed = [pool.submit(hosts.ssh, host, gone) for host in REFLECTORS]
        start = float(hosts.ssh("h3", silence))
        delays = [float(each.result()) - start for each in noticed]
    assert all(0 < delay < 3 for delay in delays), delays


def with_password(hosts: Hosts, password: str = SECRET) -> str:
    """The example with a password; the name of its file."""
    (hosts.lab.folder / "bgp.key").write_text(f"{password}\n")
    return hosts.inventory("bgp.yml", PASSWORD)


def test_the_example_from_apply_to_destroy(clean: Hosts) -> None:
    """It survives a reboot; no packet is lost while all services end one after the other.

    A machine without the password cannot even open a connection to a reflector.
    """
    inventory, before = with_password(clean), clean.capture()
    clean.provision("apply", inventory)
    clean.verified(inventory)
    assert clean.json("apply", inventory)["changes"] == []
    call = f"timeout 3 bash -c '</dev/tcp/{clean.networks[1]}.11/179' && echo open"
    assert not clean.ssh("h3", call, check=False)
    assert clean.ssh("h1", "nstat -asz | grep '^TcpExtTCPMD5NotFound  *[1-9]'")

    stop = f"systemctl stop {UNIT}; sleep 4; systemctl start {UNIT}"
    events = [*((host, stop) for host in REFLECTORS), ("h3", f"sleep 2; {KILL}")]
    assert not lost_during(clean, 18, *events)
    # A bgpd that ends by itself may take the routes along (FRR 8.4), if zebra ends a moment later.
    ended = "systemctl show -p Result -p ExecMainStatus --value"
    stopped = clean.everywhere(f"systemctl stop {UNIT}; {ended} {UNIT}; systemctl start {UNIT}")
    assert all(set(text.split()) == {"success", "9"} for text in stopped.values()), stopped
    await_sessions(clean)
    clean.verified(inventory)

    power.reboot(clean.lab, HOSTS, say=print)
    clean.verified(inventory, within_s=120)
    assert clean.json("plan", inventory)["changes"] == []
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())
    left = clean.everywhere("pgrep -a 'zebra|bgpd'; ip route show proto 186", check=False)
    assert not any(left.values()), left


@pytest.mark.full
def test_bfd_notices_a_dead_host_and_restarts_lose_no_packet(clean: Hosts) -> None:
    """h3 falls silent, and both reflectors drop its subnet; they keep it while daemons restart."""
    inventory = clean.inventory("bgp.yml", ("# asn: 64512", "bfd: true #"))
    clean.provision("apply", inventory)
    clean.verified(inventory)
    await_bfd(clean)
    assert_silence_is_noticed(clean)
    await_sessions(clean)
    await_bfd(clean)
    clean.verified(inventory)
    stop = f"systemctl stop {UNIT}; sleep 4; systemctl start {UNIT}"
    events = [*((host, stop) for host in REFLECTORS), ("h3", f"sleep 6; {KILL}")]
    assert not lost_during(clean, 18, *events)
    clean.provision("destroy", inventory, "--yes")
    left = clean.everywhere("pgrep -a 'zebra|bgpd|bfdd'", check=False)
    assert not any(left.values()), left


@pytest.mark.full
def test_no_packet_is_lost_while_services_are_killed_or_away(clean: Hosts) -> None:
    """All at once, one after the other in each order, and both reflectors for a while."""
    inventory = clean.inventory("bgp.yml")
    clean.provision("apply", inventory)
    clean.verified(inventory)
    stop = f"systemctl stop {UNIT}; sleep 20; systemctl start {UNIT}"
    assert not lost_during(clean, 34, *((host, stop) for host in REFLECTORS))
    for delays in ((0, 0, 0), (0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)):
        await_sessions(clean)
        clean.verified(inventory)
        kills = [(host, f"sleep {s}; {KILL}") for host, s in zip(HOSTS, delays, strict=True)]
        assert not lost_during(clean, 16, *kills), delays


@pytest.mark.full
def test_a_new_password_loses_no_packet_and_another_one_is_named(clean: Hosts) -> None:
    """The password is in no argument, journal or file but those of root; h3 alone has another."""
    inventory = with_password(clean)
    clean.provision("apply", inventory)
    clean.verified(inventory)
    everywhere = (
        "grep -rla 'CAN[A]RY' /etc /root /home /tmp /var/log /var/lib/provision /run 2>/dev/null; "
        "journalctl -o export | grep -ac 'CAN[A]RY'; grep -la 'CAN[A]RY' /proc/[0-9]*/cmdline"
    )
    found = clean.everywhere(everywhere, check=False)
    for text in found.values():
        paths = [line for line in text.splitlines() if line != "0"]
        assert paths == [
            "/etc/provision/mesh/secrets/core.bgp",
            "/run/provision-bgp-core-ehwfnv/bgpd.conf",
        ]
    with_password(clean, "another")
    plan = clean.provision("plan", inventory, status=None)
    assert "password=(hidden, differs)" in plan and "another" not in plan, plan
    with ThreadPoolExecutor() as pool:
        lost = pool.submit(lost_during, clean, 30)
        clean.provision("apply", inventory, "--yes")
        assert not lost.result()
    clean.verified(inventory)
    assert clean.json("plan", inventory)["changes"] == []
    with_password(clean, "third")
    clean.provision("apply", inventory, "--yes", "--limit", "h3")
    failing = failing_checks(clean, inventory)
    assert {("sessions", host, host) for host in HOSTS} <= failing, failing
    clean.provision("apply", inventory, "--yes")
    clean.verified(inventory)


@pytest.mark.full
def test_a_host_that_left_is_named_and_a_deleted_unit_file_heals(clean: Hosts) -> None:
    """The peers' routes tell of h3; the program of the service keeps the routes from a conflict."""
    inventory = clean.inventory("bgp.yml")
    clean.provision("apply", inventory)
    clean.verified(inventory)
    entries = (f"  h3: {{address: {clean.networks[1]}.13}}\n", "  b3: {host: h3, network: core}\n")
    left = clean.inventory("bgp.yml", *((entry, "") for entry in entries), to="left.yml")
    plan = clean.provision("plan", left, status=None)
    assert "routes by BGP of hosts that are not in this file" in plan, plan
    clean.ssh("h1", f"rm /etc/systemd/system/{UNIT} && systemctl daemon-reload")
    clean.provision("apply", inventory, "--yes")
    clean.verified(inventory)


@pytest.mark.full
@pytest.mark.parametrize("strict", [False, True])
def test_a_host_that_lies_is_named_and_what_is_not_its_own_is_refused(
    clean: Hosts, strict: bool
) -> None:
    """h3 announces a default route, a range of others, a part of a subnet, and whole subnets.

    It names another next hop than itself. Only strict reflectors refuse the subnets of others.
    """
    inventory = clean.inventory("bgp.yml", *([("# asn: 64512", "strict: true #")] * strict))
    clean.provision("apply", inventory)
    clean.verified(inventory)
    before = clean.everywhere("ip -4 route show proto 186")
    of_others = ("172.27.0.0/24", "172.27.1.0/24", "172.27.77.0/24")
    lies = ("0.0.0.0/0", "10.99.0.0/24", "172.27.0.0/25", *of_others)
    data = clean.networks[1]
    commands = ["configure terminal", "no route-map announced", "route-map announced permit 10"]
    commands += [f"set ip next-hop {data}.99", "exit", "router bgp 64512"]
    commands += ["address-family ipv4 unicast", *(f"network {lie}" for lie in lies)]
    clean.ssh("h3", " ".join([VTYSH, *(f"-c '{command}'" for command in commands)]))
    for k in (11, 12):
        told = f"{VTYSH} -c 'show bgp ipv4 unicast neighbors {data}.{k} advertised-routes'"
        wait_for_output(clean, "h3", told, "172.27.77.0/24", within_s=60)
    failing = failing_checks(clean, inventory)
    assert ("subnets", "h3", "h3") in failing, failing
    named = {("subnets", host, host) for host in REFLECTORS}
    assert (failing & named) == (set() if strict else named), failing
    routes = clean.everywhere("ip -4 route show proto 186")
    for host in REFLECTORS:
        known, added = set(before[host].splitlines()), set(routes[host].splitlines())
        assert known <= added, (before, routes)
        added -= known
        assert all(line.startswith(f"172.27.77.0/24 via {data}.13 ") for line in added), routes
        assert len(added) == (0 if strict else 1), routes
    clean.ssh("h3", f"systemctl restart {UNIT}")
    clean.verified(inventory)


@pytest.mark.full
@pytest.mark.parametrize("event", EVENTS)
def test_the_hosts_repair_it_without_the_controller(clean: Hosts, event: str) -> None:
    """Verify passes after an event on all hosts at once, and nothing is left to apply."""
    inventory = clean.inventory("bgp.yml")
    clean.provision("apply", inventory)
    clean.everywhere(event)
    clean.verified(inventory)
    assert clean.json("plan", inventory)["changes"] == []


@pytest.mark.full
@pytest.mark.parametrize("method", ["routes", "vxlan", "wireguard"])
def test_it_replaces_another_method_and_is_replaced(clean: Hosts, method: str) -> None:
    """One apply each way with the same range; destroy restores the hosts."""
    before, file = clean.capture(), "bgp.yml"
    change = ("method: bgp", f"method: {method}")
    for inventory in (
        clean.inventory(file),
        clean.inventory(file, change, to="other.yml"),
        clean.inventory(file),
    ):
        clean.provision("apply", inventory, "--yes")
        clean.verified(inventory)
        assert clean.json("plan", inventory)["changes"] == []
        left = clean.everywhere("ip route show proto 186; ip route show proto 241", check=False)
        assert inventory == file or not any(left.values()), left
    clean.provision("destroy", file, "--yes")
    assert_same(before, clean.capture())


@pytest.mark.full
def test_a_host_with_an_frr_of_its_own_is_refused(clean: Hosts) -> None:
    """Nothing is changed while its service runs, also if it is not enabled."""
    inventory, before = clean.inventory("bgp.yml"), clean.capture()
    clean.ssh("h2", "systemctl unmask frr.service && systemctl start frr.service")
    try:
        plan = clean.json("plan", inventory, status=4)
        assert "frr.service" in str(plan), plan
        result = clean.json("apply", inventory, "--yes", status=None)
        assert "frr.service" in str(result), result
    finally:
        clean.ssh("h2", "systemctl stop frr.service; systemctl mask frr.service")
    assert_same(before, clean.capture())
