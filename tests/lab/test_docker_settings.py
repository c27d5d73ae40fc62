"""Settings of dockerd that a careful administrator writes, and that change what Docker makes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.lab.hosts import RESTART_DOCKER, Hosts, assert_same
from tests.lab.test_host_settings import unordered

pytestmark = [pytest.mark.lab, pytest.mark.full]

DAEMON_JSON = "/etc/docker/daemon.json"
ISOLATED = {
    "bridge": {"com.docker.network.bridge.enable_icc": "false"},
    "macvlan": {"macvlan_mode": "private"},
}
SKIPS = ("wire", "broadcast")
# Docker reads `default-network-opts` since 24.0: not on h2, whose version is 20.10.
NEWER = ("h1", "h3")
TWO = ("  c2: {host", "  c4: {host: h1, network: blue}\n  c2: {host")
PORT = ("  c2: {host", '  web: {host: h2, network: blue, ports: ["8080:80"]}\n  c2: {host')
FLAT = ("containers:  ", "  flat: {method: vxlan, cidr: 172.24.0.0/16}\n\ncontainers:  ")
FLAT_ENDS = (
    "  c3: {host",
    "".join(f"  f{n}: {{host: h{host}, network: flat}}\n" for n, host in ((1, 1), (2, 1), (3, 3)))
    + "  c3: {host",
)


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts without these settings, and without inventories, also after a failure."""
    yield mixed
    mixed.destroy_all()
    mixed.everywhere(f"rm -f {DAEMON_JSON}; {RESTART_DOCKER}", check=False)


def set_docker(hosts: Hosts, names: tuple[str, ...], settings: Mapping[str, Any]) -> None:
    """Restart Docker with these settings."""
    for host in names:
        hosts.ssh(host, f"echo '{json.dumps(settings)}' >{DAEMON_JSON}; {RESTART_DOCKER}")


def pairs(result: Any) -> set[tuple[str, str]]:
    """The names of both ends of each check."""
    return {(check["from"].split("/")[0], check["to"].split("/")[0]) for check in result["checks"]}


def test_docker0_without_icc_is_refused_and_its_containers_are_no_pairs(clean: Hosts) -> None:
    """Plan names the setting and its file; on Docker's own bridge it is what verify expects."""
    set_docker(clean, ("h1",), {"icc": False})
    name = clean.inventory("routes-docker0.yml", TWO)
    (error,) = clean.json("plan", name, status=None)["errors"]
    assert error["host"] == "h1" and '"icc": false' in error["message"], error
    single = clean.inventory("routes-docker0.yml", to="single.yml")
    assert "errors" not in clean.json("plan", single)
    ends = "\n".join(f"  b{n}: {{host: h{host}, network: bridge}}" for n, host in ((1, 1), (2, 1)))
    own = clean.inventory("routes.yml", ("\n  c1: {host", f"\n{ends}\n  c1: {{host"), to="own.yml")
    clean.provision("apply", own)
    assert ("b1", "b2") not in pairs(clean.verified(own, skips=SKIPS))
    set_docker(clean, ("h1",), {})
    assert ("b1", "b2") in pairs(clean.verified(own, skips=SKIPS))


def test_networks_pass_what_the_daemons_defaults_would_drop(clean: Hosts) -> None:
    """Between containers of one host, and of hosts on one layer 2."""
    set_docker(clean, NEWER, {"default-network-opts": ISOLATED})
    before = clean.capture()
    name = clean.inventory("routes.yml", TWO, FLAT, FLAT_ENDS)
    clean.provision("apply", name)
    clean.verified(name, skips=SKIPS)
    assert clean.json("apply", name)["changes"] == []
    # As the version before made it: without an option of its own.
    clean.ssh("h1", "docker rm -f f1 f2; docker network rm flat")
    clean.provision("apply", name)
    clean.verified(name, skips=SKIPS)
    clean.provision("destroy", name, "--yes")
    assert_same(before, clean.capture())


def test_networks_survive_a_restart_with_live_restore_and_no_proxy(clean: Hosts) -> None:
    """Published ports are served by rules alone, and containers run on."""
    set_docker(clean, clean.names, {"live-restore": True, "userland-proxy": False})
    before = clean.capture()
    name = clean.inventory("routes.yml", TWO, PORT)
    clean.provision("apply", name)
    clean.verified(name, skips=SKIPS)
    clean.everywhere(RESTART_DOCKER)
    clean.verified(name, skips=SKIPS)
    assert clean.json("apply", name)["changes"] == []
    clean.provision("destroy", name, "--yes")
    assert_same(unordered(before), unordered(clean.capture()))
