"""Method `flannel` on booted hosts that keep one network: strangers, faults, changes."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from provision.engine.pki import sign
from provision.lab import power
from provision.resources.on_hosts import PROTO
from provision.resources.steps import Issue, Put
from tests.lab.hosts import HOSTS, Hosts
from tests.lab.test_flannel import (
    CTL,
    ETCD,
    FLANNELD,
    LEASE,
    VXLAN,
    address,
    failed_checks,
    verified,
)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def over(booted: Callable[[str], Hosts]) -> Iterator[tuple[Hosts, str]]:
    """Hosts with flannel-vxlan.yml applied, which each test leaves working."""
    hosts = booted("mixed")
    inventory = hosts.inventory(VXLAN)
    hosts.provision("apply", inventory)
    yield hosts, inventory
    power.start(hosts.lab, say=print)
    hosts.provision("destroy", hosts.inventory(VXLAN), "--yes")


@pytest.mark.full
def test_etcd_and_flanneld_are_hardened(over: tuple[Hosts, str]) -> None:
    """systemd rates their exposure at most 5 of 10, and no port for health checks is open."""
    hosts, _ = over
    for service in (ETCD, FLANNELD):
        for host in HOSTS:
            rating = hosts.ssh(host, f"systemd-analyze security --no-pager {service} | tail -n 1")
            match = re.search(r": (\d+\.\d+) ", rating)
            assert match and float(match[1]) <= 5.0, (host, rating)
    ports = hosts.ssh("h1", "ss -Hlntp | grep -E 'etcd|flanneld'")
    assert {line.split()[3] for line in ports.splitlines()} == {
        f"{address(hosts, 1)}:2379",
        f"{address(hosts, 1)}:2380",
    }


@pytest.mark.full
def test_private_keys_stay_on_their_hosts(over: tuple[Hosts, str]) -> None:
    """Each host has its own key, the controller has the authority's; only the owner reads them."""
    hosts, _ = over
    keys = hosts.everywhere("cat /etc/provision/overlay/pki/*.key")
    assert len(set(keys.values())) == 3
    modes = hosts.everywhere("stat -c '%U %a' /etc/provision/overlay/pki/*.key")
    assert set(modes.values()) == {"root 600\nroot 600\n"}
    folder = hosts.lab.folder / ".provision" / "pki" / "overlay"
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "over.crt": 0o600,
        "over.key": 0o600,
    }
    body = (folder / "over.key").read_text().splitlines()[1]
    assert not any(hosts.everywhere(f"grep -rl '{body}' /etc/provision", check=False).values())


def test_strangers_neither_read_nor_write_etcd(over: tuple[Hosts, str]) -> None:
    """A container, a machine outside the inventory and a host without a certificate fail."""
    hosts, _ = over
    for number in (1, 2):
        target = f"{address(hosts, number)} 2379"
        output = hosts.ssh("h1", f"docker exec c1 nc -w 2 {target} </dev/null; echo $?")
        assert output.strip().endswith("1"), output
    connect = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
    for port in ("2379", "2380"):
        argv = ("python3", "-c", connect, address(hosts, 2), port)
        process = subprocess.run(argv, capture_output=True, text=True, timeout=10)
        assert "imed out" in process.stderr, process.stderr
    plain = "ETCDCTL_API=3 etcdctl --command-timeout=1s --dial-timeout=1s --endpoints"
    verbs = ("get /coreos.com/network/config", "put /coreos.com/network/config x")
    for verb in verbs:
        for etcdctl in (
            f"{plain}=http://{address(hosts, 2)}:2379",
            f"{plain}=https://{address(hosts, 2)}:2379 --insecure-skip-tls-verify",
        ):
            status = hosts.ssh("h1", f"{etcdctl} {verb} >/dev/null 2>&1; echo $?")
            assert status.strip() != "0", etcdctl
    assert '"vxlan"' in hosts.ssh("h1", f"{CTL} get /coreos.com/network/config")


@pytest.mark.full
def test_a_client_cannot_pass_for_a_member(over: tuple[Hosts, str]) -> None:
    """On the port for members, etcd accepts only certificates with the members' name."""
    hosts, _ = over
    pki = "/etc/provision/overlay/pki/over"
    ask = (
        "{ printf 'GET /version HTTP/1.0\r\n\r\n'; sleep 1; } | timeout 5 openssl s_client -quiet"
        f" -connect {address(hosts, 2)}:2380 -CAfile {pki}.ca.crt"
        f" -cert {pki}.%s.crt -key {pki}.%s.key 2>/dev/null"
    )
    assert "etcdserver" in hosts.ssh("h1", ask.replace("%s", "member"), check=False)
    assert "etcdserver" not in hosts.ssh("h1", ask.replace("%s", "client"), check=False)


