"""Findings of the doctor, from answers of hosts; tests/lab shows them on booted hosts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from provision.checks.doctor import examine, firewalls, links, machine, probe, text
from provision.checks.doctor.examine import Examination
from provision.checks.doctor.findings import HostFinding, Weight
from provision.checks.doctor.probe import Disk, DoctorFacts, SysctlLine, Unit, parse
from provision.engine import desired
from provision.engine.fleet import Fleet, Session
from provision.facts.gather import HostSnapshot
from provision.facts.host import Link
from provision.facts.probe import FactsProbe
from provision.inventory.load import load
from provision.model.errors import ConnectError, ExitStatus
from provision.model.inventory import Inventory
from provision.resources.kinds.certificate import Certificate
from provision.resources.kinds.vxlan import Vxlan
from provision.transport.base import Output
from tests.cases import test_cases
from tests.house.test_structure import ROOT

DOCKER = {"docker": {"h1": "26.1.5", "h2": "26.1.5", "h3": "26.1.5"}}
NOW = 1_795_714_024.0
ANSWER = """now 1795714024.302478329
machine_id 3d1219c7c4c5404aaa1f6d2a48adfda4
kernel 6.12.48-cloud-amd64
system Debian GNU/Linux 13 (trixie)
docker_ms 4210
disk 264212084 72223104 16777216 15995735 /
disk 64 64 20 18 /var/lib/provision
disk 1024000 900000 - - /var/lib/docker
forwarding 0
strict all
sysctl /etc/sysctl.d/90-hardening.conf:2:net.ipv4.ip_forward = 0
sysctl /etc/sysctl.d/99-vendor.conf:3:-net/ipv4/conf/eth0.1/forwarding = 0
sysctl /usr/lib/sysctl.d/99-vendor.conf:1:net.ipv4.ip_forward=1
unit Id=docker.service
unit ActiveState=inactive
unit UnitFileState=enabled
unit
unit Id=nftables.service
unit ActiveState=active
unit UnitFileState=enabled
ufw enabled
ufw_forward DROP
flush /etc/nftables.conf:3:flush ruleset
dhcpcd 812
dhcpcd_conf denyinterfaces wlan0
iptables iptables v1.8.11 (nf_tables)
policy nft filter FORWARD DROP
policy legacy filter FORWARD DROP
jump nft filter FORWARD 3
drop nft filter FORWARD 1 [1234:99] -A FORWARD -j DROP
rules nft 12
rules legacy 1
no_carrier eth2
no_type wireguard
docker_info {"FirewallBackend": {"Driver": "nftables"}}
"""


def inventory() -> Inventory:
    """The example of the method routes."""
    return load(ROOT / "inventories/routes.yml")


def fleet(change: Callable[[str], dict[str, Any]] = lambda _host: {}) -> Fleet:
    """Three healthy hosts; `change` gives other values of the facts, `doctor` of the answers."""
    snapshots = {}
    for host, facts in test_cases.facts(inventory(), DOCKER).items():
        values = change(host)
        answer = dataclasses.replace(
            DoctorFacts(clock=NOW, read_at=NOW, machine_id=host), **values.pop("doctor", {})
        )
        facts = dataclasses.replace(facts, of_methods={DoctorFacts: answer}, **values)
        snapshots[host] = HostSnapshot(facts, {}, {})
    return Fleet(snapshots)


def kinds(changed: Fleet) -> dict[str, set[str]]:
    """The kinds of the findings, by host."""
    found: dict[str, set[str]] = {}
    for finding in examine.own_findings(inventory(), changed, NOW):
        found.setdefault(finding.host, set()).add(finding.kind)
    return found


def of(answer: str = ANSWER, *, applied: bool = True) -> dict[str, HostFinding]:
    """The findings about one answer, by kind."""
    facts = parse(answer)
    assert not facts.unreadable
    found = [
        *firewalls.findings(inventory(), "h1", facts, applied=applied),
        *machine.findings("h1", facts, began_at=NOW, wanted=()),
    ]
    return {finding.kind: finding for finding in found}


def test_healthy_hosts_have_no_finding() -> None:
    """Nor has an inventory that was never applied, where the kernel does not forward yet."""
    assert not kinds(fleet())
    assert not kinds(fleet(lambda _host: {"doctor": {"forwarding": False}}))


class Answering:
    """A transport whose hosts answer the doctor's question, except for one that does not answer."""

    def __init__(self) -> None:
        self.asked: dict[str, str] = {}

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        """The answer of a host."""
        del timeout_s
        self.asked[host] = script
        if host == "h3":
            raise ConnectError(host, "unreachable")
        return Output(0, ANSWER, "")

    def send(self, host: str, source: Path, target: str, *, timeout_s: float) -> None:
        """Never called."""
        raise AssertionError((host, source, target, timeout_s))

    def close(self) -> None:
        """Nothing is open."""


