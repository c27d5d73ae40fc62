"""`verify` and `doctor` on booted hosts: what is broken is named, on the host that it is on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.explain_faults import assert_nothing_watches
from tests.lab.hosts import Hosts

pytestmark = pytest.mark.lab
NAME = "routes.yml"


@pytest.fixture(scope="module")
def applied(booted: Callable[[str], Hosts]) -> Iterator[Hosts]:
    """Three hosts with a container each, connected by routes."""
    hosts = booted("mixed")
    hosts.provision("apply", hosts.inventory(NAME))
    yield hosts
    hosts.provision("destroy", NAME, "--yes")


@dataclass(frozen=True)
class Breakage:
    """A fault of host h2, its repair, and what the last lines of `verify` say about it."""

    make: str
    repair: str
    said: tuple[str, ...]
    apply: bool = False


BREAKAGES = {
    "a DROP in FORWARD": Breakage(
        "iptables -I FORWARD -j DROP",
        "iptables -D FORWARD -j DROP",
        (
            "h2: drops a packet from c1 to c2 by rule 1 of chain FORWARD of table filter: ",
            "→ iptables -t filter -D FORWARD -j DROP",
        ),
    ),
    "a NIC that is down": Breakage(
        "ip link set dev eth1 down",
        "ip link set dev eth1 up; until ip -4 -o addr show dev eth1 | grep -q inet; do :; done",
        ("h2: eth1 is down → ip link set dev eth1 up",),
        apply=True,
    ),
    "a NIC with a smaller MTU": Breakage(
        "ip link set dev eth1 mtu 1400",
        "ip link set dev eth1 mtu 1500",
        ("h2: small packets arrive", "eth1 has the MTU 1400", "→ ip link set dev eth1 mtu 1500"),
    ),
    "a stopped Docker": Breakage(
        "systemctl stop docker.socket docker",
        "systemctl start docker",
        ("h2: Docker does not answer, so c2 does not run", "systemctl start docker"),
    ),
    "a deleted route": Breakage(
        # The follower would put it back if it still answers the start of Docker.
        "systemctl stop provision-demo-follow; ip route del 172.20.0.0/24",
        "systemctl start provision-demo-follow",
        ("h2: route 172.20.0.0/24 via", "is missing", "provision apply routes.yml"),
        apply=True,
    ),
    "forwarding that is off": Breakage(
        # The follower would switch it on again within some seconds.
        "systemctl stop provision-demo-follow; sysctl -qw net.ipv4.ip_forward=0",
        "sysctl -qw net.ipv4.ip_forward=1; systemctl start provision-demo-follow",
        (
            "h2: does not forward packets that come in by eth1: net.ipv4.ip_forward is 0",
            "sysctl -w net.ipv4.ip_forward=1",
        ),
    ),
}  # fmt: skip


def test_verify_alone_names_each_breakage(applied: Hosts) -> None:
    """In its last five lines: the host, the object and a command, once; nothing on other hosts."""
    for title, breakage in BREAKAGES.items():
        applied.ssh("h2", breakage.make)
        output = applied.provision("verify", NAME, status=7)
        if title == "a DROP in FORWARD":
            assert_nothing_watches(applied)
            assert_left_out(applied)
        applied.ssh("h2", breakage.repair)
        if title == "a NIC with a smaller MTU":
            assert_remembered(applied)
        end = "\n".join(output.rstrip().splitlines()[-5:])
        assert all(text in end for text in breakage.said), (title, end)
        shared = [line for line in end.splitlines() if "pairs that fail" in line]
        assert shared and all("h2" in line for line in shared), (title, end)
        # A path MTU that is remembered, and the stopped follower, are matters of their own.
        own = r"h\d: (?!c2 remembers|service file provision-demo-follow)"
        causes = [line for line in end.splitlines() if re.match(own, line)]
        assert len(causes) == 1, (title, end)
        if breakage.apply:
            applied.provision("apply", NAME)
    assert_nothing_watches(applied)


def assert_left_out(hosts: Hosts) -> None:
    """With `--no-explain`, the doctor alone names the rule."""
    process = hosts._run("verify", NAME, "--no-explain")
    end = "\n".join(process.stdout.rstrip().splitlines()[-5:])
    assert process.returncode == 7, process.stderr
    assert "h2: rule 1 of FORWARD in iptables' table filter drops forwarded packets" in end, end
    assert "a packet from" not in end and "Following a packet" not in process.stderr, process


def assert_remembered(hosts: Hosts) -> None:
    """The container still sends smaller packets: `verify` says so, and how to end it."""
    output = hosts.provision("verify", NAME, status=7)
    (line,) = [line for line in output.splitlines() if "h2: c2 remembers a path MTU" in line]
    assert re.search(r"of 1400 for \d+ s more → nsenter ", line), line
    hosts.ssh("h2", line.partition(" → ")[2])


PLANTED = {
    "h1": r"""
printf '# of an admin\nnet.ipv4.ip_forward = 0\n' >/etc/sysctl.d/90-hardening.conf
iptables-legacy -I FORWARD -s 10.99.0.0/16 -j DROP
echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter
systemctl stop docker.socket docker
""",
    "h2": r"""
