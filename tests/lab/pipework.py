"""Fixture and helpers of the tests of method `pipework` on booted hosts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.lab import power
from tests.lab.hosts import Hosts

FOLLOW_S = 5.0
"""The follower's limit: seconds from a container's start until it has its interface."""

# State of a NIC that the general capture leaves out, and that destroy must restore.
_NIC = r"""
ip -o -6 address | grep -v -e veth -e docker0 | awk '{print $2, $4}' | sort
ip -6 route | grep -v -e veth -e docker0 | sort; cat /etc/resolv.conf
ip -d link show dev eth1 | grep -o -e 'mtu [0-9]*' -e 'link/ether [0-9a-f:]*' -e promiscuity.[0-9]*
cat /proc/sys/net/ipv4/conf/eth1/arp_notify
ip route show table 100
systemctl is-enabled openvswitch-switch; systemctl is-active openvswitch-switch
"""

# Settings that a NIC may have beside its one address, as systemd-networkd's options.
_EXTRA_SETTINGS = """[Network]
Address=fd00:77::11/64
[Route]
Destination=10.9.0.0/16
Gateway=LAN.254
Metric=77
[Route]
Gateway=LAN.254
Table=100
PreferredSource=LAN.11
"""

# An `ip` that ends the batch which takes the addresses off the NIC after its second line, as the
# real `ip` does if the third line fails.
_FAILING_IP = r"""#!/bin/sh
if [ "$*" = "-batch -" ]; then
  lines=$(cat)
  case $lines in *"master bri0"*"address delete"*)
    printf '%s\n' "$lines" | head -n 2 | /usr/sbin/ip -batch -
    echo 'the third line fails' | tee /run/ip-failed >&2
    exit 1
  esac
  printf '%s\n' "$lines" | exec /usr/sbin/ip -batch -
fi
exec /usr/sbin/ip "$@"
"""


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards every inventory in the lab's folder is destroyed."""
    yield mixed
    power.start(mixed.lab, say=print)
    for path in Path(mixed.lab.folder).glob("*.yml"):
        mixed.provision("destroy", path.name, "--yes", status=None)
        path.unlink()
    mixed.everywhere("docker ps -aq | xargs -r docker rm -f")


def nics(hosts: Hosts) -> dict[str, str]:
    """The state of the NIC of each host."""
    return {host: hosts.ssh(host, _NIC, check=False) for host in hosts.names}


def failing_checks(hosts: Hosts, inventory: str) -> set[tuple[str, str, str]]:
    """The failing checks of `verify`, each with its source and its target."""
    result = hosts.json("verify", inventory, status=7)
    return {(c["check"], c["from"], c["to"]) for c in result["checks"] if not c["ok"]}


def wait_for_output(
    hosts: Hosts, host: str, command: str, text: str, within_s: float = FOLLOW_S
) -> None:
    """Repeat a command on a host until its output contains `text`, at most `within_s` seconds."""
    begin = time.monotonic()
    while text not in (output := hosts.ssh(host, command, check=False)):
        assert time.monotonic() - begin < within_s, (command, output)
        time.sleep(0.2)


@contextmanager
def extra_nic_settings(hosts: Hosts) -> Iterator[None]:
    """h1's eth1 also has an IPv6 address, a route with a metric and a route in table 100."""
    files = hosts.ssh("h1", "cd /etc/systemd/network && grep -l '^Name=eth1' *.network")
    folder = f"/etc/systemd/network/{files.split()[0]}.d"
    text = _EXTRA_SETTINGS.replace("LAN", hosts.networks[1])
    hosts.ssh("h1", f"mkdir {folder} && cat >{folder}/more.conf <<'X'\n{text}X")
    # A restart, not a reload: networkd must forget the settings that it had before.
    hosts.ssh("h1", "systemctl restart systemd-networkd")
    wait_for_output(hosts, "h1", "ip -6 address show dev eth1; ip route", "fd00:77::11/64")
    wait_for_output(hosts, "h1", "ip route", "10.9.0.0/16")
    try:
        yield
    finally:
        hosts.provision("destroy", "pipework.yml", "--yes", status=None)
        hosts.ssh("h1", f"rm -r {folder}; ip -6 address flush dev eth1 scope global")
        hosts.ssh("h1", "ip route flush table 100; ip route flush 10.9.0.0/16")
        hosts.ssh("h1", "systemctl restart systemd-networkd")


def assert_extra_settings(hosts: Hosts, device: str) -> None:
    """All extra settings of h1's NIC are on this device now."""
    lan = hosts.networks[1]
    assert "fd00:77::11/64" in hosts.ssh("h1", f"ip -6 address show dev {device}")
    assert f"10.9.0.0/16 via {lan}.254 dev {device}" in (routes := hosts.ssh("h1", "ip route"))
    assert "metric 77" in routes
    table = hosts.ssh("h1", "ip route show table 100")
    assert f"default via {lan}.254 dev {device}" in table and f"src {lan}.11" in table


@contextmanager
def failing_nic_move(hosts: Hosts, host: str) -> Iterator[None]:
    """The batch that moves the NIC's addresses fails on a host at its third line."""
    hosts.ssh(host, f"cat >/usr/local/sbin/ip <<'X'\n{_FAILING_IP}X\nchmod +x /usr/local/sbin/ip")
    try:
        yield
        assert "third line" in hosts.ssh(host, "cat /run/ip-failed")
    finally:
        hosts.ssh(host, "rm -f /usr/local/sbin/ip /run/ip-failed")


def without_ovs_files(captures: dict[str, str]) -> dict[str, str]:
    """Captures without Open vSwitch's own files: its database counts every change."""
    return {
        host: "\n".join(line for line in text.splitlines() if "/openvswitch/" not in line)
        for host, text in captures.items()
    }


def management_inventory(hosts: Hosts, *changes: tuple[str, str]) -> str:
    """pipework.yml for the NICs that carry SSH, in the lab's folder."""
    management, lan = hosts.networks
    text = (hosts.lab.folder / hosts.inventory("pipework.yml")).read_text()
    text = text.replace(f"{lan}.", f"{management}.").replace("name: lan\n", "name: mgmt\n", 1)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    (hosts.lab.folder / "management.yml").write_text(text)
    return "management.yml"