def test_hosts_that_were_read_just_now_are_asked_the_doctors_question_alone() -> None:
    """Without their snapshots, the last ones after what is done meanwhile; silence is an error."""
    transport = Answering()
    session = Session(inventory(), transport)
    asked: list[set[str]] = []
    examination = examine.examine_again(
        session,
        ("h1", "h3"),
        fleet(),
        lambda: asked.append(set(transport.asked)),
        last=frozenset(("h2",)),
    )
    assert len(asked) == 1 and "h2" not in asked[0]
    assert transport.asked.keys() == {"h1", "h2", "h3"}
    assert not any(" begin " in script for script in transport.asked.values())
    found = {finding.kind for finding in examination.findings if finding.host == "h1"}
    assert {"forwarding_file", "firewall_rule", "duplicate_machine_id"} <= found
    assert {finding.host for finding in examination.findings} == {"h1"}
    assert [error.host for error in examination.errors] == ["h3"]


def test_forwarding_is_named_with_file_and_line() -> None:
    """The last file by its name counts, and one in /etc replaces one of the same name."""
    found = of()
    assert found["forwarding_off"].text == (
        "net.ipv4.ip_forward is 0 (set by /etc/sysctl.d/90-hardening.conf:2)"
    )
    assert found["forwarding_file"].text == (
        "/etc/sysctl.d/99-vendor.conf:3 sets net.ipv4.conf.eth0/1.forwarding to 0"
    )
    overruled = "sysctl /etc/sysctl.d/95-mine.conf:1:net.ipv4.ip_forward = 1\n"
    texts = [
        finding.text
        for finding in firewalls.findings(
            inventory(), "h1", parse(ANSWER + overruled), applied=False
        )
    ]
    assert not any("90-hardening" in line for line in texts)


def test_packet_filters_are_named() -> None:
    """Rules in two backends, ufw, a flush at each reload, a Docker with another firewall."""
    found = of()
    assert found["iptables_two_backends"].weight is Weight.ERROR
    assert "those of legacy drop" in found["iptables_two_backends"].why
    assert found["nftables_flush"].weight is Weight.ERROR
    assert "/etc/nftables.conf:3" in found["nftables_flush"].text
    assert "forwards by DROP" in found["ufw"].text
    assert found["docker_firewall"].weight is Weight.WARNING


