"""Method `pipework` on booted hosts: bridges, interfaces of containers, VLANs, whole NICs."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
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


def test_the_example_from_apply_to_destroy(clean: Hosts) -> None:
    """Apply, verify, reboot all, verify, restart containers, verify, destroy: as it was."""
    inventory = clean.inventory("pipework.yml")
    before, cables = clean.capture(), nics(clean)
    done = clean.json("apply", inventory)
    assert set(done["hosts"].values()) <= {"changed", "confirmed"}
    seen = {check["check"] for check in verified(clean, inventory)["checks"]}
    assert {"arp", "link", "size", "duplicate", "host", "mode", "drift"} <= seen
    assert clean.json("apply", inventory)["changes"] == []
    assert clean.executions("apply", inventory) == dict.fromkeys(HOSTS, 1)

    power.reboot(clean.place, HOSTS, say=print)
    verified(clean, inventory)

    for host in HOSTS:
        clean.ssh(host, "docker restart -t 0 $(docker ps -q)")
    verified(clean, inventory, within_s=FOLLOW_S)

    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())
    assert_same(cables, nics(clean))


def test_a_container_that_starts_has_its_interface_at_once(clean: Hosts) -> None:
    """Restarted, made anew by hand under its name, or started by the daemon: within 5 s."""
    inventory = clean.inventory("pipework.yml")
    clean.provision("apply", inventory)
    anew = "docker rm -f bare1 && docker run -d --name bare1 --restart always"
    anew += " --network none busybox sleep 3600"
    for event in ("docker restart -t 0 bare1", anew, "systemctl restart docker"):
        clean.ssh("h1", event)
        began = time.monotonic()
        while "10." not in clean.ssh("h1", "docker exec bare1 ip address", check=False):
            assert time.monotonic() - began < FOLLOW_S, event
            time.sleep(0.2)
        wanted = f"default via {clean.networks[1]}.254 dev eth1"
        assert wanted in clean.ssh("h1", "docker exec bare1 ip route")


@pytest.mark.full
def test_verify_sees_what_is_broken(clean: Hosts) -> None:
    """A second owner of an address, a lost port, another name server: each by its own check."""
    inventory = clean.inventory("pipework.yml")
    clean.ssh("h1", "echo nameserver 192.0.2.53 >>/etc/resolv.conf")
    clean.provision("apply", inventory)
    verified(clean, inventory)
    lan = clean.networks[1]
    clean.ssh("h2", f"ip address add {lan}.243/32 dev bri0")
    wrong = failing(clean, inventory)
    assert ("duplicate", "bare3/eth1", "bare3/eth1") in wrong
    assert ("arp", "h1", "bare3/eth1") in wrong
    clean.ssh("h2", f"ip address delete {lan}.243/32 dev bri0")
    verified(clean, inventory)

    clean.ssh("h3", "ip link set dev $(ip -br link | grep -o '^pw-[^@]*') nomaster")
    wrong = failing(clean, inventory)
    assert ("drift", "h3", "h3") in wrong and ("link", "h1", "bare3/eth1") in wrong
    changes = clean.json("plan", inventory)["changes"]
    assert [(c["host"], c["kind"], c["name"]) for c in changes] == [
        ("h3", "attachment", "bare3/eth1")
    ]
    clean.provision("apply", inventory)

    clean.ssh("h1", "grep -v 192.0.2.53 /etc/resolv.conf >/run/dns; cp /run/dns /etc/resolv.conf")
    assert {one[:2] for one in failing(clean, inventory)} == {("host", "h1")}


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


OVS = "systemctl -q unmask openvswitch-switch; systemctl -q enable --now openvswitch-switch 2>&1"


@pytest.mark.full
@pytest.mark.parametrize("example", ["pipework-vlan.yml", "pipework-ovs.yml"])
def test_a_bridge_of_open_vswitch_from_apply_to_destroy(clean: Hosts, example: str) -> None:
    """The same by Open vSwitch, and VLANs that do not hear each other."""
    clean.everywhere(OVS)
    inventory = clean.inventory(example)
    before, cables = clean.capture(), nics(clean)
    clean.provision("apply", inventory)
    seen = {check["check"] for check in verified(clean, inventory)["checks"]}
    assert ("apart" in seen) == (example == "pipework-vlan.yml")
    assert clean.executions("apply", inventory) == dict.fromkeys(HOSTS, 1)
    clean.everywhere("docker restart -t 0 $(docker ps -q)")
    verified(clean, inventory, within_s=FOLLOW_S)
    power.reboot(clean.place, HOSTS, say=print)
    verified(clean, inventory)
    if example == "pipework-vlan.yml":
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


def _without_database(captures: dict[str, str]) -> dict[str, str]:
    """Open vSwitch counts what it does in its own database."""
    return {
        host: "\n".join(line for line in text.splitlines() if "/openvswitch/" not in line)
        for host, text in captures.items()
    }


def test_hosts_that_cannot_are_refused_before_any_change(clean: Hosts) -> None:
    """By what the hosts themselves say: no such NIC, another owner, an address that is taken."""
    lan = clean.networks[1]
    before = clean.capture()
    one = clean.inventory(
        "pipework.yml", (f"h2: {{address: {lan}.12", f"h2: {{nic: eth9, address: {lan}.12")
    )
    clean.ssh("h1", "mkdir -p /run/network && echo eth1=eth1 >/run/network/ifstate")
    clean.ssh("h3", f"ip address add {lan}.225/32 dev host0")
    said = [error["message"] for error in clean.json("apply", one, status=4)["errors"]]
    assert any("it has no NIC eth9" in text for text in said)
    assert any("eth1 belongs to ifupdown and systemd-networkd at once" in text for text in said)
    assert any(f"holds {lan}.225, which is in use on the LAN" in text for text in said)
    clean.ssh("h1", "rm -r /run/network")
    clean.ssh("h3", f"ip address delete {lan}.225/32 dev host0")

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


@pytest.mark.full
def test_the_management_nic_moves_and_ssh_stays(clean: Hosts) -> None:
    """On all hosts at once, under the guard; how long nothing came through is in the report."""
    inventory = _over_management(clean)
    before = clean.capture()
    plan = clean.json("plan", inventory)["changes"]
    ssh = [c for c in plan if c["kind"] == "bridge" and "way that SSH takes" in c["disruption"]]
    assert len(ssh) == 3
    session = subprocess.Popen(
        ("ssh", "-F", str(clean.place.ssh_config), "h1", "cat"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    silences: list[dict[str, int]] = []
    for _ in range(3):  # other work on this machine makes gaps of its own
        done = clean.json("apply", inventory)
        assert set(done["hosts"].values()) == {"confirmed"}
        silences.append(
            {
                change["host"]: int(found[1])
                for change in done["changes"]
                if (found := re.search(r"silence to \S+: (\d+) ms", change["note"]))
            }
        )
        verified(clean, inventory)
        clean.provision("destroy", inventory, "--yes")
        if max(silences[-1].values()) <= 50:
            break
    assert set(silences[-1]) == set(HOSTS) and max(silences[-1].values()) <= 50, silences
    assert session.stdin is not None
    said, _ = session.communicate("still here", timeout=20)
    assert said == "still here"
    assert_same(before, clean.capture())


@pytest.mark.full
def test_a_management_nic_that_cannot_move_stays(clean: Hosts) -> None:
    """A wrong gateway, a wrong NIC, STP: refused. A batch that fails: undone, the host answers."""
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
    inventory = _over_management(clean)
    clean.ssh("h2", f"cat >/usr/local/sbin/ip <<'X'\n{FAILING}X\nchmod +x /usr/local/sbin/ip")
    try:
        done = clean.json("apply", inventory, status=None)
        assert "third line" in clean.ssh("h2", "cat /run/ip-failed")
    finally:
        clean.ssh("h2", "rm -f /usr/local/sbin/ip /run/ip-failed")
    assert set(done["hosts"].values()) == {"reverted (failed)"}
    assert_same(before, clean.capture())