iptables -I FORWARD -j DROP
ip link set dev eth1 mtu 1400
mount -t tmpfs -o size=64k,nr_inodes=20 tmpfs /var/lib/provision
""",
    "h3": r"""
ip link add name office type bridge && ip address add 172.20.200.1/24 dev office
ip link set dev office up
file=/etc/systemd/network/50-all.network
printf '[Match]\nName=br-* veth*\n[Network]\nLinkLocalAddressing=no\n' >$file
networkctl reload
cp /etc/machine-id /etc/machine-id.own
""",
}  # fmt: skip
REMOVED = {
    "h1": """
rm /etc/sysctl.d/90-hardening.conf; iptables-legacy -D FORWARD -s 10.99.0.0/16 -j DROP
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter; systemctl start docker
""",
    "h2": "iptables -D FORWARD -j DROP; ip link set dev eth1 mtu 1500; umount /var/lib/provision",
    "h3": """
ip link delete office; rm /etc/systemd/network/50-all.network; networkctl reload
mv /etc/machine-id.own /etc/machine-id
""",
}
EXPECTED: dict[tuple[str, str], tuple[str, str]] = {
    ("h1", "forwarding_file"): ("error", "/etc/sysctl.d/90-hardening.conf:2 sets"),
    ("h1", "iptables_two_backends"): ("error", "iptables has rules in both backends"),
    ("h1", "rp_filter"): ("warning", "net.ipv4.conf.all.rp_filter is 1"),
    ("h1", "docker_down"): ("error", "Docker does not run"),
    ("h1", "duplicate_machine_id"): ("error", "h3"),
    ("h2", "firewall_rule"): ("error", "-A FORWARD -j DROP"),
    ("h2", "mtu_differs"): ("error", "eth1 has MTU 1400"),
    ("h2", "disk_full"): ("error", "/var/lib/provision"),
    ("h3", "range_in_use"): ("error", "172.20.200.0/24 on office"),
    ("h3", "link_managed"): ("warning", "systemd-networkd (/etc/systemd/network/50-all.network)"),
    ("h3", "duplicate_machine_id"): ("error", "h1"),
}  # fmt: skip


def doctor(hosts: Hosts, *options: str, status: int) -> dict[tuple[str, str], dict[str, Any]]:
    """The findings of `doctor --json`, by host and kind."""
    findings = hosts.json("doctor", NAME, *options, status=status)["findings"]
    assert all(finding["why"] and finding["fix"] for finding in findings)
    return {(finding["host"], finding["kind"]): finding for finding in findings}


def test_the_doctor_names_what_was_planted(applied: Hosts) -> None:
    """Each on its host, in one execution; hosts without a finding have none, applied or not."""
    assert not doctor(applied, status=0)
    assert applied.executions("doctor", NAME) == {"h1": 1, "h2": 1, "h3": 1}
    machine_id = applied.ssh("h1", "cat /etc/machine-id").strip()
    try:
        for host, script in PLANTED.items():
            applied.ssh(host, script)
        applied.ssh("h3", f"echo {machine_id} >/etc/machine-id")
        findings = doctor(applied, status=7)
        for key, (weight, text) in EXPECTED.items():
            assert key in findings, (key, json.dumps(list(findings.values()), indent=1))
            assert findings[key]["weight"] == weight and text in findings[key]["text"]
        # Warnings alone are no failure of the hosts, and --limit names the hosts that are told.
        assert {host for host, _ in doctor(applied, "--limit", "h3", status=7)} == {"h3"}
    finally:
        for host, script in REMOVED.items():
            applied.ssh(host, script, check=False)
    # The file that was planted on h3 had networkd take the addresses of Docker's bridge away.
    applied.provision("apply", NAME)
    applied.verified(NAME)
    assert not doctor(applied, status=0)


def test_a_host_that_does_not_answer_is_one_line(applied: Hosts) -> None:
    """Its findings are unknown, those of the others are told; `verify` says it once."""
    applied.ssh("h2", "iptables -I INPUT -p tcp --dport 22 -j REJECT")
    try:
        assert doctor(applied, status=4).keys() <= {("h1", ""), ("h3", "")}
        output = applied.provision("verify", NAME, status=4)
        assert [line for line in output.splitlines() if "h2: no answer: " in line], output
        assert output.count("h2: no answer") == 1
        assert len(output.splitlines()) < 25, output
    finally:
        applied.inside("h2", "iptables -D INPUT -p tcp --dport 22 -j REJECT")
    applied.verified(NAME)


def test_apply_tells_what_it_would_run_into(applied: Hosts) -> None:
    """Before a host is armed: a rule that drops what the change connects."""
    applied.damage("h2", "iptables -I FORWARD -j DROP; ip route del 172.20.0.0/24")
    try:
        process = applied._run("apply", NAME)
        assert process.returncode == 0, process.stderr
        assert "error: h2: rule 1 of FORWARD in iptables' table filter drops" in process.stderr
    finally:
        applied.ssh("h2", "iptables -D FORWARD -j DROP")
    applied.verified(NAME)