@pytest.mark.parametrize(
    ("rule", "weight"),
    [
        ("filter FORWARD 1 [5:9] -A FORWARD -j DROP", Weight.ERROR),
        ("filter FORWARD 2 [0:0] -A FORWARD -d 172.20.2.0/24 -j REJECT", Weight.ERROR),
        ("raw PREROUTING 1 [0:0] -A PREROUTING -i eth1 -j DROP", Weight.ERROR),
        ("filter DOCKER-USER 1 [0:0] -A DOCKER-USER -p icmp -j DROP", Weight.WARNING),
        # Docker's manual: all but one address. Then a range that is ours whole.
        ("filter DOCKER-USER 1 [0:0] -A DOCKER-USER ! -s 192.0.2.2/32 -j DROP", Weight.ERROR),
        ("filter DOCKER-USER 1 [0:0] -A DOCKER-USER ! -s 172.20.0.0/14 -i eth0 -j DROP", None),
        # Rules for a part of the packets only, as CrowdSec and people write them.
        ("filter FORWARD 1 [0:0] -A FORWARD -m set --match-set bad src -j DROP", Weight.WARNING),
        ("filter FORWARD 1 [0:0] -A FORWARD -m iprange --src-range 1.2.3.4-1.2.3.9 -j DROP",
         Weight.WARNING),
        ("filter FORWARD 1 [0:0] -A FORWARD -i wlan0 -o eth1 -j DROP", Weight.WARNING),
        ("filter FORWARD 1 [0:0] -A FORWARD -s 203.0.113.0/24 -d 172.20.2.0/24 -j DROP", None),
        ('filter FORWARD 1 [0:0] -A FORWARD --comment "an INVALID" -j DROP', Weight.ERROR),
        # Behind the jump of DOCKER-USER to our chain, which accepts our packets.
        ("filter DOCKER-USER 3 [0:0] -A DOCKER-USER -i eth0 -j DROP", None),
        # Behind the jump to DOCKER-USER, which accepts our packets.
        ("filter FORWARD 4 [5:9] -A FORWARD -j DROP", None),
        ("filter FORWARD 1 [0:0] -A FORWARD -s 10.99.0.0/16 -j DROP", None),
        ("filter FORWARD 1 [0:0] -A FORWARD -m conntrack --ctstate INVALID -j DROP", None),
        ("filter INPUT 1 [0:0] -A INPUT -j DROP", None),
        ("filter DOCKER 1 [0:0] -A DOCKER ! -i docker0 -o docker0 -j DROP", None),
        ("raw PREROUTING 1 [0:0] -A PREROUTING -d 172.20.1.2/32 ! -i br-blue -j DROP", None),
        ("raw PREROUTING 1 [0:0] -A PREROUTING -d 172.20.1.2/32 ! -i bri0 -j DROP", None),
        ("raw PREROUTING 1 [0:0] -A PREROUTING -s 172.20.1.2/32 ! -i bri0 -j DROP", Weight.ERROR),
        ("raw PREROUTING 1 [0:0] -A PREROUTING -i eth1 --comment provision:underlay -j DROP", None),
    ],
)  # fmt: skip
def test_a_rule_that_drops_our_packets_is_named(rule: str, weight: Weight | None) -> None:
    """Whole, with its number; not the rules of Docker, of provision, nor those for others."""
    base = ANSWER.replace("drop nft filter FORWARD 1 [1234:99] -A FORWARD -j DROP\n", "")
    base += "jump nft filter DOCKER-USER 2\n"
    finding = of(f"{base}drop nft {rule}\n").get("firewall_rule")
    assert (finding.weight if finding else None) is weight
    if finding:
        assert rule.split("] ")[1] in finding.text and finding.fix.startswith("iptables-nft -t ")


def test_the_machine_is_examined() -> None:
    """A slow Docker, a full file system; one that does not count inodes is not out of them."""
    found = of()
    assert "4.2 s" in found["docker_slow"].text
    assert found["disk_full"].text == "/var/lib/provision has 64 KiB free"
    without = dataclasses.replace(parse(ANSWER), disks=(Disk("/", 10**8, 10**7, 10**6, 3),))
    full = [*machine.findings("h1", without, began_at=NOW, wanted=())]
    assert [finding.kind for finding in full if "inodes" in finding.text] == ["no_inodes"]


@pytest.mark.parametrize(
    ("clock", "weight"),
    [(NOW + 1, None), (NOW - 1, None), (NOW + 30, Weight.WARNING), (NOW - 3600, Weight.ERROR)],
)
def test_a_clock_is_compared_with_the_controllers(clock: float, weight: Weight | None) -> None:
    """The answer takes a while: within that time, the clock is right."""
    facts = DoctorFacts(clock=clock, read_at=NOW)
    found = [*machine.findings("h1", facts, began_at=NOW, wanted=())]
    assert [finding.weight for finding in found] == ([weight] if weight else [])


