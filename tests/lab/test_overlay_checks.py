"""The checks of overlays fail: each fault is made on purpose, and its own checks report it.

The faults are those that people and kernels make; all other checks must still pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from tests.lab.hosts import Hosts, assert_same
from tests.lab.test_overlays import clean, inventory, verified

pytestmark = pytest.mark.lab
__all__ = ["clean"]

ALL = ("ping", "source", "mtu", "tcp", "udp", "wire", "broadcast")
IN_CONTAINER = "nsenter -t $(docker inspect -f '{{.State.Pid}}' %s) -n "
Failing = frozenset[tuple[str, str, str]]


@dataclass(frozen=True)
class Fault:
    """A fault, and the checks of `verify` that must fail because of it.

    `make` and `repair` are shell lines by host. One failing check must contain `detail`. The
    checks in `tolerated` may fail, too.
    """

    make: dict[str, str]
    repair: dict[str, str]
    failing: Failing
    detail: str
    tolerated: Failing = frozenset()


def checks_of(checks: Iterable[str], *pairs: str) -> Failing:
    """These checks of these pairs: `g1→g2` is one direction, `g1↔g2` both."""
    ordered: list[tuple[str, str]] = []
    for pair in pairs:
        source, target = re.split("[→↔]", pair)
        both = [(source, target), (target, source)]
        ordered += both if "↔" in pair else both[:1]
    return frozenset((check, *pair) for check in checks for pair in ordered)


def assert_reported(hosts: Hosts, name: str, faults: dict[str, Fault]) -> None:
    """Apply; then make each fault, compare the failing checks, and repair it."""
    hosts.provision("apply", name)
    verified(hosts, name)
    for title, fault in faults.items():
        for host, command in fault.make.items():
            hosts.damage(host, command)
        for _ in range(2):  # a busy machine may lose a packet, but not the same one twice
            result = hosts.json("verify", name, status=7)
            entries = [check for check in result["checks"] if check["check"] in ALL]
            checks = {(check["check"], check["from"], check["to"]): check for check in entries}
            failed = {key for key, check in checks.items() if not check["ok"]}
            if failed - fault.tolerated == fault.failing:
                break
        unexpected = (title, sorted(failed), sorted(fault.failing))
        assert failed - fault.tolerated == fault.failing, unexpected
        details = [str(checks[key]) for key in failed]
        assert any(fault.detail in text for text in details), (title, details)
        for host, command in fault.repair.items():
            hosts.ssh(host, command)
    hosts.provision("apply", name)
    verified(hosts, name)


def gre_faults(data: str) -> dict[str, Fault]:
    """Faults of ovs-gre.yml, whose containers are g1, g2 and g3; `data` is the hosts' network."""
    eth0 = IN_CONTAINER % "g2" + "ip link set dev eth0 mtu "
    port = "ovs-vsctl set interface gre-h2-y4rqzi options:remote_ip="
    unprotect = "for p in gre-h1-7fkwxg gre-h2-y4rqzi; do ovs-vsctl set port $p protected=%s; done"
    return {
        "checksum offload on the veth to Open vSwitch": Fault(
            {"h2": "ethtool -K oi-tun-h4afpi tx on"},
            {"h2": "ethtool -K oi-tun-h4afpi tx off"},
            # Pings pass, also those of the full MTU, and so do the replies to datagrams.
            checks_of(("source", "tcp"), "g1↔g2", "g3↔g2") | checks_of(("udp",), "g2→g1", "g2→g3"),
            "no end after",
        ),
        "a container's MTU lowered": Fault(
            {"h2": eth0 + "1300"},
            {"h2": eth0 + "1462"},
            checks_of(("mtu", "udp"), "g1↔g2", "g2↔g3"),  # a veth drops what is larger
            "Message too long",
        ),
        "a container's MTU raised": Fault(
            {"h2": eth0 + "1500"},
            {"h2": eth0 + "1462"},
            checks_of(("mtu",), "g2→g1", "g2→g3"),
            "the MTU of its eth0 is 1500, that of the network 1462",
        ),
        "a tunnel to the wrong address": Fault(
            {"h1": f"{port}{data}.99"},
            {"h1": f"{port}{data}.12"},
            checks_of(ALL, "g1↔g2"),
            "0 of 3 packets",
        ),
        "a tunnel with the wrong key": Fault(
            {"h2": "ovs-vsctl set interface gre-h1-7fkwxg options:key=9"},
            {"h2": "ovs-vsctl remove interface gre-h1-7fkwxg options key"},
            checks_of(ALL, "g1↔g2"),
            "0 of 3 packets",
            # A key takes 4 bytes, so a packet of the full MTU becomes too large for the NIC on that
            # tunnel. Open vSwitch hands packets to a NIC in batches of up to 32 (sendmmsg) and
            # drops the rest of a batch when the kernel refuses one: packets from g2 to g3 that
            # happen to follow a refused one are lost, whichever check sent them.
            checks_of(ALL, "g2→g3"),
        ),
        # The last fault, because only `apply` repairs it. All packets arrive, by a third host.
        "traffic through a third host": Fault(
            {
                "h3": unprotect % "false",
                "h1": "ovs-vsctl del-port gre-h2-y4rqzi",
                "h2": "ovs-vsctl del-port gre-h1-7fkwxg",
            },
            {},
            checks_of(("wire",), "g1↔g2"),
            f"gre traffic {data}.11 → {data}.13 leaves h1",
        ),
    }


