"""Docker 29 on booted hosts, with each of its two backends for firewall rules."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from provision.lab import power
from tests.lab.conftest import Boot
from tests.lab.hosts import HOSTS, Hosts, assert_same, without_records

pytestmark = [pytest.mark.lab, pytest.mark.full]

_DAEMON_JSON = "/etc/docker/daemon.json"
_NFTABLES = '{"firewall-backend": "nftables", "bridge-accept-fwmark": "0x2000/0x2000"}'
# The backend nftables does not start while the host does not forward.
_FORWARD = "/etc/sysctl.d/50-docker.conf"
_TABLES = "nft list tables inet"
_ADDRESS = "docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' c1"
_FROM_C2 = "nsenter -n -t $(docker inspect -f '{{.State.Pid}}' c2)"
_BACKEND = "docker info --format '{{.ServerVersion}} {{.FirewallBackend.Driver}}'"


_SKIPS = ("wire", "broadcast")
"""Checks that need two containers of different hosts: macvlan.yml has two on one host."""


@pytest.fixture
def docker_29(booted: Boot) -> Iterator[Hosts]:
    """Three hosts with Docker 29, and its default backend, which is iptables."""
    hosts = booted("sid", {host: {"docker": "29"} for host in HOSTS})
    _choose(hosts, "")
    yield hosts
    _destroy_all(hosts)


@pytest.fixture
def nftables(booted: Boot) -> Iterator[Hosts]:
    """The same hosts with the backend nftables."""
    hosts = booted("sid", {host: {"docker": "29"} for host in HOSTS})
    _choose(hosts, _NFTABLES)
    yield hosts
    _destroy_all(hosts)


def _choose(hosts: Hosts, settings: str) -> None:
    """Give Docker these settings; rules of the other backend stay until a reboot."""
    if set(hosts.everywhere(f"cat {_DAEMON_JSON} 2>/dev/null || :").values()) == {settings}:
        return
    hosts.everywhere(
        f"printf %s '{settings}' >{_DAEMON_JSON}; echo net.ipv4.ip_forward=1 >{_FORWARD}"
        if settings
        else f"rm {_DAEMON_JSON} {_FORWARD}"
    )
    power.reboot(hosts.lab, HOSTS, say=print)


def _destroy_all(hosts: Hosts) -> None:
    power.start(hosts.lab, say=print)
    hosts.destroy_all()


EXAMPLES = (
    "flannel-vxlan.yml",
    "wireguard.yml",
    "bgp.yml",
    "pipework.yml",
    "modes.yml",
    "flannel-udp.yml",
    "flannel-host-gw.yml",
    "ovs-gre.yml",
    "ovs-vxlan.yml",
    "vxlan-evpn.yml",
    "names.yml",
    "macvlan.yml",
    "access.yml",
    "routes-docker0.yml",
    "flannel-docker0.yml",
    "pipework-ovs.yml",
    "routes.yml",
    "vxlan.yml",
)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_with_iptables(docker_29: Hosts, example: str) -> None:
    """From apply to destroy, also after a restart of Docker and after a reboot."""
    assert set(docker_29.everywhere(_BACKEND).values()) == {"29.99.0 iptables\n"}
    inventory, before = docker_29.inventory(example), docker_29.capture()
    docker_29.provision("apply", inventory)
    docker_29.verified(inventory, skips=_SKIPS)
    docker_29.everywhere("systemctl restart docker")
    docker_29.verified(inventory, skips=_SKIPS)
    power.reboot(docker_29.lab, HOSTS, say=print)
    docker_29.verified(inventory, skips=_SKIPS)
    assert docker_29.json("apply", inventory)["changes"] == []
    docker_29.provision("destroy", inventory, "--yes")
    assert_same(without_records(before), without_records(docker_29.capture()))


# access.yml lets in a range, which Docker's backend nftables does not.
@pytest.mark.parametrize("example", [name for name in EXAMPLES if name != "access.yml"])
def test_an_example_with_nftables(nftables: Hosts, example: str) -> None:
    """From apply to destroy, also after a reboot."""
    assert set(nftables.everywhere(_BACKEND).values()) == {"29.99.0 nftables\n"}
    inventory, before = nftables.inventory(example), nftables.capture()
    nftables.provision("apply", inventory)
    nftables.verified(inventory, skips=_SKIPS)
    power.reboot(nftables.lab, HOSTS, say=print)
    nftables.verified(inventory, skips=_SKIPS)
    assert nftables.json("apply", inventory)["changes"] == []
    nftables.provision("destroy", inventory, "--yes")
    assert_same(without_records(before), without_records(nftables.capture()))
    assert set(nftables.everywhere(_TABLES).values()) == {""}


def test_a_table_lets_in_its_network_alone_and_is_restored(nftables: Hosts) -> None:
    """A host's own packets are none of the network; a table that is gone comes back."""
    inventory = nftables.inventory("routes.yml")
    nftables.provision("apply", inventory)
    nftables.verified(inventory)
    container = nftables.ssh("h1", _ADDRESS).strip()
    nftables.ssh("h2", f"! ping -c 2 -W 2 {container}")
    nftables.damage("h1", f"nft delete table inet $({_TABLES} | sed -n 's/.*\\(PROV-\\)/\\1/p')")
    back = f"timeout 60 sh -c 'until {_TABLES} | grep -q PROV-; do sleep 0.2; done'"
    nftables.ssh("h1", back)
    nftables.verified(inventory)
    assert nftables.json("plan", inventory)["changes"] == []


