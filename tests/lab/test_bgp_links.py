"""Method `bgp` on booted hosts of two links: h3 is behind a router, which h4 plays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.lab import power
from tests.lab.conftest import Boot
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.test_bgp import (
    REFLECTORS,
    UNIT,
    assert_silence_is_noticed,
    await_bfd,
    await_sessions,
    lost_during,
)
from tests.lab.test_bgp_routers import START, STOP, learned
from tests.lab.two_links import FAR, ROUTER, moved, on_two_links

pytestmark = pytest.mark.lab

PAGE = Path(__file__).parents[2] / "docs" / "bgp.md"


def router_text(hosts: Hosts) -> str:
    """The router's configuration of docs/bgp.md, called from both links."""
    (text,) = re.findall(r"```text\n(ip prefix-list.*?)```", PAGE.read_text(), re.S)
    listen = " bgp listen range 10.78.0.0/24 peer-group hosts\n"
    assert listen in text
    text = text.replace(listen, listen + listen.replace("10.78.0", FAR))
    # Packets cross the router, so it has to keep the subnet of a host whose service is restarted.
    keep = " bgp graceful-restart\n bgp long-lived-graceful-restart stale-time 300\n"
    assert all(f"`{line.strip()}`" in PAGE.read_text() for line in keep.splitlines())
    text = text.replace("router bgp 64600\n", f"router bgp 64600\n{keep}")
    return str(text.replace("10.78.0.", f"{hosts.networks[1]}."))


@pytest.fixture
def linked(booted: Boot) -> Iterator[Hosts]:
    """Three hosts of two links and the router; afterwards all are on one link again."""
    hosts = booted("mixed", count=4)
    with on_two_links(hosts):
        quoted = router_text(hosts).replace("'", "'\\''")
        start = START.strip().replace("\n", "; ")
        hosts.ssh(ROUTER, f"printf %s '{quoted}' | {{ {start}; }}")
        yield hosts
        power.start(hosts.lab, say=print)
        if any(hosts.everywhere("ls -d /etc/provision/mesh", check=False).values()):
            hosts.provision("destroy", inventory_of(hosts), "--yes", status=None)
        hosts.ssh(ROUTER, STOP.strip(), check=False)


def inventory_of(hosts: Hosts, *further: str) -> str:
    """The example with h3 on the other link, and with both addresses of the router."""
    near = hosts.networks[1]
    keys = (
        f"links: [{near}.0/24, {FAR}.0/24]",
        f"routers: [{{address: {near}.14, asn: 64600, accept: [10.200.0.0/16]}}, "
        f"{{address: {FAR}.1, asn: 64600}}]",
        *further,
        "# asn: 64512",
    )
    return hosts.inventory("bgp.yml", moved(hosts), ("# asn: 64512", "\n    ".join(keys)))


def without_h3(hosts: Hosts, inventory: str) -> str:
    """A copy of the inventory that h3 has left, with its container."""
    lines = (hosts.lab.folder / inventory).read_text().splitlines()
    path = hosts.lab.folder / "left.yml"
    path.write_text("\n".join(line for line in lines if not re.match(r"  (h3|b3):", line)))
    return path.name


def test_hosts_of_two_links_reach_each_other_by_their_router(linked: Hosts) -> None:
    """From apply to destroy, with a reflector away and after a reboot."""
    near, before = linked.networks[1], linked.capture()
    inventory = inventory_of(linked)
    linked.provision("apply", inventory)
    linked.verified(inventory)
    assert linked.json("apply", inventory)["changes"] == []
    assert learned(linked) == [
        f"172.27.0.0/24 via {near}.11",
        f"172.27.1.0/24 via {near}.12",
        f"172.27.2.0/24 via {FAR}.13",
    ]
    accepted, to_far = f"10.200.0.0/16 via {near}.14", f"172.27.2.0/24 via {near}.14"
    assert learned(linked, "h1") == [accepted, f"172.27.1.0/24 via {near}.12", to_far]
    assert learned(linked, "h2") == [accepted, f"172.27.0.0/24 via {near}.11", to_far]
    assert learned(linked, "h3") == [f"172.27.{k}.0/24 via {FAR}.1" for k in range(2)]
    for pair in (("b1", "b3"), ("b3", "b2"), ("b2", "b1")):
        explained = linked.json("explain", inventory, *pair)
        assert explained["reached"] and explained["cause"] is None, explained

    plan = linked.provision("plan", without_h3(linked, inventory))
    assert "hosts on other links (with 172.27.2.0/24 of network 'core')" in plan, plan
    assert "not in this file" not in linked.provision("plan", inventory)

    stop = f"systemctl stop {UNIT}; sleep 4; systemctl start {UNIT}"
    assert not lost_during(linked, 12, *((host, stop) for host in REFLECTORS))
    await_sessions(linked)
    linked.verified(inventory)
    power.reboot(linked.lab, HOSTS, say=print)
    linked.verified(inventory, within_s=120)
    assert linked.json("plan", inventory)["changes"] == []

    linked.provision("destroy", inventory, "--yes")
    assert_same(before, linked.capture())
    left = linked.everywhere("ip route show proto 186; ip route show proto 241")
    assert not any(left.values()), left


@pytest.mark.full
def test_bfd_notices_a_dead_host_behind_a_router(linked: Hosts) -> None:
    """The session crosses the router, and has another port."""
    inventory = inventory_of(linked, "bfd: true")
    linked.provision("apply", inventory)
    linked.verified(inventory)
    await_bfd(linked)
    assert_silence_is_noticed(linked)
    await_sessions(linked)
    linked.verified(inventory, within_s=120)
    linked.provision("destroy", inventory, "--yes")