DEFAULT = ("checksum offload on the veth to Open vSwitch", "a container's MTU raised")
DEFAULT += ("a tunnel with the wrong key", "traffic through a third host")


@pytest.mark.parametrize("selection", ["default", pytest.param("all", marks=pytest.mark.full)])
def test_verify_reports_each_fault_of_gre(clean: Hosts, selection: str) -> None:
    """Checksums, MTU, the tunnels' ends and keys, the path between hosts, and a loop."""
    name, faults = inventory(clean, "ovs-gre.yml"), gre_faults(clean.networks[1])
    titles = faults if selection == "all" else DEFAULT
    assert_reported(clean, name, {title: faults[title] for title in titles})
    ports = "$(ovs-vsctl list-ports ov-tun-h4afpi | grep ^gre)"
    # A short loop: a broadcast storm would soon use all processors of this machine.
    clean.ssh("h1", f"for p in {ports}; do ovs-vsctl set port $p protected=false; done")
    result = clean.json("verify", name, "-k", "broadcast", status=7)
    failed = [check for check in result["checks"] if check["check"] == "broadcast"]
    assert any(not check["ok"] and "times, not 1" in str(check) for check in failed), failed
    clean.provision("destroy", name, "--yes")


def vxlan_faults(data: str) -> dict[str, Fault]:
    """Faults of vxlan.yml, whose containers are w1, w2 and w3."""
    dev = "$(ls /sys/class/net | grep ^vx-)"
    flood = f"bridge fdb %s 00:00:00:00:00:00 dev {dev} dst {data}"
    # Containers cache a path MTU for ten minutes (net.ipv4.route.mtu_expires).
    forget = IN_CONTAINER + "ip route flush cache"
    return {
        "a broadcast that arrives twice": Fault(
            {"h1": flood % "append" + ".12 via eth1"},
            {"h1": flood % "delete" + ".12 via eth1"},
            checks_of(("broadcast",), "w1→w2"),
            "h2 received the broadcast 2 times, not 1",
        ),
        "a host that is missing in the FDB": Fault(
            {"h1": flood % "delete" + ".12"},
            {"h1": flood % "append" + ".12 permanent"},
            checks_of(("broadcast",), "w1→w2"),
            "h2 received the broadcast 0 times, not 1",
        ),
        "a smaller MTU between the hosts": Fault(
            {"h2": "ip link set dev eth1 mtu 1400"},
            {"h2": f"ip link set dev eth1 mtu 1500; {forget % 'w2'}"}
            | {"h1": forget % "w1", "h3": forget % "w3"},
            # Not those between h1 and h3, whose packets do not pass the smaller NIC.
            checks_of(("mtu",), "w1↔w2", "w2↔w3"),
            "h2 carries only 1,350 bytes (MTU 1400 of eth1)",
        ),
    }


def test_verify_reports_each_fault_of_vxlan(clean: Hosts) -> None:
    """An entry too many or too few in the FDB, and a link with a smaller MTU."""
    name = inventory(clean, "vxlan.yml")
    assert_reported(clean, name, vxlan_faults(clean.networks[1]))
    clean.provision("destroy", name, "--yes")


@pytest.mark.full
def test_verify_reports_a_wrong_host_in_the_fdb(clean: Hosts) -> None:
    """In mode routed, frames for one host go to another one, and never arrive."""
    dev, data = "$(ls /sys/class/net | grep ^vx-)", clean.networks[1]
    mac = f"$(bridge fdb show dev {dev} | grep 'dst {data}.12 ' | cut -d' ' -f1)"
    make = {"h1": f"bridge fdb replace {mac} dev {dev} dst {data}.13 self permanent"}
    fault = Fault(make, {}, checks_of(ALL, "w1↔w2"), "0 of 3 packets")
    assert_reported(clean, inventory(clean, "routed"), {"a MAC at the wrong host": fault})