def test_nothing_is_missing_for_what_a_stopped_docker_does_not_tell(nftables: Hosts) -> None:
    """Its backend among it: a chain of iptables is not wanted in place of the table."""
    inventory = nftables.inventory("routes.yml")
    nftables.provision("apply", inventory)
    nftables.ssh("h1", "systemctl stop docker.socket docker.service")
    try:
        text = nftables.provision("verify", inventory, "-k", "drift", status=7)
        assert text.startswith("drift h1: FAILED: cannot be compared: dockerd does not"), text
        assert "differs" not in text and "PROV-" not in text, text
    finally:
        nftables.ssh("h1", "systemctl start docker.service")
    nftables.verified(inventory, within_s=60)


def test_access_lets_in_hosts_and_other_senders_are_refused(nftables: Hosts) -> None:
    """Docker drops the others' packets before any table of ours could mark them."""
    method = "method: routes"
    ranges = (method, f"{method}\n    access: [hosts, 10.9.0.0/16]")
    errors = nftables.json("plan", nftables.inventory("routes.yml", ranges), status=4)["errors"]
    assert {error["host"] for error in errors} == set(HOSTS), errors
    assert all("packets of 10.9.0.0/16" in error["message"] for error in errors), errors
    inventory = nftables.inventory("routes.yml", (method, f"{method}\n    access: [hosts]"))
    nftables.provision("apply", inventory)
    checks = nftables.verified(inventory)["checks"]
    assert [check["check"] for check in checks].count("access") > 1, checks
    nftables.ssh("h2", f"ping -c 1 -w 10 {nftables.ssh('h1', _ADDRESS).strip()}")


def test_a_drop_in_iptables_is_named_with_the_command_that_lets_packets_pass(
    nftables: Hosts,
) -> None:
    """An accept in a table of nftables does not skip iptables; each direction is named."""
    inventory = nftables.inventory("routes.yml")
    nftables.provision("apply", inventory)
    assert "(chain FORWARD)" not in nftables.warnings("plan", inventory)
    ping = f"{_FROM_C2} ping -c 1 -W 2 {nftables.ssh('h1', _ADDRESS).strip()}"
    nftables.ssh("h2", ping)
    try:
        nftables.ssh("h1", "iptables -A FORWARD -d 172.20.0.0/16 -j DROP")
        for _ in ("to the container", "from it"):
            nftables.ssh("h2", f"! {ping}")
            warning = " ".join(nftables.warnings("plan", inventory).split())
            assert "h1: iptables (chain FORWARD) drops" in warning, warning
            (command,) = re.findall("run `(iptables [^`]*)` on h1", warning)
            nftables.ssh("h1", command)
        nftables.ssh("h2", ping)
        assert "(chain FORWARD)" not in nftables.warnings("plan", inventory)
    finally:
        nftables.ssh("h1", "iptables -F FORWARD")


def test_a_flush_is_named_and_healed_by_a_restart_of_docker(nftables: Hosts) -> None:
    """Also of Docker's table alone; without consent `apply` refuses the host unchanged."""
    inventory = nftables.inventory("modes.yml")
    nftables.provision("apply", inventory)
    nftables.verified(inventory)
    nftables.ssh("h1", "nft flush ruleset")
    nftables.ssh("h2", "nft delete table ip docker-bridges")
    back = "until iptables-save -t nat | grep -q '^-A POSTROUTING .*PROV-'; do sleep 0.2; done"
    nftables.ssh("h1", f'timeout 60 sh -c "{back}"')
    plan = nftables.json("plan", inventory)["changes"]
    assert {(change["host"], change["kind"]) for change in plan} >= {
        ("h1", "docker_firewall"),
        ("h2", "docker_firewall"),
    }
    assert "firewall was flushed: systemctl restart docker" in nftables.provision("plan", inventory)
    result = nftables.json("verify", inventory, "-k", "drift", status=7)
    assert "the firewall was flushed" in str([check["detail"] for check in result["checks"]])
    nftables.provision("apply", inventory, status=9)
    assert "txn" not in nftables.ssh("h1", "ls /var/lib/provision")
    nftables.provision("apply", inventory, "--restart-docker")
    nftables.verified(inventory)
    assert nftables.json("plan", inventory)["changes"] == []


def test_nftables_without_a_mark_is_refused_before_any_change(nftables: Hosts) -> None:
    """Each host is named with the cause, and none is armed."""
    without = '{"firewall-backend": "nftables"}'
    nftables.everywhere(f"echo '{without}' >{_DAEMON_JSON}; systemctl restart docker")
    inventory, before = nftables.inventory("routes.yml"), nftables.capture()
    for command in ("plan", "apply"):
        errors = nftables.json(command, inventory, status=4)["errors"]
        assert {error["host"] for error in errors} == set(HOSTS), errors
        assert all("firewall-backend" in error["message"] for error in errors), errors
    assert_same(before, nftables.capture())
