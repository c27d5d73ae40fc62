"""Docker 29 on booted hosts, with each of its two backends for firewall rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provision.lab import power
from tests.lab.conftest import Boot
from tests.lab.hosts import HOSTS, Hosts, assert_same, without_records

pytestmark = [pytest.mark.lab, pytest.mark.full]

# The backend nftables does not start while the host does not forward.
_NFTABLES = """
echo '{"firewall-backend": "nftables"}' >/etc/docker/daemon.json
echo net.ipv4.ip_forward=1 >/etc/sysctl.d/50-docker.conf
"""
_BACKEND = "docker info --format '{{.ServerVersion}} {{.FirewallBackend.Driver}}'"


@pytest.fixture
def docker_29(booted: Boot) -> Iterator[Hosts]:
    """Three hosts with Docker 29, and its default backend, which is iptables."""
    hosts = booted("sid", {host: {"docker": "29"} for host in HOSTS})
    yield hosts
    _destroy_all(hosts)


@pytest.fixture
def nftables(docker_29: Hosts) -> Iterator[Hosts]:
    """The same hosts with the backend nftables, which leaves rules of the other until a reboot."""
    docker_29.everywhere(_NFTABLES)
    power.reboot(docker_29.lab, HOSTS, say=print)
    yield docker_29
    _destroy_all(docker_29)
    docker_29.everywhere("rm /etc/docker/daemon.json /etc/sysctl.d/50-docker.conf")
    power.reboot(docker_29.lab, HOSTS, say=print)


def _destroy_all(hosts: Hosts) -> None:
    power.start(hosts.lab, say=print)
    for path in hosts.lab.folder.glob("*.yml"):
        hosts.provision("destroy", path.name, "--yes", status=None)
        path.unlink()


@pytest.mark.parametrize(
    "example", ["routes.yml", "vxlan.yml", "modes.yml", "flannel-vxlan.yml", "pipework.yml"]
)
def test_an_example_with_iptables(docker_29: Hosts, example: str) -> None:
    """From apply to destroy, also after a restart of Docker."""
    assert set(docker_29.everywhere(_BACKEND).values()) == {"29.99.0 iptables\n"}
    inventory, before = docker_29.inventory(example), docker_29.capture()
    docker_29.provision("apply", inventory)
    docker_29.verified(inventory)
    docker_29.everywhere("systemctl restart docker")
    docker_29.verified(inventory)
    assert docker_29.json("apply", inventory)["changes"] == []
    docker_29.provision("destroy", inventory, "--yes")
    assert_same(without_records(before), without_records(docker_29.capture()))


def test_nftables_is_refused_before_any_change(nftables: Hosts) -> None:
    """Each host is named with the cause, and none is armed."""
    assert set(nftables.everywhere(_BACKEND).values()) == {"29.99.0 nftables\n"}
    inventory, before = nftables.inventory("routes.yml"), nftables.capture()
    for command in ("plan", "apply"):
        errors = nftables.json(command, inventory, status=4)["errors"]
        assert {error["host"] for error in errors} == set(HOSTS), errors
        assert all("firewall-backend" in error["message"] for error in errors), errors
    assert_same(before, nftables.capture())