BRIDGE, DEVICE = "br-plain-lcphmo", "vx-plain-lcphmo"
VETH = "$(ls /sys/class/net | grep ^veth)"
IN_SILENCE = (
    {
        "h1": f"ip link delete {BRIDGE}",
        "h2": f"ip link delete {VETH}; sysctl -q -w net.ipv4.conf.{DEVICE}.forwarding=0",
        "h3": f"ip link set {DEVICE} address 02:00:00:00:00:01; ip link set {VETH} nomaster",
    },
    {
        "h1": f"ip link set {BRIDGE} down",
        "h2": f"ip link set {VETH} nomaster",
        "h3": f"ip route delete dev {BRIDGE} $(ip route show dev {BRIDGE} | cut -d' ' -f1); "
        f"ip link set {VETH} down",
    },
)
"""Commands that cut containers off while Docker, flannel or networkd report nothing, by host."""


def plan_of(hosts: Hosts, name: str) -> dict[str, str]:
    """The lines of `plan` by the host, kind and first word of the name of their change."""
    lines: dict[str, str] = {}
    host = key = ""
    for line in hosts.provision("plan", name).splitlines():
        if re.fullmatch(r"h\d:", line):
            host = line[:-1]
        elif change := re.match(r"  [+~±-] \w+ (\w+)", line):
            key = f"{host} {change[1]}"
        else:
            lines[key] = lines.get(key, "") + line.strip() + "\n"
    return lines


def test_apply_heals_what_only_the_kernel_has_lost(clean: Hosts) -> None:
    """Docker lists all networks and containers meanwhile; plan names each fault, and is empty then.

    Containers keep running, but those without their veth pair, which the plan announces.
    """
    name, before = inventory(clean, "routed"), clean.capture()
    clean.provision("apply", name)
    started = clean.everywhere("docker inspect -f '{{.State.StartedAt}}' $(docker ps -q)")
    for number, commands in enumerate(IN_SILENCE):
        for host, command in commands.items():
            clean.damage(host, command)
        plan = plan_of(clean, name)
        if number == 0:
            assert f"lacks: interface {BRIDGE}, port of w1" in plan["h1 docker_network"], plan
            assert (
                "lacks: port of w2 → none\n! container w2 restarts" in plan["h2 docker_network"]
            ), plan
            assert "value: 0 → 1" in plan["h2 sysctl"], plan
            assert plan["h3 docker_network"] == "lacks: port of w3 → none\n", plan
            assert "mac: 02:00:00:00:00:01" in plan["h3 vxlan"], plan
        else:
            assert f"lacks: flag UP of {BRIDGE}" in plan["h1 docker_network"], plan
            assert plan["h2 docker_network"] == "lacks: port of w2 → none\n", plan
            assert "lacks: route to " in plan["h3 docker_network"], plan
            assert "port of w3" in plan["h3 docker_network"], plan
        assert clean.json("verify", name, "-k", "drift", status=7)["ok"] is False
        clean.provision("apply", name)
        assert clean.json("plan", name)["changes"] == []
        verified(clean, name)
    now = clean.everywhere("docker inspect -f '{{.State.StartedAt}}' $(docker ps -q)")
    assert {host for host in now if now[host] != started[host]} == {"h2"}
    # Nobody has to heal what destroy removes.
    for host, command in IN_SILENCE[0].items():
        clean.ssh(host, command)
    clean.provision("destroy", name, "--yes")
    assert_same(before, clean.capture())


def test_plan_names_a_rule_that_takes_the_traffic(clean: Hosts) -> None:
    """A rule of others before the main table is refused with the command that removes it."""
    name = inventory(clean, "routed")
    clean.provision("apply", name)
    own = clean.ssh("h1", f"ip -o -4 address show dev {BRIDGE}").split()[3]
    try:
        clean.ssh("h1", f"ip rule add from {own} lookup 100 priority 100")
        assert clean.json("plan", name)["changes"] == []  # no route, so the main table follows
        clean.ssh("h1", f"ip route add default via {clean.networks[1]}.13 table 100")
        (error,) = clean.json("plan", name, status=4)["errors"]
        assert "rule 100 of `ip rule`" in error["message"], error
        clean.ssh("h1", re.findall("`(ip rule del [^`]*)`", error["hint"])[0])
        verified(clean, name)
    finally:
        clean.ssh("h1", "ip rule del priority 100; ip route flush table 100", check=False)
    clean.provision("destroy", name, "--yes")
