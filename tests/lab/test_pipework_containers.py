"""Method `pipework` on booted hosts: NICs, routes, rules and published ports of containers."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from provision.lab import power
from tests.lab.hosts import Hosts, assert_same
from tests.lab.pipework import FOLLOW_S, clean, failing_nic_move, nics, wait_for_output

pytestmark = [pytest.mark.lab, pytest.mark.full]
__all__ = ["clean"]


@contextmanager
def pinging(address: str) -> Iterator[Callable[[], float]]:
    """Ping every 5 ms; the function gives the longest gap in ms, once the block has ended."""
    argv = ("ping", "-D", "-O", "-i", "0.005", address)
    ping = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    gaps: list[float] = []
    yield lambda: max(gaps)
    time.sleep(0.5)
    ping.terminate()
    output, _ = ping.communicate(timeout=10)
    times = [float(text) for text in re.findall(r"^\[([\d.]+)\] \d+ bytes", output, re.M)]
    gaps += [(later - earlier) * 1000 for earlier, later in pairwise(times)]


def test_a_nic_moves_without_a_gap(clean: Hosts) -> None:
    """Each move is one batch: at most 50 ms without an answer, and undone if a line fails."""
    inventory = clean.inventory("pipework.yml")
    address = f"{clean.networks[1]}.11"
    nics_before = nics(clean)
    with failing_nic_move(clean, "h1"):
        clean.provision("apply", inventory, status=None)
        assert nics(clean)["h1"] == nics_before["h1"]
        assert f"{address}/24" in clean.ssh("h1", "ip -br address show dev eth1")
    for _ in range(3):  # other work on this machine causes gaps, too
        with pinging(address) as apply_gap_ms:
            clean.provision("apply", inventory)
        clean.verified(inventory)
        with pinging(address) as destroy_gap_ms:
            clean.provision("destroy", inventory, "--yes")
        if apply_gap_ms() <= 50 and destroy_gap_ms() <= 50:
            break
    assert apply_gap_ms() <= 50 and destroy_gap_ms() <= 50, (apply_gap_ms(), destroy_gap_ms())


WHOLE_NIC = """
name: whole
hosts: {h1: {address: 10.78.0.11}, h3: {address: 10.78.0.13}}
containers:
  whole:
    host: h3
    network: none
    interfaces:
    - {nic: eth1, name: lan0, address: 10.78.0.243/24, mtu: 1400, mac: "02:00:00:00:00:77"}
"""


def test_a_nic_returns_before_its_containers_namespace_ends(clean: Hosts) -> None:
    """The kernel deletes a veth with its namespace, and the lab's NICs are veths."""
    target = clean.lab.folder / "nic.yml"
    lan = clean.networks[1]
    target.write_text(WHOLE_NIC.replace("10.78.0.", f"{lan}."))
    before, nics_before = clean.capture(), nics(clean)
    clean.provision("apply", target.name)
    assert clean.json("plan", target.name)["changes"] == []
    clean.ssh("h1", f"ping -c1 -W2 {lan}.243")
    show = "docker exec whole ip address show dev lan0"
    for event in ("docker restart -t 0 whole", "docker kill whole; docker start whole"):
        clean.ssh("h3", event)
        wait_for_output(clean, "h3", show, f"{lan}.243/24")
    clean.ssh("h3", "docker stop -t 0 whole")
    wait_for_output(clean, "h3", "ip -br address show dev eth1", f"{lan}.13/24")
    clean.ssh("h3", "docker start whole")
    wait_for_output(clean, "h3", show, f"{lan}.243/24")
    power.reboot(clean.lab, ("h3",), say=print)
    wait_for_output(clean, "h3", show, f"{lan}.243/24", 60)
    clean.provision("destroy", target.name, "--yes")
    assert_same(before, clean.capture())
    assert_same(nics_before, nics(clean))


