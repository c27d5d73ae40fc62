"""Method `pipework` on booted hosts: bridges, interfaces of containers, VLANs, whole NICs."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from provision.lab import power
from tests.lab.conftest import Hosts
from tests.lab.test_routes import assert_same

pytestmark = pytest.mark.lab

HOSTS = ("h1", "h2", "h3")
FOLLOW_S = 5.0
"""The promise: an interface is there within so many seconds of its container's start."""

# What the common capture leaves out, and a NIC that was a port must have again.
NIC = r"""
ip -o -6 address | grep -v -e veth -e docker0 | awk '{print $2, $4}' | sort
ip -6 route | grep -v -e veth -e docker0 | sort; cat /etc/resolv.conf
ip -d link show dev eth1 | grep -o -e 'mtu [0-9]*' -e 'link/ether [0-9a-f:]*' -e promiscuity.[0-9]*
cat /proc/sys/net/ipv4/conf/eth1/arp_notify
ip route show table 100
systemctl is-enabled openvswitch-switch; systemctl is-active openvswitch-switch
"""

# What a host may have on its NIC beside one address, as systemd-networkd's words.
MORE_ON_NIC = """[Network]
Address=fd00:77::11/64
[Route]
Destination=10.9.0.0/16
Gateway=LAN.254
Metric=77
[Route]
Gateway=LAN.254
Table=100
PreferredSource=LAN.11
"""


def nics(hosts: Hosts) -> dict[str, str]:
    """How the NIC of each host is."""
    return {host: hosts.ssh(host, NIC, check=False) for host in HOSTS}


def verified(hosts: Hosts, inventory: str, *, within_s: float = 60) -> dict[str, Any]:
    """`verify` passes, at the latest after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while True:
        result: dict[str, Any] = hosts.json("verify", inventory, status=None)
        if result.get("ok") or time.monotonic() > deadline:
            break
        time.sleep(1)
    failed = [check for check in result.get("checks", ()) if not check["ok"]]
    assert result.get("ok"), (failed, result.get("drift"), result.get("errors"))
    assert not any(check["skipped"] for check in result["checks"])
    return result


def failing(hosts: Hosts, inventory: str) -> set[tuple[str, str, str]]:
    """The checks of `verify` that fail now."""
    result = hosts.json("verify", inventory, status=7)
    return {(c["check"], c["from"], c["to"]) for c in result["checks"] if not c["ok"]}


@contextmanager
def pinging(address: str) -> Iterator[Callable[[], float]]:
    """A ping each 5 ms; the call gives the longest gap in milliseconds, once it is over."""
    argv = ("ping", "-D", "-O", "-i", "0.005", address)
    ping = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    gaps: list[float] = []
    yield lambda: max(gaps)
    time.sleep(0.5)
    ping.terminate()
    said, _ = ping.communicate(timeout=10)
    times = [float(word) for word in re.findall(r"^\[([\d.]+)\] \d+ bytes", said, re.M)]
    gaps += [(b - a) * 1000 for a, b in pairwise(times)]


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts on which nothing of ours is, before and after."""
    yield mixed
    power.start(mixed.place, say=print)
    for name in Path(mixed.place.folder).glob("*.yml"):
        mixed.provision("destroy", name.name, "--yes", status=None)
        name.unlink()
    mixed.everywhere("docker ps -aq | xargs -r docker rm -f")


@contextmanager
def more_on_the_nic(hosts: Hosts) -> Iterator[None]:
    """h1's eth1 has an IPv6 address, a route with a metric, and one in a table of its own."""
    files = hosts.ssh("h1", "cd /etc/systemd/network && grep -l '^Name=eth1' *.network")
    folder = f"/etc/systemd/network/{files.split()[0]}.d"
    text = MORE_ON_NIC.replace("LAN", hosts.networks[1])
    hosts.ssh("h1", f"mkdir {folder} && cat >{folder}/more.conf <<'X'\n{text}X")
    hosts.ssh("h1", "systemctl restart systemd-networkd")  # which then remembers nothing else
    _answers(hosts, "h1", "ip -6 address show dev eth1; ip route", "fd00:77::11/64")
    _answers(hosts, "h1", "ip route", "10.9.0.0/16")
    try:
        yield
    finally:
        hosts.provision("destroy", "pipework.yml", "--yes", status=None)
        hosts.ssh("h1", f"rm -r {folder}; ip -6 address flush dev eth1 scope global")
        hosts.ssh("h1", "ip route flush table 100; ip route flush 10.9.0.0/16")
        hosts.ssh("h1", "systemctl restart systemd-networkd")


