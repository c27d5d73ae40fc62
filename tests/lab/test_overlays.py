"""Methods `vxlan`, `ovs-gre` and `ovs-vxlan` on booted hosts, real frames between them.

The hosts' kernel has no module of Open vSwitch: its datapath here is the daemon's own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from provision.lab import power
from tests.lab.faults import injecting
from tests.lab.hosts import HOSTS, Hosts, assert_same

pytestmark = pytest.mark.lab

PAIRS = {"ping", "source", "mtu", "tcp", "udp", "wire", "broadcast"}
Change = tuple[str, str]
VARIANTS: dict[str, tuple[str, tuple[Change, ...]]] = {
    "vxlan.yml": ("vxlan.yml", ()),
    "ovs-gre.yml": ("ovs-gre.yml", ()),
    "ovs-vxlan.yml": ("ovs-vxlan.yml", ()),
    "routed": ("vxlan.yml", (("# mode: routed", "mode: routed"),)),
    "docker0": ("vxlan.yml", (("# bridge: docker0", "bridge: docker0"),)),
    "ovs-docker0": ("ovs-gre.yml", (("# bridge: docker0", "bridge: docker0"),)),
    "key-rstp": (
        "ovs-gre.yml",
        (("# key: 7", "key: 7"), ("# rstp: true", "rstp: true"), ("name: tunnel", "name: tree")),
    ),
}
EXAMPLES = ("vxlan.yml", "ovs-gre.yml", "ovs-vxlan.yml")


def inventory(hosts: Hosts, variant: str) -> str:
    """A variant's inventory, in the lab's folder."""
    name, changes = VARIANTS[variant]
    return hosts.inventory(name, *changes, to=f"{variant.removesuffix('.yml')}.yml")


def verified(hosts: Hosts, inventory: str, *, within_s: float = 60) -> dict[str, Any]:
    """Every check of every ordered pair passes, at the latest after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while True:
        result: dict[str, Any] = hosts.json("verify", inventory, status=None)
        if result.get("ok") or time.monotonic() > deadline:
            break
        time.sleep(1)
    failed = [check for check in result["checks"] if not check["ok"]]
    assert result["ok"], (failed, result.get("errors"))
    assert not any(check["skipped"] for check in result["checks"])
    seen = {(c["from"], c["to"], c["check"]) for c in result["checks"] if c["check"] in PAIRS}
    assert len(seen) == 6 * len(PAIRS), seen
    return result


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts on which nothing of ours is, before and after."""
    yield mixed
    power.start(mixed.lab, say=print)
    # By its mark all of an inventory's name goes, whatever else the file says.
    names = {"wide": "vxlan.yml", "tunnel": "ovs-gre.yml", "vtunnel": "ovs-vxlan.yml"}
    names["tree"] = "key-rstp"
    left = " ".join(mixed.everywhere("ls /etc/provision", check=False).values()).split()
    for name in set(left) & set(names):
        mixed.provision("destroy", inventory(mixed, names[name]), "--yes", status=None)


EVENTS = (
    "systemctl restart docker",
    "systemctl is-active -q openvswitch-switch || exit 0; systemctl restart openvswitch-switch",
    "networkctl reconfigure eth1; networkctl reload",
)
"""What happens to hosts while no controller looks."""


def cycle(hosts: Hosts, name: str, *, events: tuple[str, ...] = (), reboot: bool = True) -> None:
    """From apply to destroy, through what takes things away; the hosts are as they were."""
    before = hosts.capture()
    hosts.provision("apply", name)
    verified(hosts, name)
    assert hosts.executions("apply", name) == dict.fromkeys(HOSTS, 1)
    for event in events:
        hosts.everywhere(event)
        verified(hosts, name)
    if reboot:
        power.reboot(hosts.lab, HOSTS, say=print)
        verified(hosts, name, within_s=120)
    if events or reboot:
        assert hosts.json("apply", name)["changes"] == []
        assert_no_dead_ports(hosts)
    hosts.provision("destroy", name, "--yes")
    assert_same(before, hosts.capture())


def assert_no_dead_ports(hosts: Hosts) -> None:
    """Every port in Open vSwitch's database is attached, also those whose device a reboot took."""
    # Where it does not run, asking may start it by its socket.
    asked = "systemctl is-active -q openvswitch-switch || exit 0; "
    asked += "ovs-vsctl -t 5 --columns=name,error,ofport -f csv --no-headings list Interface"
    for host, said in hosts.everywhere(asked, check=False).items():
        dead = [line for line in said.splitlines() if not re.search(r",\[\],\d+$", line)]
        assert not dead, (host, dead)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_from_apply_to_destroy(clean: Hosts, example: str) -> None:
    """A reboot of all in between; for one, restarts of Docker and Open vSwitch, too."""
    cycle(clean, inventory(clean, example), events=EVENTS if example == "ovs-gre.yml" else ())


