"""Methods `vxlan`, `ovs-gre` and `ovs-vxlan` on booted hosts.

The hosts' kernel has no Open vSwitch module, so the datapath is the daemon's own (netdev).
"""

from __future__ import annotations

import re
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
    """Write a variant's inventory into the lab's folder; its file name."""
    name, changes = VARIANTS[variant]
    return hosts.inventory(name, *changes, to=f"{variant.removesuffix('.yml')}.yml")


def verified(hosts: Hosts, inventory: str, *, within_s: float = 60) -> dict[str, Any]:
    """Every check of every ordered pair passes, at most `within_s` seconds from now."""
    result: dict[str, Any] = hosts.verified(inventory, within_s=within_s)
    pairs = {(c["from"], c["to"], c["check"]) for c in result["checks"] if c["check"] in PAIRS}
    assert len(pairs) == 6 * len(PAIRS), pairs
    return result


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards the inventories that they still have are destroyed."""
    yield mixed
    power.start(mixed.lab, say=print)
    # Destroy finds resources by the inventory's name, whatever else the file contains.
    names = {"wide": "vxlan.yml", "tunnel": "ovs-gre.yml", "vtunnel": "ovs-vxlan.yml"}
    names["tree"] = "key-rstp"
    remaining = " ".join(mixed.everywhere("ls /etc/provision", check=False).values()).split()
    for name in set(remaining) & set(names):
        mixed.provision("destroy", inventory(mixed, names[name]), "--yes", status=None)


EVENTS = (
    "systemctl restart docker",
    "systemctl is-active -q openvswitch-switch || exit 0; systemctl restart openvswitch-switch",
    "networkctl reconfigure eth1; networkctl reload",
)
"""Events on the hosts that they must handle without the controller."""


def cycle(hosts: Hosts, name: str, *, events: tuple[str, ...] = (), reboot: bool = True) -> None:
    """Apply, verify after each event and a reboot, destroy: the hosts are restored."""
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
    """Open vSwitch has attached every port of its database, also after a reboot."""
    # If it does not run, ovs-vsctl might start it by its socket.
    command = "systemctl is-active -q openvswitch-switch || exit 0; "
    command += "ovs-vsctl -t 5 --columns=name,error,ofport -f csv --no-headings list Interface"
    for host, output in hosts.everywhere(command, check=False).items():
        dead = [line for line in output.splitlines() if not re.search(r",\[\],\d+$", line)]
        assert not dead, (host, dead)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_from_apply_to_destroy(clean: Hosts, example: str) -> None:
    """Each example survives a reboot of all hosts; ovs-gre.yml also restarts of the services."""
    cycle(clean, inventory(clean, example), events=EVENTS if example == "ovs-gre.yml" else ())


@pytest.mark.full
@pytest.mark.parametrize("example", ["vxlan.yml", "ovs-vxlan.yml"])
def test_an_example_survives_without_the_controller(clean: Hosts, example: str) -> None:
    """The hosts repair it after restarts of Docker and Open vSwitch, and after reconfigure."""
    cycle(clean, inventory(clean, example), events=EVENTS, reboot=False)


@pytest.mark.full
@pytest.mark.parametrize("variant", sorted(VARIANTS.keys() - set(EXAMPLES)))
def test_a_variant_from_apply_to_destroy(clean: Hosts, variant: str) -> None:
    """Other modes and options survive the same events and a reboot."""
    cycle(clean, inventory(clean, variant), events=EVENTS)


@pytest.mark.full
@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_on_one_suite(booted: Callable[[str], Hosts], suite: str, example: str) -> None:
    """The example works on three hosts of the same suite."""
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
def test_a_first_apply_that_fails_is_rolled_back_completely(clean: Hosts, example: str) -> None:
    """The rollback includes the first round: a service, or certificates."""
    with injecting(clean) as faults:
        clean.ssh("h2", NO_NETWORK)
        result = clean.json("apply", clean.inventory(example), status=5)
        assert set(result["hosts"].values()) == {"reverted (failed)"}, result
        faults.heal()
        faults.assert_restored()


DRIFT = {
    "ovs-vsctl set port gre-h1-7fkwxg protected=false": {"ovs_tunnel"},
    "ovs-vsctl del-port oo-tun-h4afpi": {"ovs_veth"},
    "ethtool -K oi-tun-h4afpi tx on": {"ovs_veth"},
    "ip link set dev oi-tun-h4afpi nomaster": {"ovs_veth"},
    "ip link set dev oo-tun-h4afpi down": {"ovs_veth"},
    "ip link set dev oo-tun-h4afpi mtu 1300": {"ovs_veth"},
    "iptables -t raw -D PREROUTING -i eth1 -m comment --comment provision:underlay -j DROP": {
        "ovs_uplink"
    },
}


@pytest.mark.full
def test_plan_shows_exactly_the_drift_and_apply_repairs_it(clean: Hosts) -> None:
    """Each manual change appears in the plan as a change of one kind on one host."""
    name = inventory(clean, "ovs-gre.yml")
    clean.provision("apply", name)
    for command, kinds in DRIFT.items():
        clean.damage("h2", command)
        changes = clean.json("plan", name)["changes"]
        assert {(c["host"], c["kind"]) for c in changes} == {("h2", kind) for kind in kinds}
        clean.provision("apply", name)
        assert clean.json("plan", name)["changes"] == []
    verified(clean, name)


@pytest.mark.full
def test_the_host_stays_reachable_while_open_vswitch_is_down(clean: Hosts) -> None:
    """The NIC has its addresses meanwhile, and destroy refuses to leave half of the network."""
    name, before = inventory(clean, "ovs-gre.yml"), clean.capture()
    clean.provision("apply", name)
    try:
        clean.ssh("h2", "systemctl stop openvswitch-switch; sleep 3")
        data = clean.networks[1]
        assert f"{data}.12/24" in clean.ssh("h2", "ip -br address show dev eth1")
        clean.ssh("h2", f"ping -c 2 -W 2 {data}.11; sleep 12")
        log = clean.ssh("h2", "journalctl -q -o cat -u provision-tunnel-follow --since -15s")
        assert len(log.splitlines()) < 5, log
        text = clean.provision("destroy", name, "--yes", status=9)
        assert text == "" and "ov-tun" in clean.ssh("h1", "ovs-vsctl list-br")
    finally:
        clean.ssh("h2", "systemctl start openvswitch-switch")
    verified(clean, name)
    assert "as it should be" in clean.ssh("h2", "journalctl -q -u provision-tunnel-follow")
    clean.provision("destroy", name, "--yes")
    assert_same(before, clean.capture())


@pytest.mark.full
def test_inventories_share_the_nic_and_forwarding(clean: Hosts) -> None:
    """Only the destroy of the last inventory restores the NIC and the sysctl."""
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


FOREIGN_BRIDGE = """
systemctl -q unmask openvswitch-switch; systemctl start openvswitch-switch
ovs-vsctl add-br theirs -- set bridge theirs datapath_type=netdev external_ids:owner=them \
  -- add-port theirs inside -- set interface inside type=internal