def _has_more(hosts: Hosts, link: str) -> None:
    """All of `MORE_ON_NIC` is on this link, and answers."""
    lan = hosts.networks[1]
    assert "fd00:77::11/64" in hosts.ssh("h1", f"ip -6 address show dev {link}")
    assert f"10.9.0.0/16 via {lan}.254 dev {link}" in (routes := hosts.ssh("h1", "ip route"))
    assert "metric 77" in routes
    other = hosts.ssh("h1", "ip route show table 100")
    assert f"default via {lan}.254 dev {link}" in other and f"src {lan}.11" in other


def _follows(hosts: Hosts) -> None:
    """A container has its interface within 5 s of its start, whoever starts it."""
    anew = "docker rm -f bare1 && docker run -d --name bare1 --restart always"
    anew += " --network none busybox sleep 3600"
    for event in ("docker restart -t 0 bare1", anew, "systemctl restart docker"):
        hosts.ssh("h1", event)
        began = time.monotonic()
        while "10." not in hosts.ssh("h1", "docker exec bare1 ip address", check=False):
            assert time.monotonic() - began < FOLLOW_S, event
            time.sleep(0.2)
        wanted = f"default via {hosts.networks[1]}.254 dev eth1"
        assert wanted in hosts.ssh("h1", "docker exec bare1 ip route")


def test_the_example_from_apply_to_destroy(clean: Hosts) -> None:
    """Apply, verify, reboot all, verify, restart containers, verify, destroy: as it was."""
    inventory = clean.inventory("pipework.yml")
    with more_on_the_nic(clean):
        before, cables = clean.capture(), nics(clean)
        done = clean.json("apply", inventory)
        assert set(done["hosts"].values()) <= {"changed", "confirmed"}
        _has_more(clean, "bri0")
        seen = {check["check"] for check in verified(clean, inventory)["checks"]}
        assert {"arp", "link", "size", "duplicate", "host", "mode", "drift"} <= seen
        assert clean.json("apply", inventory)["changes"] == []
        assert clean.executions("apply", inventory) == dict.fromkeys(HOSTS, 1)

        power.reboot(clean.place, HOSTS, say=print)
        verified(clean, inventory)
        _has_more(clean, "bri0")

        clean.everywhere("docker restart -t 0 $(docker ps -q)")
        verified(clean, inventory, within_s=FOLLOW_S)
        _follows(clean)

        clean.ssh("h1", "docker rm -f bare1")
        clean.provision("destroy", inventory, "--yes")
        assert_same(before, clean.capture())
        assert_same(cables, nics(clean))
        _has_more(clean, "eth1")


# What is broken on purpose: where, what `ip` is told, what it is told afterwards, and which checks
# see it.
BREAKS = {
    "a second owner": (
        "h2",
        "address add LAN.243/32 dev bri0",
        "address delete LAN.243/32 dev bri0",
        {("duplicate", "bare3/eth1", "bare3/eth1"), ("arp", "h1", "bare3/eth1")},
    ),
    "a second router": (
        "h2",
        "address add LAN.254/32 dev bri0",
        "address delete LAN.254/32 dev bri0",
        {("arp", "bare1/eth1", "gateway"), ("arp", "h1", "gateway")},
    ),
    "a smaller port": (
        "h2",
        "link set dev $(ip -br link | grep -o '^pw-[^@]*') mtu 1400",
        "link set dev $(ip -br link | grep -o '^pw-[^@]*') mtu 1500",
        {("size", "h1", "bare2/lan0"), ("size", "bare2/lan0", "bare1/eth1")},
    ),
    "a lost route": (
        "h1",
        "route delete 10.9.0.0/16",
        "route add 10.9.0.0/16 via LAN.254 metric 77 proto static",
        {("host", "h1", "h1")},
    ),
    "a lost address": (
        "h1",
        "address delete fd00:77::11/64 dev bri0",
        "address add fd00:77::11/64 dev bri0 nodad",
        {("host", "h1", "h1")},
    ),
}