@pytest.mark.full
def test_verify_reports_foreign_and_forged_leases(over: tuple[Hosts, str]) -> None:
    """Verify names the subnet and the host; apply restores the leases of the inventory."""
    hosts, inventory = over
    foreign = '{"PublicIP":"192.0.2.9","BackendType":"vxlan",'
    foreign += '"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:09"}}'
    try:
        hosts.ssh("h1", f"{CTL} put {LEASE.format(77)} '{foreign}'")
        details = failed_checks(hosts, inventory)
        lease = "a strange lease: 172.16.77.0/24 is of 192.0.2.9"
        text = f"leases: {lease}, which is not a host of the inventory"
        assert details.count(text) == 3, details
    finally:
        hosts.ssh("h1", f"{CTL} del {LEASE.format(77)}")
    forged = foreign.replace("192.0.2.9", address(hosts, 3))
    # A running flanneld would restore its own lease at once.
    hosts.ssh("h2", f"systemctl stop {FLANNELD}")
    hosts.ssh("h1", f"{CTL} put {LEASE.format(1)} '{forged}'")
    details = failed_checks(hosts, inventory)
    assert any("172.16.1.0/24 is of h3, not of h2" in detail for detail in details), details
    assert any("h3 has 2 leases" in detail for detail in details), details
    hosts.provision("apply", inventory)
    verified(hosts, inventory)


@pytest.mark.full
def test_flanneld_restores_a_deleted_lease_with_the_same_subnet(over: tuple[Hosts, str]) -> None:
    """Within 15 s and without apply; the subnet stays after a restart of flanneld, too."""
    hosts, inventory = over
    hosts.ssh("h1", f"{CTL} del {LEASE.format(1)}")
    deadline = time.monotonic() + 15
    target = hosts.ssh("h2", "docker inspect -f '{{.NetworkSettings.Networks.over.IPAddress}}' c2")
    while True:
        restored = address(hosts, 2) in hosts.ssh("h1", f"{CTL} get {LEASE.format(1)}")
        ping = f"docker exec c1 ping -c 1 -W 1 {target.strip()}"
        if restored and "1 packets received" in hosts.ssh("h1", ping, check=False):
            break
        assert time.monotonic() < deadline
        time.sleep(0.5)
    hosts.ssh("h2", f"systemctl restart {FLANNELD}")
    verified(hosts, inventory)
    assert hosts.json("plan", inventory)["changes"] == []


@pytest.mark.full
def test_flanneld_restores_a_deleted_device_within_30_s(over: tuple[Hosts, str]) -> None:
    """All pairs work again after flannel.1 was deleted, so the peers learned its new MAC."""
    hosts, inventory = over
    hosts.ssh("h2", f"ip link del flannel.1; systemctl restart {FLANNELD}")
    verified(hosts, inventory, within_s=30)


UNNOTICED = (
    {
        "h1": "ip link set flannel.1 address 02:00:00:00:00:01",
        "h2": "bridge fdb delete $(bridge fdb show dev flannel.1 | head -1 | cut -d' ' -f1) "
        "dev flannel.1 self; ip neighbour flush dev flannel.1 nud permanent",
        "h3": "ip route delete 172.16.0.0/24",
    },
    {"h1": "ip link set flannel.1 down", "h2": "ip address flush dev flannel.1"},
)
"""Commands after which flanneld still runs and etcd has all leases, by host."""
LACKS = (
    {"h1": "lacks: MAC ", "h2": "FDB entry of ", "h3": "lacks: route to 172.16.0.0/24"},
    {"h1": "lacks: flag UP of flannel.1", "h2": "lacks: address of flannel.1"},
)


def test_apply_restores_what_flanneld_does_not_notice(over: tuple[Hosts, str]) -> None:
    """A MAC other than that of the lease, lost routes, FDB entries, neighbours and addresses."""
    hosts, inventory = over
    for commands, texts in zip(UNNOTICED, LACKS, strict=True):
        for host, command in commands.items():
            hosts.ssh(host, command)
        failed_checks(hosts, inventory)
        plan = hosts.provision("plan", inventory)
        changes = hosts.json("plan", inventory)["changes"]
        assert {(change["host"], change["kind"]) for change in changes} == {
            (host, "flannel") for host in commands
        }
        assert all(text in plan for text in texts.values()), plan
        hosts.provision("apply", inventory)
        assert hosts.json("plan", inventory)["changes"] == []
        verified(hosts, inventory)