ip address add 192.0.2.1/24 dev theirs; ip link set theirs up
"""
REMOVE_BRIDGE = (
    "ovs-vsctl del-br theirs; systemctl stop openvswitch-switch ovs-vswitchd ovsdb-server"
)
SHOW_BRIDGE = """
ovs-vsctl --columns=name,datapath_type,external_ids,other_config list Bridge theirs
ovs-vsctl list-ports theirs; ip -br address show dev theirs; systemctl is-active openvswitch-switch
"""


def capture_without_database(hosts: Hosts) -> dict[str, str]:
    """A capture without Open vSwitch's database: each change is appended to its file."""
    texts = hosts.capture()
    return {host: re.sub(r"(?m)^\w+  \S+/conf\.db$", "", text) for host, text in texts.items()}


@pytest.mark.full
def test_a_foreign_bridge_stays_unchanged(clean: Hosts) -> None:
    """A bridge that existed before keeps its settings, and the service keeps running."""
    name = inventory(clean, "ovs-gre.yml")
    try:
        clean.everywhere(FOREIGN_BRIDGE)
        before, bridge = capture_without_database(clean), clean.everywhere(SHOW_BRIDGE)
        clean.provision("apply", name)
        verified(clean, name)
        assert clean.everywhere(SHOW_BRIDGE) == bridge
        clean.provision("destroy", name, "--yes")
        assert clean.everywhere(SHOW_BRIDGE) == bridge
        assert_same(before, capture_without_database(clean))
    finally:
        files = "/var/lib/openvswitch/conf.db /var/lib/openvswitch/.conf.db.~lock~"
        reset = (
            f"rm -f {files} /etc/openvswitch/system-id.conf; systemctl -q mask openvswitch-switch"
        )
        clean.everywhere(f"{REMOVE_BRIDGE}; {reset}", check=False)