@pytest.mark.full
def test_verify_sees_what_is_broken(clean: Hosts) -> None:
    """Owners, router, MTU, the host's address, route, DNS, a lost port: each by its own check."""
    inventory, lan = clean.inventory("pipework.yml"), clean.networks[1]
    with more_on_the_nic(clean):
        clean.ssh("h1", "echo nameserver 192.0.2.53 >>/etc/resolv.conf")
        clean.provision("apply", inventory)
        verified(clean, inventory)
        for what, (host, wrong, right, checks) in BREAKS.items():
            clean.ssh(host, f"ip {wrong}".replace("LAN", lan))
            found = failing(clean, inventory)
            assert checks <= found, (what, found)
            clean.ssh(host, f"ip {right}".replace("LAN", lan))
            verified(clean, inventory)

        clean.ssh("h3", "ip link set dev $(ip -br link | grep -o '^pw-[^@]*') nomaster")
        found = failing(clean, inventory)
        assert ("drift", "h3", "h3") in found and ("link", "h1", "bare3/eth1") in found
        changes = clean.json("plan", inventory)["changes"]
        assert [(c["host"], c["kind"], c["name"]) for c in changes] == [
            ("h3", "attachment", "bare3/eth1")
        ]
        clean.provision("apply", inventory)

        gone = "grep -v 192.0.2.53 /etc/resolv.conf >/run/dns; cp /run/dns /etc/resolv.conf"
        clean.ssh("h1", gone)
        assert {one[:2] for one in failing(clean, inventory)} == {("host", "h1")}
        clean.provision("destroy", inventory, "--yes")


VARIANTS = {
    "veth": ("    # host_port: veth             #", "    host_port: veth               #"),
    "docker0": ("    # docker0: replace            #", "    docker0: replace              #"),
    "the host is the router": ("    gateway: 10.78.0.254          #", "    #"),
    "stp": ("    # stp: true", "    stp: true"),
}


@pytest.mark.full
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_from_apply_to_destroy(clean: Hosts, variant: str) -> None:
    """The same with one key more; after a reboot, too."""
    old, new = (text.replace("10.78.0.", f"{clean.networks[1]}.") for text in VARIANTS[variant])
    inventory = clean.inventory("pipework.yml", (old, new))
    before, cables = clean.capture(), nics(clean)
    clean.provision("apply", inventory)
    verified(clean, inventory, within_s=90)
    assert clean.json("apply", inventory)["changes"] == []
    power.reboot(clean.place, HOSTS, say=print)
    verified(clean, inventory, within_s=90)
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())
    assert_same(cables, nics(clean))


@pytest.mark.full
def test_the_nic_moves_without_a_gap_and_a_batch_that_fails_is_undone(clean: Hosts) -> None:
    """One batch a move: at most 50 ms of silence, and as before where its third line fails."""
    inventory = clean.inventory("pipework.yml")
    address = f"{clean.networks[1]}.11"
    # Stops the one batch that takes addresses off the NIC after its second line, as `ip` does at
    # a line that fails.
    clean.ssh("h1", f"cat >/usr/local/sbin/ip <<'X'\n{FAILING}X\nchmod +x /usr/local/sbin/ip")
    cables = nics(clean)
    try:
        clean.provision("apply", inventory, status=None)
        assert "third line" in clean.ssh("h1", "cat /run/ip-failed")
        assert nics(clean)["h1"] == cables["h1"]
        assert f"{address}/24" in clean.ssh("h1", "ip -br address show dev eth1")
    finally:
        clean.ssh("h1", "rm -f /usr/local/sbin/ip /run/ip-failed")
    for _ in range(3):  # other work on this machine makes gaps of its own
        with pinging(address) as there:
            clean.provision("apply", inventory)
        verified(clean, inventory)
        with pinging(address) as back:
            clean.provision("destroy", inventory, "--yes")
        if there() <= 50 and back() <= 50:
            break
    assert there() <= 50 and back() <= 50, (there(), back())