def test_a_kernel_without_a_module_is_named_if_something_needs_it() -> None:
    """With the resource that needs it."""
    facts = DoctorFacts(
        clock=NOW, read_at=NOW, kernel="6.1", missing=frozenset({"vxlan", "wireguard"})
    )
    state = desired.wanted(load(ROOT / "inventories/vxlan.yml"), fleet().facts)
    device = next(resource for resource in state.values() if isinstance(resource, Vxlan))
    (finding,) = machine.findings("h1", facts, began_at=NOW, wanted=(device,))
    assert finding.kind == "kernel_module" and f"vxlan {device.name}" in finding.text


def test_links_are_compared_between_hosts() -> None:
    """The host with the smaller MTU, two with one MAC or one machine-id, a NIC that is down."""

    def change(host: str) -> dict[str, Any]:
        address = (IPv4Interface(f"{inventory().hosts[host].address}/24"),)
        if host == "h1":
            return {"doctor": {"machine_id": "twin"}}
        if host == "h2":
            return {
                "links": {"eth1": Link("eth1", 1400, address)}, "doctor": {"machine_id": "twin"},
            }  # fmt: skip
        return {"links": {"eth1": Link("eth1", 1500, address, up=False)}}

    changed = fleet(change)
    found = kinds(changed)
    assert found["h2"] >= {"mtu_differs", "duplicate_machine_id"}
    assert "duplicate_machine_id" in found["h1"] and "mtu_differs" not in found["h1"]
    assert "link_down" in found["h3"] and "duplicate_machine_id" not in found["h3"]
    (finding,) = links.down(inventory(), changed.facts["h3"])
    assert finding.fix == "ip link set dev eth1 up"


def test_one_mac_on_two_hosts_is_named_on_both() -> None:
    """Two clones of one machine."""

    def change(host: str) -> dict[str, Any]:
        nics = test_cases.facts(inventory(), DOCKER)[host].nics
        mac = "52:54:00:00:00:01" if host != "h3" else "52:54:00:00:00:03"
        return {"nics": {name: dataclasses.replace(nic, mac=mac) for name, nic in nics.items()}}

    found = kinds(fleet(change))
    assert {host for host, names in found.items() if "duplicate_mac" in names} == {"h1", "h2"}


def test_programs_that_manage_the_links_of_docker_are_named() -> None:
    """networkd with its file, NetworkManager, and dhcpcd unless it is told to leave them."""

    def change(host: str) -> dict[str, Any]:
        facts = test_cases.facts(inventory(), DOCKER)[host]
        bridge = dataclasses.replace(
            facts.nics["eth1"], name="docker0", managers=("NetworkManager",)
        )
        if host == "h1":
            files = {"docker0": "/etc/systemd/network/all.network", "eth1": "/etc/x.network"}
            return {"networkd_files": files}
        if host == "h2":
            return {"nics": {**facts.nics, "docker0": bridge}}
        return {"doctor": {"dhcpcd": True}}

    changed = fleet(change)
    found = [f for f in links.findings(inventory(), changed.snapshots) if f.kind == "link_managed"]
    assert [finding.text.split(" manages")[0] for finding in found] == [
        "systemd-networkd (/etc/systemd/network/all.network)", "NetworkManager", "dhcpcd",
    ]  # fmt: skip
    told = {"dhcpcd": True, "dhcpcd_conf": ("denyinterfaces veth* br-*",)}
    assert not kinds(fleet(lambda _host: {"doctor": told}))


def test_a_strict_reverse_path_filter_is_named() -> None:
    """On the NIC to the peers, or for all interfaces."""
    found = kinds(fleet(lambda host: {"doctor": {"strict": frozenset({"eth1"} - {host})}}))
    assert all(names == {"rp_filter"} for names in found.values()) and len(found) == 3
    assert not kinds(fleet(lambda _host: {"doctor": {"strict": frozenset({"wlan0"})}}))