@pytest.mark.full
@pytest.mark.parametrize("example", ["vxlan.yml", "ovs-vxlan.yml"])
def test_an_example_survives_without_a_controller(clean: Hosts, example: str) -> None:
    """Restarts of Docker and Open vSwitch, and a NIC that its manager sets up anew."""
    cycle(clean, inventory(clean, example), events=EVENTS, reboot=False)


@pytest.mark.full
@pytest.mark.parametrize("variant", sorted(VARIANTS.keys() - set(EXAMPLES)))
def test_a_variant_from_apply_to_destroy(clean: Hosts, variant: str) -> None:
    """Other modes and options through the same."""
    cycle(clean, inventory(clean, variant), events=EVENTS)


@pytest.mark.full
@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_on_one_suite(booted: Callable[[str], Hosts], suite: str, example: str) -> None:
    """The same on three hosts of one suite."""
    hosts = booted(suite)
    cycle(hosts, inventory(hosts, example), reboot=False)


NO_NETWORK = r"""cat >/usr/local/sbin/docker <<'X'
#!/bin/sh
case "$1 $2" in "network create") exit 1 ;; esac
exec /usr/bin/docker "$@"
X
chmod +x /usr/local/sbin/docker"""


@pytest.mark.parametrize(
    "example", ["ovs-gre.yml", pytest.param("flannel-vxlan.yml", marks=pytest.mark.full)]
)
def test_a_first_apply_that_fails_is_undone_whole(clean: Hosts, example: str) -> None:
    """Also what had to be made before the rest could be planned: a service, and certificates."""
    with injecting(clean) as faults:
        clean.ssh("h2", NO_NETWORK)
        done = clean.json("apply", clean.inventory(example), status=5)
        assert set(done["hosts"].values()) == {"reverted (failed)"}, done
        faults.heal()
        faults.assert_restored()


BREAKS = {
    "ovs-vsctl set port gre-h1-7fkwxg protected=false": {"ovs_tunnel"},
    "ovs-vsctl del-port oo-tun-h4afpi": {"ovs_veth"},
    "ethtool -K oi-tun-h4afpi tx on": {"ovs_veth"},
    "ip link set dev oi-tun-h4afpi nomaster": {"ovs_veth"},
    "iptables -t raw -D PREROUTING -i eth1 -m comment --comment provision:underlay -j DROP": {
        "ovs_uplink"
    },
}


@pytest.mark.full
def test_drift_is_named_exactly_and_healed(clean: Hosts) -> None:
    """What a person broke is what the plan shows on that host, and nothing else."""
    name = inventory(clean, "ovs-gre.yml")
    clean.provision("apply", name)
    for command, kinds in BREAKS.items():
        clean.ssh("h2", command)
        changes = clean.json("plan", name)["changes"]
        assert {(c["host"], c["kind"]) for c in changes} == {("h2", kind) for kind in kinds}
        clean.provision("apply", name)
        assert clean.json("plan", name)["changes"] == []
    verified(clean, name)


