"""Method `wireguard` on booted hosts: its example, strangers, faults, NAT's callers and relays.

The lab's kernel has no WireGuard, so wireguard-go runs on all hosts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.lab import power
from tests.lab.faults import Faults
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.pings import pings
from tests.lab.pipework import failing_checks

pytestmark = pytest.mark.lab

DEVICE = "wg-priva-vfdihm"
DAEMON = "provision-safe-private-wireguard.service"
KEY = "/etc/provision/safe/wireguard/private.key"
# A complete WireGuard on h3 that knows everything but a key that h1 has in its table.
STRANGER = """
mkdir -p /run/stranger && cd /run/stranger && umask 077 && wg genkey >key
systemd-run -q --unit=stranger wireguard-go --foreground wg9
for n in $(seq 100); do wg show wg9 >/dev/null 2>&1 && break; sleep 0.1; done
wg set wg9 private-key key peer 'PEER' allowed-ips 172.26.0.0/24 \
  endpoint LAN.11:51820 persistent-keepalive 1
ip address add 172.26.2.200/32 dev wg9; ip link set wg9 up
ip route add 172.26.0.2/32 dev wg9 src 172.26.2.200
ping -c 8 -i 1 -W 1 172.26.0.2 | tail -2; wg show wg9 transfer; wg show wg9 latest-handshakes
"""
NO_STRANGER = "systemctl stop stranger; rm -rf /run/stranger; :"
# Packets of s1 to s2 leave h1 past the device.
BYPASS = (
    "ip route add 172.26.1.0/24 via LAN.12 dev eth1; iptables -I FORWARD -j ACCEPT",
    "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0;"
    "iptables -I FORWARD -j ACCEPT",
)
NO_BYPASS = (
    "ip route del 172.26.1.0/24 via LAN.12; iptables -D FORWARD -j ACCEPT",
    "sysctl -qw net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.eth1.rp_filter=2;"
    "iptables -D FORWARD -j ACCEPT",
)
PAIRS = tuple(
    (f"h{n}", f"s{n}", f"172.26.{peer - 1}.2") for n in (1, 2, 3) for peer in (1, 2, 3) if n != peer
)
EVENTS = (
    "systemctl restart docker",
    "systemctl restart systemd-networkd",
    "networkctl reconfigure eth1; networkctl reload",
    "ip link set dev eth1 down; sleep 1; ip link set dev eth1 up",
    f"systemctl kill -s KILL {DAEMON}",
    f"ip link delete dev {DEVICE}",
)
"""Events on the hosts that they must handle without the controller."""


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards the inventory that they still have is destroyed."""
    yield mixed
    power.start(mixed.lab, say=print)
    mixed.everywhere(NO_STRANGER, check=False)
    if any(mixed.everywhere("ls -d /etc/provision/safe", check=False).values()):
        mixed.provision("destroy", mixed.inventory("wireguard.yml"), "--yes", status=None)


def public_keys(hosts: Hosts) -> dict[str, str]:
    """The public key of each host's device."""
    keys = hosts.everywhere(f"wg show {DEVICE} public-key")
    return {host: key.strip() for host, key in keys.items()}


def assert_no_secret_left_its_host(hosts: Hosts, *outputs: str) -> None:
    """No private key is in an output, in the controller's files, or in a file of others."""
    keys = {host: key.strip() for host, key in hosts.everywhere(f"cat {KEY}").items()}
    assert all(len(key) == 44 for key in keys.values())
    texts = [path.read_text(errors="replace") for path in hosts.lab.folder.rglob("*.json*")]
    for host, key in keys.items():
        assert not any(key in text for text in (*outputs, *texts)), host
        assert hosts.ssh(host, f"stat -c '%U %a' {KEY}").strip() == "root 600"
        files = f"grep -rlF -e '{key}' /etc /var/lib/provision /run/systemd 2>/dev/null"
        assert hosts.ssh(host, files, check=False).split() == [KEY], host
        assert not hosts.ssh(host, f"journalctl --no-pager | grep -F -e '{key}'", check=False)