@pytest.mark.parametrize(
    ("expires", "weight"),
    [("Nov 27 00:00:00 2027 GMT", Weight.WARNING), ("Nov 20 00:00:00 2020 GMT", Weight.ERROR)],
)
def test_a_certificate_near_its_end_is_named(expires: str, weight: Weight) -> None:
    """As an error once it has ended."""
    entry = Certificate(
        "h1", "wide", "client", "demo", (), server=False, request="", authority="",
        fresh=False, expires=expires,
    )  # fmt: skip
    (finding,) = machine.certificates("h1", (entry,), NOW)
    assert finding.weight is weight and expires in finding.text
    assert not [*machine.certificates("h1", (dataclasses.replace(entry, fresh=True),), NOW)]


def test_an_answer_that_cannot_be_read_stops_nothing() -> None:
    """It is told, and the other hosts are judged."""
    broken = parse("now soon")
    assert broken.unreadable
    found = kinds(fleet(lambda host: {"doctor": {"unreadable": "x"}} if host == "h1" else {}))
    assert found == {"h1": {"unreadable"}}


def test_units_and_disks_are_read() -> None:
    """Each unit of systemctl's blocks, and each file system once."""
    facts = parse(ANSWER)
    assert facts.units == {"docker": Unit(False, True), "nftables": Unit(True, True)}
    assert facts.disks[-1] == Disk("/var/lib/docker", 1024000, 900000, 0, 0)
    assert isinstance(probe.probe(), FactsProbe)


def test_the_exit_status_is_that_of_the_worst() -> None:
    """A host that does not answer, then an error, then nothing for warnings."""
    warning = HostFinding("h1", "ufw", Weight.WARNING, "ufw is enabled", "why", "fix")
    error = dataclasses.replace(warning, weight=Weight.ERROR)
    lost = ConnectError("h2", "no answer")
    statuses = [
        Examination(("h1", "h2"), findings, errors).exit_status
        for findings, errors in (((warning,), ()), ((warning, error), ()), ((error,), (lost,)))
    ]
    assert statuses == [ExitStatus.OK, ExitStatus.VERIFY, ExitStatus.HOST]
    both = Examination(("h1", "h2"), (error,), (lost,))
    assert [*text.lines(both)] == [
        "h1: error: ufw is enabled", "    why: why", "    fix: fix", "1 error found on 1 host.",
    ]  # fmt: skip
    assert text.as_json(both)["findings"][0]["weight"] == "error"
    assert text.as_json(both)["errors"][0]["host"] == "h2"


def test_hosts_of_two_links_are_not_compared() -> None:
    """A router is between them: larger packets and equal MACs of the other link are no matter."""
    addresses = {name: IPv4Address(f"10.{1 + n // 2}.0.{n}") for n, name in enumerate("abcd")}
    twins = {"a": "b", "b": "a", "c": "d", "d": "c"}

    def uplink(name: str) -> links.Uplink:
        link = frozenset((addresses[name], addresses[twins[name]]))
        mac = "02:00:00:00:00:01" if name in "ac" else f"02:00:00:00:01:0{name}"
        return links.Uplink(name, "eth1", mac, 1500 if name in "ab" else 9000, link)

    together = [[each.host for each in group] for group in links._by_link([*map(uplink, "abcd")])]
    assert sorted(together) == [["a", "b"], ["c", "d"]]


def test_files_of_sysctl_that_do_not_count_are_no_error() -> None:
    """A file masks that of a later folder (sysctl.d(5)), and one setting has two names."""
    vendor = SysctlLine("/usr/lib/sysctl.d/50-x.conf", 1, "net.ipv4.ip_forward", "0")
    assert firewalls.effective((vendor,), ufw=False) == [vendor]
    assert firewalls.effective((vendor,), ("/etc/sysctl.d/50-x.conf",), ufw=False) == []
    last = SysctlLine("/etc/sysctl.d/99-z.conf", 1, "net.ipv4.conf.all.forwarding", "1")
    assert firewalls.effective((vendor, last), ufw=False) == [last]