FAILING = r"""#!/bin/sh
if [ "$*" = "-batch -" ]; then
  lines=$(cat)
  case $lines in *"master bri0"*"address delete"*)
    printf '%s\n' "$lines" | head -n 2 | /usr/sbin/ip -batch -
    echo 'the third line fails' | tee /run/ip-failed >&2
    exit 1
  esac
  printf '%s\n' "$lines" | exec /usr/sbin/ip -batch -
fi
exec /usr/sbin/ip "$@"
"""


@pytest.mark.full
def test_a_whole_nic_comes_home_before_its_namespace_dies(clean: Hosts) -> None:
    """The lab's NICs are veths: one that was not moved out would be gone for good."""
    target = clean.place.folder / "nic.yml"
    lan = clean.networks[1]
    target.write_text(WHOLE.replace("10.78.0.", f"{lan}."))
    before, cables = clean.capture(), nics(clean)
    clean.provision("apply", target.name)
    assert clean.json("plan", target.name)["changes"] == []
    clean.ssh("h1", f"ping -c1 -W2 {lan}.243")
    for event in ("docker restart -t 0 whole", "docker kill whole; docker start whole"):
        clean.ssh("h3", event)
        _answers(clean, "h3", "docker exec whole ip address show dev lan0", f"{lan}.243/24")
    clean.ssh("h3", "docker stop -t 0 whole")
    _answers(clean, "h3", "ip -br address show dev eth1", f"{lan}.13/24")
    clean.ssh("h3", "docker start whole")
    _answers(clean, "h3", "docker exec whole ip address show dev lan0", f"{lan}.243/24")
    power.reboot(clean.place, ("h3",), say=print)
    _answers(clean, "h3", "docker exec whole ip address show dev lan0", f"{lan}.243/24", 60)
    clean.provision("destroy", target.name, "--yes")
    assert_same(before, clean.capture())
    assert_same(cables, nics(clean))


WHOLE = """
name: whole
hosts: {h1: {address: 10.78.0.11}, h3: {address: 10.78.0.13}}
containers:
  whole:
    host: h3
    network: none
    interfaces:
    - {nic: eth1, name: lan0, address: 10.78.0.243/24, mtu: 1400, mac: "02:00:00:00:00:77"}
"""


def _answers(
    hosts: Hosts, host: str, command: str, wanted: str, within_s: float = FOLLOW_S
) -> None:
    began = time.monotonic()
    while wanted not in (said := hosts.ssh(host, command, check=False)):
        assert time.monotonic() - began < within_s, (command, said)
        time.sleep(0.2)


@pytest.mark.full
def test_macvlans_routes_and_rules_from_apply_to_destroy(clean: Hosts) -> None:
    """Both families, tables and rules, beside Docker's own interface and its default route."""
    target = clean.place.folder / "more.yml"
    management, lan = clean.networks
    target.write_text(MORE.replace("10.77.0.", f"{management}.").replace("10.78.0.", f"{lan}."))
    before = clean.capture()
    clean.provision("apply", target.name)
    assert clean.json("plan", target.name)["changes"] == []
    ruled = clean.ssh("h1", "nsenter -t $(docker inspect -f '{{.State.Pid}}' ruled) -n ip rule")
    assert f"from {lan}.241 lookup 100" in ruled
    clean.ssh("h1", "docker restart -t 0 ruled; docker restart -t 0 mac1")
    clean.ssh("h2", "docker restart -t 0 mac2")
    _answers(clean, "h2", f"docker exec mac2 ping -c1 -W1 {management}.241", "ttl=64")
    began = time.monotonic()
    while clean.json("plan", target.name)["changes"]:
        assert time.monotonic() - began < FOLLOW_S
    # Without its own interface a container has Docker's default route again.
    target.write_text(target.read_text().replace(f"gateway: {management}.254", "mtu: 1400"))
    clean.provision("apply", target.name)
    assert "via 172.17.0.1" in clean.ssh("h2", "docker exec mac2 ip route")
    clean.provision("destroy", target.name, "--yes")
    assert_same(before, clean.capture())


