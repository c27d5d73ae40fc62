"""Settings of others that stop a network's packets, while all that `apply` made still stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.lab.hosts import Hosts, assert_same
from tests.lab.test_overlay_checks import plan_of

pytestmark = [pytest.mark.lab, pytest.mark.full]

SECOND = (
    *(("name: demo", "name: second"), ("blue:", "red:"), ("network: blue", "network: red")),
    ("172.20.0.0/16", "172.25.0.0/16"),
)
RULES = {
    "h1": "iptables -I DOCKER-USER -j DROP",
    "h2": "iptables -t nat -I POSTROUTING -s 172.16.0.0/12 -j MASQUERADE",
    "h3": "iptables -I FORWARD -i eth1 -j DROP",
}
"""Each at the top of its chain, before the jump to ours."""
WARNINGS = (
    "h2: iptables (chain POSTROUTING) hides the senders of packets from 172.20.0.0/16 on eth1",
    "h3: iptables (chain FORWARD) drops packets from 172.20.0.0/16 on eth1",
)


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts without the inventories and rules of these tests, also after a failure."""
    yield mixed
    for host, rule in RULES.items():
        mixed.ssh(host, rule.replace("-I", "-D"), check=False)
    mixed.destroy_all()


def test_a_rule_before_our_jump_is_drift(clean: Hosts) -> None:
    """`apply` moves the jump and leaves the rule; two inventories do not fight for the top."""
    hosts, before = clean, clean.capture()
    name = hosts.inventory("routes.yml")
    containers = [(f"  c{number}: {{", f"  d{number}: {{") for number in "123"]
    second = hosts.inventory("routes.yml", *SECOND, *containers, to="second.yml")
    for inventory in (name, second):
        hosts.provision("apply", inventory)
    assert hosts.json("plan", name)["changes"] == hosts.json("plan", second)["changes"] == []
    for host, rule in RULES.items():
        hosts.ssh(host, rule)
    plan = plan_of(hosts, name)
    assert "behind: -j DROP → none" in plan["h1 iptables_chain"], plan
    assert "behind: -s 172.16.0.0/12 -j MASQUERADE → none" in plan["h2 iptables_chain"], plan
    assert "h3 iptables_chain" not in plan
    warnings = hosts.warnings("plan", name)
    assert all(warning in warnings for warning in WARNINGS), warnings
    assert {("c1", "c2"), ("c2", "c3"), ("c3", "c1")} <= failures(hosts, name)
    hosts.provision("apply", name)
    hosts.ssh("h3", RULES["h3"].replace("-I", "-D"))
    # The rule of h2 also takes what others send to its containers: no chain of ours is for that.
    assert failures(hosts, name) == {("c1", "c2"), ("c3", "c2")}
    assert {("d1", "d2"), ("d2", "d3")} <= failures(hosts, second)
    hosts.provision("apply", second)
    assert failures(hosts, second) == {("d1", "d2"), ("d3", "d2")}
    for inventory in (name, second):
        assert hosts.json("plan", inventory)["changes"] == []
    for host, chain in {"h1": "-t filter -S DOCKER-USER", "h2": "-t nat -S POSTROUTING"}.items():
        listed = hosts.ssh(host, f"iptables {chain}").splitlines()
        rules = [line for line in listed if line.startswith("-A")]
        assert ["PROV-" in rule for rule in rules[:3]] == [True, True, False], rules
        hosts.ssh(host, RULES[host].replace("-I", "-D"))
    for inventory in (name, second):
        hosts.verified(inventory)
        assert hosts.json("plan", inventory)["changes"] == []
        hosts.provision("destroy", inventory, "--yes")
    assert_same(before, hosts.capture())


def failures(hosts: Hosts, name: str) -> set[tuple[str, str]]:
    """The pairs of containers whose packets do not arrive as they should."""
    checks = hosts.json("verify", name, status=None)["checks"]
    return {(check["from"], check["to"]) for check in checks if not check["ok"] and check.get("to")}


def test_a_flush_of_the_table_nat_is_named(clean: Hosts) -> None:
    """The networks go on, and `apply` heals our chain; Docker's rules come back with Docker."""
    hosts, lost = clean, "h1: Docker's rules of the table nat are gone"
    name = hosts.inventory("routes.yml")
    hosts.provision("apply", name)
    assert lost not in hosts.warnings("plan", name)
    hosts.ssh("h1", "iptables -t nat -F")
    assert lost in " ".join(hosts.warnings("plan", name).split())
    # Nothing fails but the drift of our own chain, until the follower has healed it.
    assert failures(hosts, name) <= {("h1", "h1")}
    hosts.provision("apply", name)
    assert hosts.json("plan", name)["changes"] == []
    hosts.ssh("h1", "systemctl restart docker")
    hosts.verified(name, within_s=30)
    assert lost not in " ".join(hosts.warnings("plan", name).split())
    hosts.provision("destroy", name, "--yes")