def test_the_example_from_apply_to_destroy(clean: Hosts) -> None:
    """It survives a reboot; verify reports faults of each kind, and apply heals them."""
    inventory, before = clean.inventory("wireguard.yml"), clean.capture()
    output = clean.provision("apply", inventory, "-v")
    clean.verified(inventory)
    assert clean.json("apply", inventory)["changes"] == []
    assert_no_secret_left_its_host(clean, output, clean.provision("show", inventory, "--json"))
    keys = public_keys(clean)
    power.reboot(clean.lab, HOSTS, say=print)
    clean.verified(inventory, within_s=120)
    assert public_keys(clean) == keys

    clean.everywhere(f"systemctl kill -s KILL {DAEMON}; ip link delete dev {DEVICE}; sleep 1")
    clean.verified(inventory)
    assert clean.json("plan", inventory)["changes"] == []

    assert_a_stranger_gets_nothing(clean, keys["h1"])
    lan = clean.networks[1]
    for host, command in zip(HOSTS, BYPASS, strict=False):
        clean.ssh(host, command.replace("LAN", lan))
    failing = failing_checks(clean, inventory)
    for host, command in zip(HOSTS, NO_BYPASS, strict=False):
        clean.ssh(host, command.replace("LAN", lan))
    assert ("wire", "s1", "s2") in failing, failing
    assert ("wire", "s1", "s3") not in failing, failing

    clean.ssh("h2", f"wg set {DEVICE} peer '{keys['h1']}' allowed-ips 172.26.0.0/24,172.26.9.0/24")
    clean.ssh("h2", f"wg set {DEVICE} peer '{keys['h3']}' remove")
    failing = failing_checks(clean, inventory)
    assert {("peers", "h2", "h2"), ("drift", "h2", "h2")} <= failing, failing
    assert ("ping", "s2", "s3") in failing, failing
    clean.provision("apply", inventory)
    clean.verified(inventory)
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())


def assert_a_stranger_gets_nothing(hosts: Hosts, public: str) -> None:
    """A WireGuard with a key that no host knows gets no handshake, no ping and no byte."""
    script = STRANGER.replace("PEER", public).replace("LAN", hosts.networks[1])
    answer = hosts.ssh("h3", script)
    hosts.ssh("h3", NO_STRANGER)
    transfer, handshake = answer.splitlines()[-2:]
    _, received, sent = transfer.split()
    assert received == "0" and int(sent) > 0, answer
    assert handshake.split()[1] == "0", answer
    assert " 0 received" in answer or "0 packets received" in answer, answer


@pytest.mark.full
def test_a_new_key_of_a_host_costs_each_pair_one_ping_at_most(clean: Hosts) -> None:
    """Also where each pair has a preshared key; a rotation that fails keeps the key, and pings."""
    inventory = clean.inventory("wireguard.yml", ("# psk: true", "psk: true #"))
    clean.provision("apply", inventory)
    clean.verified(inventory)
    for host in HOSTS:
        before = public_keys(clean)
        with pings(clean, PAIRS) as lost:
            clean.provision("rotate", inventory, "private", "--limit", host)
        after = public_keys(clean)
        assert [name for name in HOSTS if before[name] != after[name]] == [host]
        print(host, lost, Path("/proc/loadavg").read_text().split()[0])
        assert all(len(numbers) <= 1 for numbers in lost.values()), lost
    clean.verified(inventory)
    assert clean.json("plan", inventory)["changes"] == []
    folder = "ls /etc/provision/safe/wireguard /var/lib/provision/aside 2>/dev/null"
    files = clean.ssh("h1", folder, check=False).split()
    assert [name for name in files if name.startswith("private")] == [
        f"private.{ending}" for ending in ("conf", "key", "psk")
    ]

    # A peer that cannot save its table (it is a mount point) fails the change, after h1 has a key.
    keys, conf = public_keys(clean), KEY.replace(".key", ".conf")
    clean.ssh("h2", f"mount --bind {conf} {conf}")
    try:
        clean.provision("rotate", inventory, "private", "--limit", "h1", status=5)
    finally:
        clean.ssh("h2", f"umount {conf}")
    assert public_keys(clean) == keys
    clean.verified(inventory)
    assert clean.json("plan", inventory)["changes"] == []
    # h3 still waits for the key that was rolled back: the next rotation does not wait for that.
    clean.provision("rotate", inventory, "private", "--limit", "h1")
    assert [host for host, key in public_keys(clean).items() if key != keys[host]] == ["h1"]
    assert_a_killed_rotation_does_not_start_again(clean, inventory)
    assert_a_request_needs_all_hosts(clean, inventory)
    clean.verified(inventory)
    assert clean.json("plan", inventory)["changes"] == []