MORE = """
name: more
hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}
networks:
  lan: {method: pipework, cidr: 10.78.0.0/24}
containers:
  ruled:
    host: h1
    network: none
    interfaces:
    - network: lan
      address: 10.78.0.241/24
      routes: [{to: default, via: 10.78.0.254, table: 100}]
      rules: [{source: 10.78.0.241/32, table: 100, priority: 1000}]
    - network: lan
      addresses: ["fd00:78::241/64"]
      gateway6: "fd00:78::1"
      rules: [{source: "fd00:78::241/128", table: 101, priority: 1001}]
      mtu: 1400
  mac1: {host: h1, network: none, interfaces: [{macvlan: host0, address: 10.77.0.241/24}]}
  mac2:
    host: h2
    network: bridge
    interfaces: [{macvlan: host0, address: 10.77.0.242/24, gateway: 10.77.0.254}]
"""


def test_vlans_from_apply_to_destroy(clean: Hosts) -> None:
    """VLANs that do not hear each other, by Open vSwitch, which did not run before."""
    inventory = clean.inventory("pipework-vlan.yml")
    before, cables = clean.capture(), nics(clean)
    clean.provision("apply", inventory)
    assert "apart" in {check["check"] for check in verified(clean, inventory)["checks"]}
    assert clean.executions("apply", inventory) == dict.fromkeys(HOSTS, 1)
    assert "vlan 10" in _on_the_wire(clean)
    power.reboot(clean.place, HOSTS, say=print)
    verified(clean, inventory)
    clean.everywhere("docker restart -t 0 $(docker ps -q)")
    verified(clean, inventory, within_s=FOLLOW_S)
    # A port that lost its tag hears the others.
    clean.ssh("h1", "ovs-vsctl clear port $(ovs-vsctl list-ports ovsbr0 | grep pw-red1) tag")
    wrong = failing(clean, inventory)
    assert ("apart", "red1/eth1", "plain2/eth1") in wrong
    assert ("drift", "h1", "h1") in wrong
    clean.provision("apply", inventory)
    verified(clean, inventory)
    clean.provision("destroy", inventory, "--yes")
    assert_same(_without_database(before), _without_database(clean.capture()))
    assert_same(cables, nics(clean))


def _on_the_wire(hosts: Hosts) -> str:
    """What h2's NIC carries while red1 asks for red2: seen beside Open vSwitch."""
    sniff = "timeout 10 tcpdump -eni eth1 -c 2 vlan 2>&1"
    with ThreadPoolExecutor() as pool:
        seen = pool.submit(hosts.ssh, "h2", sniff, check=False)
        hosts.ssh("h1", "sleep 1; docker exec red1 ping -c 3 192.168.10.2")
        return seen.result()


@pytest.mark.full
def test_open_vswitch_that_ran_before_runs_on(clean: Hosts) -> None:
    """Its own service and others' bridges stay; a bridge of others is never taken."""
    start = "systemctl -q unmask openvswitch-switch; systemctl -q enable --now openvswitch-switch"
    clean.everywhere(
        start + " 2>&1; ovs-vsctl add-br other -- set bridge other datapath_type=netdev"
    )
    try:
        taken = clean.inventory("pipework-ovs.yml", ("bridge: ovsbr0", "bridge: other"))
        said = clean.json("apply", taken, status=None)["errors"]
        assert any(
            "lan_bridge_ovs other exists outside this inventory" in e["message"] for e in said
        ), said
        inventory = clean.inventory("pipework-ovs.yml")
        clean.provision("apply", inventory)
        verified(clean, inventory)
        clean.everywhere("systemctl restart openvswitch-switch")
        verified(clean, inventory)
        clean.provision("destroy", inventory, "--yes")
        assert set(clean.everywhere("ovs-vsctl list-br").values()) == {"other\n"}
    finally:
        clean.everywhere(
            "ovs-vsctl del-br other; systemctl -q disable --now openvswitch-switch 2>&1"
        )
        clean.everywhere(
            "rm -f /var/lib/openvswitch/* /etc/openvswitch/system-id.conf", check=False
        )
        clean.everywhere("systemctl -q mask openvswitch-switch", check=False)