ELSEWHERE = {
    "udp": {
        "h1": ("ip route del 172.16.0.0/16 dev flannel0", "lacks: route to 172.16.0.0/16"),
        "h2": (
            "ip route add 172.16.0.0/24 via {}.99",
            "lacks: route to 172.16.0.0/24 dev flannel0 (there is one via {}.99 dev eth1)",
        ),
        "h3": (
            "ip route replace 172.16.0.0/16 via {}.99",
            "lacks: route to 172.16.0.0/16 dev flannel0 (there is one via {}.99 dev eth1)",
        ),
    },
    "host-gw": {
        "h1": (
            "ip route replace 172.16.1.0/24 via {}.99",
            "lacks: route to 172.16.1.0/24 via {}.12 (there is one via {}.99 dev eth1)",
        ),
        "h2": (
            "ip route replace blackhole 172.16.2.0/24",
            "lacks: route to 172.16.2.0/24 via {}.13 (there is one of type blackhole)",
        ),
    },
    "vxlan": {
        "h1": (
            "ip route replace 172.16.1.0/24 via {}.99",
            "lacks: route to 172.16.1.0/24 via 172.16.1.0 dev flannel.1 "
            "(there is one via {}.99 dev eth1)",
        ),
    },
}
"""By backend and host: a route that takes packets from flanneld's, and how a plan names it."""


@pytest.mark.full
def test_apply_heals_routes_that_lead_elsewhere(over: tuple[Hosts, str]) -> None:
    """The plan names the route, apply puts flanneld's in its place, and verify passes."""
    hosts, _ = over
    lan = hosts.networks[1]
    for backend, damages in ELSEWHERE.items():
        inventory = hosts.inventory(VXLAN, ("backend: vxlan", f"backend: {backend}"))
        hosts.provision("apply", inventory)
        verified(hosts, inventory)
        for host, (command, _) in damages.items():
            hosts.ssh(host, command.replace("{}", lan))
        failed_checks(hosts, inventory)
        plan = hosts.provision("plan", inventory)
        assert all(text.replace("{}", lan) in plan for _, text in damages.values()), plan
        changes = hosts.json("plan", inventory)["changes"]
        assert {(c["host"], c["kind"]) for c in changes} == {(host, "flannel") for host in damages}
        hosts.provision("apply", inventory)
        assert hosts.json("plan", inventory)["changes"] == []
        verified(hosts, inventory)


@pytest.mark.full
def test_routes_that_are_not_of_people_are_a_conflict(over: tuple[Hosts, str]) -> None:
    """One with the mark of another inventory stays, and so does one to a part of a subnet."""
    hosts, inventory = over
    by_eth1, folder = f"via {hosts.networks[1]}.99 dev eth1", "/etc/provision/other/routes"
    for kind, subnet, protocol in (
        ("unicast", "172.16.1.0/24", PROTO),
        ("unicast", "172.16.1.0/25", 4),
        ("blackhole", "172.16.1.0/25", 4),
    ):
        way = by_eth1 if kind == "unicast" else ""
        hosts.ssh("h1", f"ip route replace {kind} {subnet} {way} proto {protocol}")
        if protocol == PROTO:
            hosts.ssh("h1", f"mkdir -p {folder}; echo '{subnet} {way}' >{folder}/net")
        try:
            plan = hosts.provision("plan", inventory, status=9)
            assert f" {subnet}" in plan, plan
            hosts.provision("apply", inventory, status=9)
            left = hosts.ssh("h1", f"ip route show exact {subnet}")
            assert (way or kind) in left
        finally:
            hosts.ssh("h1", f"ip route del {subnet}; rm -rf {folder.removesuffix('/routes')}")
            hosts.ssh("h1", f"systemctl restart {FLANNELD}")
        verified(hosts, inventory)


def test_no_packet_is_lost_while_etcd_is_down(over: tuple[Hosts, str], seconds: int = 20) -> None:
    """No flanneld restarts while all members are down; one that starts waits for them."""
    hosts, inventory = over
    restarts = f"systemctl show -p NRestarts -p MainPID {FLANNELD}"
    before = hosts.ssh("h1", restarts)
    target = hosts.ssh("h3", "docker inspect -f '{{.NetworkSettings.Networks.over.IPAddress}}' c3")
    hosts.everywhere(f"systemctl stop {ETCD}")
    ping = f"docker exec c1 ping -q -c {seconds * 5} -i 0.2 {target.strip()}"
    process = subprocess.run(
        ("ssh", "-F", str(hosts.lab.ssh_config), "h1", ping),
        capture_output=True,
        text=True,
        timeout=seconds * 2 + 60,
    )
    assert " 0% packet loss" in process.stdout, process.stdout
    assert hosts.ssh("h1", restarts) == before
    hosts.ssh("h2", f"systemctl restart --no-block {FLANNELD}; sleep 3")
    assert "activating" in hosts.ssh("h2", f"systemctl is-active {FLANNELD}", check=False)
    details = failed_checks(hosts, inventory)
    assert any(detail.startswith("etcd: ") for detail in details), details
    hosts.provision("apply", inventory)
    verified(hosts, inventory)