def assert_a_killed_rotation_does_not_start_again(hosts: Hosts, inventory: str) -> None:
    """Until the rollback, the follower does not load the new key, which no peer knows."""
    keys, faults = public_keys(hosts), Faults(hosts, {})
    file = faults.path("h1", KEY.removeprefix("/"))
    text = file.read_text()
    run = faults.start("rotate", inventory, "private", "--limit", "h1")
    while run.poll() is None and content(file) in ("", text):
        time.sleep(0.005)
    run.kill()
    run.wait()
    hosts.ssh("h1", "/etc/provision/safe/volatile.sh")
    assert public_keys(hosts) == keys and file.read_text() != text
    hosts.provision("apply", inventory)
    assert public_keys(hosts) == keys and file.read_text() == text
    assert hosts.json("plan", inventory)["changes"] == []


def content(file: Path) -> str:
    """The content of a file; empty if it does not exist."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


def assert_a_request_needs_all_hosts(hosts: Hosts, inventory: str) -> None:
    """A controller that was killed early may leave it."""
    keys, request = public_keys(hosts), KEY.replace(".key", ".renew")
    hosts.ssh("h1", f"umask 077; : >{request}")
    try:
        hosts.provision("apply", inventory, "--limit", "h1", status=9)
        assert public_keys(hosts) == keys
        hosts.provision("apply", inventory)
        assert [host for host, key in public_keys(hosts).items() if key != keys[host]] == ["h1"]
    finally:
        hosts.ssh("h1", f"rm -f {request}")


@pytest.mark.full
def test_callers_and_hosts_without_a_path_to_each_other(clean: Hosts) -> None:
    """h3 has no endpoint and no path to h2: it calls h1, which passes on its packets."""
    lan = clean.networks[1]
    key = f"h3: {{address: {lan}.13"
    inventory = clean.inventory(
        "wireguard.yml", (key, f"{key}, wireguard: {{endpoint: none, via: h1}}")
    )
    before = clean.capture()
    rule = "iptables -{verb} {chain} -{side} {address} -j DROP"
    blocks = {
        "h2": [("INPUT", "s", f"{lan}.13"), ("OUTPUT", "d", f"{lan}.13")],
        "h3": [("INPUT", "s", f"{lan}.12"), ("OUTPUT", "d", f"{lan}.12")],
    }
    rules = [(h, c, s, a) for h, ends in blocks.items() for c, s, a in ends]
    for host, chain, side, address in rules:
        clean.ssh(host, rule.format(verb="I", chain=chain, side=side, address=address))
    try:
        plan = clean.provision("plan", inventory)
        assert "h3 through h1" in plan, plan
        clean.provision("apply", inventory)
        clean.verified(inventory)
        assert clean.json("plan", inventory)["changes"] == []
        route = clean.ssh("h2", f"wg show {DEVICE} allowed-ips")
        assert "172.26.0.0/24 172.26.2.0/24" in route or "172.26.2.0/24 172.26.0.0/24" in route
        clean.provision("destroy", inventory, "--yes")
    finally:
        for host, chain, side, address in rules:
            clean.ssh(host, rule.format(verb="D", chain=chain, side=side, address=address))
    assert_same(before, clean.capture())


@pytest.mark.full
@pytest.mark.parametrize("event", EVENTS)
def test_the_hosts_repair_it_without_the_controller(clean: Hosts, event: str) -> None:
    """Verify passes after an event on all hosts at once, and nothing is left to apply."""
    inventory = clean.inventory("wireguard.yml")
    clean.provision("apply", inventory)
    clean.everywhere(event)
    clean.verified(inventory)
    assert clean.json("plan", inventory)["changes"] == []


@pytest.mark.full
@pytest.mark.parametrize("method", ["routes", "vxlan", "ovs-gre"])
def test_it_replaces_another_method_and_is_replaced(clean: Hosts, method: str) -> None:
    """One apply each way with the same range; destroy restores the hosts."""
    before, file = clean.capture(), "wireguard.yml"
    change = ("method: wireguard", f"method: {method}")
    for inventory in (
        clean.inventory(file, change, to="other.yml"),
        clean.inventory(file),
        clean.inventory(file, change, to="other.yml"),
    ):
        clean.provision("apply", inventory)
        clean.verified(inventory)
        assert clean.json("plan", inventory)["changes"] == []
    clean.provision("destroy", "other.yml", "--yes")
    assert_same(before, clean.capture())