def _without_database(captures: dict[str, str]) -> dict[str, str]:
    """Open vSwitch counts what it does in its own database."""
    return {
        host: "\n".join(line for line in text.splitlines() if "/openvswitch/" not in line)
        for host, text in captures.items()
    }


NETPLAN = "/run/systemd/network/01-netplan-eth1.network"
OWNERS = {  # how a NIC comes to another owner, how it comes back, and what is said
    "h1": ("mkdir -p /run/network && echo eth1=eth1 >/run/network/ifstate", "rm -r /run/network",
           "eth1 belongs to ifupdown and systemd-networkd at once"),
    "h2": ("mkdir -p /run/systemd/network && sed 's/^LLDP=/#/' "
           "$(grep -l '^Name=eth1' /etc/systemd/network/*.network | head -n 1)"
           f" >{NETPLAN} && networkctl reload && networkctl reconfigure eth1 && sleep 1",
           f"rm {NETPLAN} && networkctl reload && networkctl reconfigure eth1 && sleep 1",
           "eth1 belongs to netplan"),
    "h3": ("mkdir -p /run/NetworkManager/devices && printf '[device]\\nmanaged=true\\n' "
           ">/run/NetworkManager/devices/$(cat /sys/class/net/eth1/ifindex)",
           "rm -r /run/NetworkManager",
           "eth1 belongs to NetworkManager and systemd-networkd at once"),
}  # fmt: skip
OTHERS = {  # the same of what else forbids it
    "h1": ("ip link add name br9 type bridge && ip link set dev eth1 master br9",
           "ip link delete dev br9", "eth1 is a port of br9 already"),
    "h2": ("ip tuntap add name t9 mode tun && ip link set dev t9 up && "
           "ip address add LAN.12/24 dev t9 && ip address delete LAN.12/24 dev eth1",
           "ip link delete dev t9; ip address add LAN.12/24 broadcast + dev eth1",
           "t9 is no Ethernet link and cannot be a port"),
}  # fmt: skip


def test_hosts_that_cannot_are_refused_before_any_change(clean: Hosts) -> None:
    """By what the hosts themselves say: another owner, a port already, an address that is taken."""
    lan = clean.networks[1]
    before = clean.capture()
    inventory = clean.inventory("pipework.yml")
    for cases in (OWNERS, OTHERS):
        for host, (wrong, _, _) in cases.items():
            clean.ssh(host, wrong.replace("LAN", lan))
        said = [error["message"] for error in clean.json("apply", inventory, status=4)["errors"]]
        for host, (_, right, words) in cases.items():
            clean.ssh(host, right.replace("LAN", lan))
            assert any(words.replace("LAN", lan) in text for text in said), (words, said)

    one = clean.inventory(
        "pipework.yml", (f"h2: {{address: {lan}.12", f"h2: {{nic: eth9, address: {lan}.12")
    )
    clean.ssh("h3", f"ip address add {lan}.225/32 dev host0")
    said = [error["message"] for error in clean.json("apply", one, status=4)["errors"]]
    clean.ssh("h3", f"ip address delete {lan}.225/32 dev host0")
    assert any("it has no NIC eth9" in text for text in said)
    assert any(f"holds {lan}.225, which is in use on the LAN" in text for text in said)
    tagged = clean.inventory("pipework-vlan.yml", (", kind: ovs, bridge: ovsbr0", ""))
    said = [error["message"] for error in clean.json("apply", tagged, status=4)["errors"]]
    assert any("keeps no VLANs apart" in text for text in said)
    assert_same(before, clean.capture())