@pytest.mark.full
def test_the_host_stays_reachable_while_open_vswitch_is_down(clean: Hosts) -> None:
    """The NIC has its addresses then; and nothing is destroyed halfway."""
    name, before = inventory(clean, "ovs-gre.yml"), clean.capture()
    clean.provision("apply", name)
    try:
        clean.ssh("h2", "systemctl stop openvswitch-switch; sleep 3")
        data = clean.networks[1]
        assert f"{data}.12/24" in clean.ssh("h2", "ip -br address show dev eth1")
        clean.ssh("h2", f"ping -c 2 -W 2 {data}.11; sleep 12")
        said = clean.ssh("h2", "journalctl -q -o cat -u provision-tunnel-follow --since -15s")
        assert len(said.splitlines()) < 5, said
        text = clean.provision("destroy", name, "--yes", status=9)
        assert text == "" and "ov-tun" in clean.ssh("h1", "ovs-vsctl list-br")
    finally:
        clean.ssh("h2", "systemctl start openvswitch-switch")
    verified(clean, name)
    assert "as it should be" in clean.ssh("h2", "journalctl -q -u provision-tunnel-follow")
    clean.provision("destroy", name, "--yes")
    assert_same(before, clean.capture())


@pytest.mark.full
def test_inventories_share_the_underlay_and_forwarding(clean: Hosts) -> None:
    """The NIC goes back with the last inventory, and so does what the kernel was set to."""
    first, second = inventory(clean, "ovs-vxlan.yml"), inventory(clean, "key-rstp")
    clean.everywhere("sysctl -q -w net.ipv4.ip_forward=0")
    before, offloads = clean.capture(), clean.everywhere("ethtool -k eth1")
    clean.provision("apply", first)
    clean.provision("apply", second)
    verified(clean, first)
    verified(clean, second)
    clean.provision("destroy", first, "--yes")
    verified(clean, second)
    assert clean.json("plan", second)["changes"] == []
    clean.provision("destroy", second, "--yes")
    assert_same(before, clean.capture())
    assert clean.everywhere("ethtool -k eth1") == offloads
    clean.everywhere("sysctl -q -w net.ipv4.ip_forward=1")


THEIRS = """
systemctl -q unmask openvswitch-switch; systemctl start openvswitch-switch
ovs-vsctl add-br theirs -- set bridge theirs datapath_type=netdev external_ids:owner=them \
  -- add-port theirs inside -- set interface inside type=internal
ip address add 192.0.2.1/24 dev theirs; ip link set theirs up
"""
GONE = "ovs-vsctl del-br theirs; systemctl stop openvswitch-switch ovs-vswitchd ovsdb-server"
ASKED = """
ovs-vsctl --columns=name,datapath_type,external_ids,other_config list Bridge theirs
ovs-vsctl list-ports theirs; ip -br address show dev theirs; systemctl is-active openvswitch-switch
"""


def captured(hosts: Hosts) -> dict[str, str]:
    """All but the database's file, to which Open vSwitch appends whatever changes."""
    texts = hosts.capture()
    return {host: re.sub(r"(?m)^\w+  \S+/conf\.db$", "", text) for host, text in texts.items()}


@pytest.mark.full
def test_bridges_of_others_stay_as_they_are(clean: Hosts) -> None:
    """Those that were there before, and the service that was running."""
    name = inventory(clean, "ovs-gre.yml")
    try:
        clean.everywhere(THEIRS)
        before, theirs = captured(clean), clean.everywhere(ASKED)
        clean.provision("apply", name)
        verified(clean, name)
        assert clean.everywhere(ASKED) == theirs
        clean.provision("destroy", name, "--yes")
        assert clean.everywhere(ASKED) == theirs
        assert_same(before, captured(clean))
    finally:
        files = "/var/lib/openvswitch/conf.db /var/lib/openvswitch/.conf.db.~lock~"
        back = (
            f"rm -f {files} /etc/openvswitch/system-id.conf; systemctl -q mask openvswitch-switch"
        )
        clean.everywhere(f"{GONE}; {back}", check=False)