@pytest.mark.full
def test_no_packet_is_lost_while_etcd_is_down_for_five_minutes(over: tuple[Hosts, str]) -> None:
    """The same for five minutes."""
    test_no_packet_is_lost_while_etcd_is_down(over, 300)


@pytest.mark.full
def test_a_changed_flanneld_binary_does_not_start(over: tuple[Hosts, str]) -> None:
    """A binary with one changed byte is drift, and apply replaces it."""
    hosts, inventory = over
    path = "/var/lib/provision/bin/overlay/over/flanneld"
    hosts.ssh(
        "h3",
        f"cp {path} {path}.x && printf x | dd of={path}.x bs=1 seek=4096 conv=notrunc status=none"
        f" && mv {path}.x {path}; systemctl restart --no-block {FLANNELD}; sleep 2",
    )
    assert hosts.ssh("h3", f"systemctl is-active {FLANNELD}", check=False).strip() != "active"
    changes = hosts.json("plan", inventory)["changes"]
    assert ("h3", "binary", path) in {(c["host"], c["kind"], c["name"]) for c in changes}
    hosts.provision("apply", inventory)
    verified(hosts, inventory)


@pytest.mark.full
def test_certificates_are_renewed_before_they_expire(over: tuple[Hosts, str]) -> None:
    """A certificate that expires in ten days is drift; etcd accepts the one that apply issues."""
    hosts, inventory = over
    signer = hosts.lab.folder / ".provision" / "pki" / "overlay" / "over"
    stem = "/etc/provision/overlay/pki/over.member"
    issue = Issue(
        request=hosts.ssh("h1", f"cat {stem}.csr"),
        signer=signer,
        trusted=signer.with_name("over.crt").read_text(),
        subject="over.member",
        addresses=(address(hosts, 1),),
        server=True,
        days=10,
        target=stem,
        authority="/etc/provision/overlay/pki/over.ca.crt",
        record=hosts.ssh("h1", f"cat {stem}.issued"),
    )
    for step in sign((issue,)):
        assert isinstance(step, Put)
        hosts.ssh("h1", f"cat >{step.path} <<'END'\n{step.text.rstrip()}\nEND")
    changes = hosts.json("plan", inventory)["changes"]
    assert [(c["host"], c["name"]) for c in changes] == [("h1", "over.member")]
    hosts.provision("apply", inventory)
    until = f"openssl x509 -noout -checkend $((600 * 86400)) -in {stem}.crt"
    assert "will not expire" in hosts.ssh("h1", until)
    verified(hosts, inventory)


@pytest.mark.full
def test_without_the_authority_apply_issues_no_certificate(over: tuple[Hosts, str]) -> None:
    """A controller without it can plan; its error says which file to copy from where."""
    hosts, inventory = over
    pki = hosts.lab.folder / ".provision" / "pki"
    pki.rename(pki.with_name("elsewhere"))
    try:
        assert hosts.json("plan", inventory)["changes"] == []
        hosts.ssh("h2", "rm /etc/provision/overlay/pki/over.client.issued")
        error = hosts.json("apply", inventory, status=3)["errors"][0]
        assert error["kind"] == "SupplyError" and "over.key is missing" in error["message"]
        assert "copy " in error["hint"]
        assert not pki.exists()
    finally:
        pki.with_name("elsewhere").rename(pki)
    hosts.provision("apply", inventory)
    verified(hosts, inventory)


@pytest.mark.full
def test_backends_are_switched_in_place(over: tuple[Hosts, str]) -> None:
    """Verify passes with udp, with host-gw and again with vxlan; no old device or route stays."""
    hosts, inventory = over
    devices = "ls /sys/class/net | grep flannel; ip route | grep '^172.16' | grep -v ' dev br-'"
    for backend, device in (("udp", "flannel0"), ("host-gw", None), ("vxlan", "flannel.1")):
        change = ("backend: vxlan", f"backend: {backend}")
        switched = hosts.inventory(VXLAN, change)
        plan = hosts.provision("plan", switched)
        assert "! packets between hosts are lost until flannel is back" in plan
        hosts.provision("apply", switched)
        verified(hosts, switched)
        assert hosts.json("plan", switched)["changes"] == []
        for host, output in hosts.everywhere(devices, check=False).items():
            names = set(re.findall(r"flannel[.\d]+|eth1", output))
            assert names == {device or "eth1"}, (host, output)
    assert switched == inventory


@pytest.mark.full
def test_all_hosts_reboot_at_once(over: tuple[Hosts, str]) -> None:
    """The members of etcd wait for each other, and all pairs work within 120 s."""
    hosts, inventory = over
    power.reboot(hosts.lab, HOSTS, say=print)
    verified(hosts, inventory, within_s=120)
    assert hosts.json("plan", inventory)["changes"] == []