PORT = "$(ovs-vsctl list-ports $(ovs-vsctl list-br | grep ^ov-) | grep ^%s- | head -1)"
MESH = {
    "h1": f"ovs-vsctl set port {PORT % 'gre'} tag=10",
    "h2": f"ovs-vsctl set port {PORT % 'oo'} trunks=5; ovs-ofctl del-flows phy-eth1",
    "h3": "ovs-ofctl del-flows $(ovs-vsctl list-br | grep ^ov-)",
}
MESH_AGAIN = {
    "h1": "ovs-ofctl add-flow $(ovs-vsctl list-br | grep ^ov-) actions=drop",
    "h2": "ovs-vsctl set port phy-eth1 tag=10",
    "h3": f"ovs-vsctl set port {PORT % 'oo'} vlan_mode=native-untagged tag=7",
}
OF_MESH = "$(ovs-vsctl list-br | grep ^ov-)"
MESH_FLAGS = {
    "h1": f"ovs-ofctl mod-port {OF_MESH} {PORT % 'gre'} no-flood",
    "h2": "ovs-ofctl mod-port phy-eth1 eth1 no-receive",
    "h3": f"ovs-ofctl mod-port {OF_MESH} {PORT % 'oo'} no-forward",
}
LAN = {
    "h1": "ovs-vsctl set port eth1 tag=10",
    "h2": "ovs-vsctl set port $(ovs-vsctl list-ports ovsbr0 | grep ^pw-) tag=10",
    "h3": "ovs-ofctl del-flows ovsbr0",
}
LAN_FLAGS = {
    "h1": "ovs-ofctl mod-port ovsbr0 eth1 no-flood",
    "h2": "ovs-ofctl mod-port ovsbr0 $(ovs-vsctl list-ports ovsbr0 | grep ^pw-) no-receive",
    "h3": "ovs-vsctl set-fail-mode ovsbr0 secure",
}
LACKS = "lacks: flow with actions=NORMAL → none"


@pytest.mark.parametrize(
    ("example", "damages", "expected"),
    [
        (
            "ovs-gre.yml",
            (MESH, MESH_AGAIN, MESH_FLAGS),
            (
                {
                    "h1 ovs_tunnel": "vlans: tag=10 → none",
                    "h2 ovs_veth": "trunks=5 → none",
                    "h2 ovs_uplink": LACKS,
                    "h3 ovs_bridge": LACKS,
                },
                {
                    "h1 ovs_bridge": LACKS,
                    "h2 ovs_uplink": "port_vlans: phy-eth1 tag=10 → none",
                    "h3 ovs_veth": "tag=7 vlan_mode=native-untagged → none",
                },
                {
                    "h1 ovs_bridge": "no-flood → none",
                    "h2 ovs_uplink": "port_flags: eth1 no-receive → none",
                    "h3 ovs_bridge": "no-forward → none",
                },
            ),
        ),
        (
            "pipework-ovs.yml",
            (LAN, LAN_FLAGS),
            (
                {
                    "h1 lan_bridge_ovs": "port_vlans: eth1 tag=10 → none",
                    "h2 attachment": "vlan: 10 → 0",
                    "h3 lan_bridge_ovs": LACKS,
                },
                {
                    "h1 lan_bridge_ovs": "port_flags: eth1 no-flood → none",
                    "h2 lan_bridge_ovs": "no-receive → none",
                    "h3 lan_bridge_ovs": LACKS,
                },
            ),
        ),
    ],
)
def test_vlans_and_flows_of_open_vswitch_are_compared(
    clean: Hosts,
    example: str,
    damages: tuple[Mapping[str, str], ...],
    expected: tuple[Mapping[str, str], ...],
) -> None:
    """`plan` names each, `apply` heals it, and the containers reach each other again."""
    hosts, before = clean, clean.capture()
    name = hosts.inventory(example)
    hosts.provision("apply", name)
    hosts.verified(name)
    for damage, texts in zip(damages, expected, strict=True):
        for host, command in damage.items():
            hosts.damage(host, command)
        plan = plan_of(hosts, name)
        assert plan.keys() == texts.keys(), plan
        for key, text in texts.items():
            assert text in plan[key], plan
        assert hosts.json("verify", name, status=None)["ok"] is False
        hosts.provision("apply", name)
        assert hosts.json("plan", name)["changes"] == []
        hosts.verified(name)
    hosts.provision("destroy", name, "--yes")
    assert_same(before, hosts.capture())


MUTE = "bridge link set dev $(ls -d /sys/class/net/{} | head -n 1 | xargs basename) {}"
PORTS = {
    "vxlan.yml": {
        "h1": ("vx-*", "flood off bcast_flood off", "mute: flood off, bcast_flood off"),
        "h2": ("vx-*", "state 0", "mute: state 0"),
    },
    "pipework.yml": {
        "h1": ("eth1", "flood off bcast_flood off", "mute: eth1 flood off, bcast_flood off"),
        "h2": ("pw-*", "state 0", "parent:"),
    },
}
"""Example, host → its port, the settings that somebody gives it, and a part of the plan."""


@pytest.mark.parametrize("example", PORTS)
def test_mute_ports_of_linux_bridges_are_compared(clean: Hosts, example: str) -> None:
    """`plan` names each, `apply` heals it, and the containers reach each other again."""
    hosts, before = clean, clean.capture()
    name = hosts.inventory(example)
    hosts.provision("apply", name)
    hosts.verified(name, within_s=60)
    for host, (port, settings, _) in PORTS[example].items():
        hosts.damage(host, MUTE.format(port, settings))
    plan = plan_of(hosts, name)
    assert {key.partition(" ")[0] for key in plan} == PORTS[example].keys(), plan
    for host, (_, _, text) in PORTS[example].items():
        assert any(text in each for key, each in plan.items() if key.startswith(host)), plan
    hosts.provision("apply", name)
    assert hosts.json("plan", name)["changes"] == []
    hosts.verified(name, within_s=60)
    hosts.provision("destroy", name, "--yes")
    assert_same(before, hosts.capture())