MACVLANS = """
name: more
hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}
networks:
  lan: {method: pipework, cidr: 10.78.0.0/24}
containers:
  ruled:
    host: h1
    network: none
    interfaces:
    - network: lan
      address: 10.78.0.241/24
      routes: [{to: default, via: 10.78.0.254, table: 100}]
      rules: [{source: 10.78.0.241/32, table: 100, priority: 1000}]
    - network: lan
      addresses: ["fd00:78::241/64"]
      gateway6: "fd00:78::1"
      rules: [{source: "fd00:78::241/128", table: 101, priority: 1001}]
      mtu: 1400
  mac1: {host: h1, network: none, interfaces: [{macvlan: host0, address: 10.77.0.241/24}]}
  mac2:
    host: h2
    network: bridge
    interfaces: [{macvlan: host0, address: 10.77.0.242/24, gateway: 10.77.0.254}]
"""


def test_macvlans_routes_and_rules_from_apply_to_destroy(clean: Hosts) -> None:
    """Both address families, tables and rules, beside Docker's own interface and default route."""
    target = clean.lab.folder / "more.yml"
    management, lan = clean.networks
    text = MACVLANS.replace("10.77.0.", f"{management}.").replace("10.78.0.", f"{lan}.")
    target.write_text(text)
    before = clean.capture()
    clean.provision("apply", target.name)
    assert clean.json("plan", target.name)["changes"] == []
    rules = clean.ssh("h1", "nsenter -t $(docker inspect -f '{{.State.Pid}}' ruled) -n ip rule")
    assert f"from {lan}.241 lookup 100" in rules
    clean.ssh("h1", "docker restart -t 0 ruled; docker restart -t 0 mac1")
    clean.ssh("h2", "docker restart -t 0 mac2")
    wait_for_output(clean, "h2", f"docker exec mac2 ping -c1 -W1 {management}.241", "ttl=64")
    begin = time.monotonic()
    while clean.json("plan", target.name)["changes"]:
        assert time.monotonic() - begin < FOLLOW_S
    # Without its gateway in the inventory, the container has Docker's default route again.
    target.write_text(target.read_text().replace(f"gateway: {management}.254", "mtu: 1400"))
    clean.provision("apply", target.name)
    assert "via 172.17.0.1" in clean.ssh("h2", "docker exec mac2 ip route")
    clean.provision("destroy", target.name, "--yes")
    assert_same(before, clean.capture())


PUBLISHED = """
name: published
hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}
networks:
  lan: {method: pipework, cidr: 10.78.0.0/24, gateway: 10.78.0.254, pool: 10.78.0.224/28}
containers:
  web:
    host: h1
    network: lan
    command: [httpd, -f, -h, /etc]
    ports: ["8080:80"]
"""


def test_a_published_port_answers_at_each_address_of_its_host(clean: Hosts) -> None:
    """The container's default route leads to the LAN's gateway, past the client's NIC."""
    management, lan = clean.networks
    target = clean.lab.folder / "published.yml"
    text = PUBLISHED.replace("10.78.0.", f"{lan}.")
    before, nics_before = clean.capture(), nics(clean)
    request = r'printf "GET /hostname HTTP/1.0\r\n\r\n" >&3; timeout 3 cat <&3'
    for option in ("", "host_port: veth, "):
        target.write_text(text.replace("{method:", f"{{{option}method:"))
        clean.provision("apply", target.name)
        for network in (management, lan):
            call = f"timeout 5 bash -c 'exec 3<>/dev/tcp/{network}.11/8080; {request}'"
            assert "200 OK" in clean.ssh("h2", call, check=False), (option, network)
        clean.ssh("h1", "docker restart -t 0 web")
        wait_for_output(clean, "h2", call, "200 OK")
        assert clean.json("apply", target.name)["changes"] == []
    clean.provision("destroy", target.name, "--yes")
    assert_same(before, clean.capture())
    assert_same(nics_before, nics(clean))