def _over_management(hosts: Hosts, *changes: tuple[str, str]) -> str:
    """The example on the NIC by which SSH comes in, in the lab's folder."""
    management, lan = hosts.networks
    text = (hosts.place.folder / hosts.inventory("pipework.yml")).read_text()
    text = text.replace(f"{lan}.", f"{management}.").replace("name: lan\n", "name: mgmt\n", 1)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    (hosts.place.folder / "management.yml").write_text(text)
    return "management.yml"


def _silences(done: dict[str, Any]) -> dict[str, int]:
    """The longest silence of each host that moved a NIC, in milliseconds, as `apply` reports it."""
    notes = {change["host"]: change["note"] for change in done["changes"] if change["note"]}
    found = {host: re.search(r"silence to \S+: (\d+) ms", note) for host, note in notes.items()}
    return {host: int(match[1]) for host, match in found.items() if match}


def test_the_management_nic_moves_and_ssh_stays(clean: Hosts) -> None:
    """On all hosts at once, at most 50 ms of silence, with Open vSwitch on the other NIC."""
    switch, inventory = clean.inventory("pipework-ovs.yml"), _over_management(clean)
    before, cables = clean.capture(), nics(clean)
    plan = clean.json("plan", inventory)["changes"]
    ssh = [c for c in plan if c["kind"] == "lan_bridge" and "path of SSH" in c["disruption"]]
    assert len(ssh) == 3
    session = subprocess.Popen(
        ("ssh", "-F", str(clean.place.ssh_config), "h1", "cat"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    silences = []
    for _ in range(3):  # other work on this machine makes gaps of its own
        done = clean.json("apply", inventory)
        assert set(done["hosts"].values()) == {"confirmed"}
        silences.append(_silences(done))
        if max(silences[-1].values()) <= 50:
            break
        clean.provision("destroy", inventory, "--yes")
    print("longest silences in ms:", silences)
    assert set(silences[-1]) == set(HOSTS) and max(silences[-1].values()) <= 50, silences
    clean.provision("apply", switch)
    for one in (inventory, switch):
        verified(clean, one)
        assert clean.json("apply", one)["changes"] == []
    assert session.stdin is not None
    said, _ = session.communicate("still here", timeout=20)
    assert said == "still here"
    power.reboot(clean.place, HOSTS, say=print)
    for one in (inventory, switch):
        verified(clean, one)
    clean.everywhere("docker restart -t 0 $(docker ps -q)")
    for one in (inventory, switch):
        verified(clean, one, within_s=FOLLOW_S)
        clean.provision("destroy", one, "--yes")
    assert_same(_without_database(before), _without_database(clean.capture()))
    assert_same(cables, nics(clean))


def test_a_wrong_gateway_or_nic_is_refused(clean: Hosts) -> None:
    """Before any host is touched, also where it is the NIC by which SSH comes in."""
    before, management = clean.capture(), clean.networks[0]
    refused = {
        "nobody answers ARP": (f"gateway: {management}.254", f"gateway: {management}.253"),
        "is on host0, not on eth1": ("    # nic: eth1 ", "    nic: eth1 #"),
        "no NIC eht0": ("    # nic: eth1 ", "    nic: eht0 #"),
        "silent for 30 s": ("    # stp: true", "    stp: true"),
    }
    for words, change in refused.items():
        said = clean.json("apply", _over_management(clean, change), status=4)["errors"]
        assert all(words in error["message"] for error in said) and len(said) == 3, said
    assert_same(before, clean.capture())


@pytest.mark.full
def test_a_management_nic_that_cannot_move_stays(clean: Hosts) -> None:
    """A batch that fails on one host is undone on all: the hosts answer."""
    before = clean.capture()
    inventory = _over_management(clean)
    clean.ssh("h2", f"cat >/usr/local/sbin/ip <<'X'\n{FAILING}X\nchmod +x /usr/local/sbin/ip")
    try:
        done = clean.json("apply", inventory, status=None)
        assert "third line" in clean.ssh("h2", "cat /run/ip-failed")
    finally:
        clean.ssh("h2", "rm -f /usr/local/sbin/ip /run/ip-failed")
    assert set(done["hosts"].values()) == {"reverted (failed)"}
    assert_same(before, clean.capture())
