"""Method `pipework` on booted hosts whose NICs have their addresses by DHCP."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator

import pytest

from provision.lab import dhcp, power, supervisor
from provision.lab.layout import mac
from tests.lab.conftest import Boot
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.pipework import wait_for_output
from tests.lab.test_managers import move_quietly

pytestmark = pytest.mark.lab

MANAGERS = {"h1": "networkd", "h2": "netplan", "h3": "networkd"}

# Files of the managers, with mode and owner, and the addresses, routes and ports of the NICs. A NIC
# whose server has not answered has a file below /run.
_STATE = r"""
find /etc/network /etc/netplan /etc/NetworkManager /etc/systemd/network /run/network \
  /run/systemd/network /run/NetworkManager/system-connections \
  ! -name .ifstate.lock ! -path '/run/systemd/network/05-*' 2>/dev/null | sort |
  while read -r path; do
  stat -c '%n %a %u:%g' "$path"; [ ! -f "$path" ] || sha256sum <"$path"
done
for nic in eth1 host0; do
  ip -o -4 address show dev $nic | sed 's/ *valid_lft.*//;s/.*inet/inet/'
done
ip -N -4 route show dev eth1 | sed 's/metric [0-9]*//'; ip -N -4 route show default
ip -d link show dev eth1 | grep -o -e 'mtu [0-9]*' -e 'link/ether [0-9a-f:]*' -e master
"""
_KEEPING = "/run/systemd/network 2>/dev/null || :"
_LEASED = "ip -4 -o address show dev {} | grep ' dynamic '"
_NETWORKD = "networkctl reload; systemctl restart systemd-networkd"
_RESTARTS = {"networkd": _NETWORKD, "netplan": f"{_NETWORKD}; netplan apply"}
_LINKS = "networkctl --no-legend | awk '{print $2, $4, $5}'"
_AGREES = dict.fromkeys(("networkd", "netplan"), (_LINKS, "bri0 routable configured"))


@pytest.fixture
def leased(booted: Boot, request: pytest.FixtureRequest) -> Iterator[tuple[Hosts, dict[str, str]]]:
    """Hosts with leased data addresses, and the manager of each, which `indirect` chooses."""
    managers: dict[str, str] = request.param
    choices = {h: {"manager": name, "address": "dhcp"} for h, name in managers.items()}
    hosts = booted("trixie", choices)
    yield hosts, managers
    power.start(hosts.lab, say=print)
    for path in hosts.lab.folder.glob("*.yml"):
        hosts.provision("destroy", path.name, "--yes", status=None)
        path.unlink()


def leases(hosts: Hosts) -> dict[str, tuple[int, str, str]]:
    """By host: when its lease ends, its address and the identifier that its client sent."""
    rows = [line.split() for line in (hosts.lab.dhcp / "leases").read_text().splitlines()]
    by_mac = {row[1]: (int(row[0]), row[2], row[4]) for row in rows}
    return {host: by_mac[mac(hosts.lab.host(host), "eth1")] for host in HOSTS}


def kept(hosts: Hosts) -> dict[str, tuple[str, str]]:
    """Address and identifier of each lease."""
    return {host: lease[1:] for host, lease in leases(hosts).items()}


def assert_leased(hosts: Hosts, link: str) -> None:
    """Each host's link has the address of the lease, with an end."""
    for host in HOSTS:
        address = f" {hosts.networks[1]}.1{host[1:]}/24 "
        wait_for_output(hosts, host, _LEASED.format(link), address, within_s=60)


def assert_renewed(hosts: Hosts) -> None:
    """Every client renews its lease, which it does after half of the lease's time."""
    before, begin = leases(hosts), time.monotonic()
    while any(after[0] <= before[host][0] for host, after in leases(hosts).items()):
        assert time.monotonic() - begin < dhcp.LEASE_S, (before, leases(hosts))
        time.sleep(1)


def settled(texts: dict[str, str]) -> dict[str, str]:
    """States without the numbers of links, which differ after a reboot."""
    return {host: re.sub(r"@if\d+|metric \d+", "", text) for host, text in texts.items()}


def assert_managers_agree(hosts: Hosts, managers: dict[str, str]) -> None:
    """Each manager has the bridge as its own, within the time that it takes to configure it."""
    for host, manager in managers.items():
        command, line = _AGREES[manager]
        wait_for_output(hosts, host, command, line, within_s=30)


@pytest.mark.parametrize("leased", [MANAGERS], indirect=True)
def test_the_bridge_gets_the_lease_of_the_nic(leased: tuple[Hosts, dict[str, str]]) -> None:
    """Over restarts, renewals and a reboot; destroy restores files and NIC with the same lease."""
    hosts, managers = leased
    assert_leased(hosts, "eth1")
    before, lease = hosts.everywhere(_STATE, check=False), kept(hosts)
    inventory = hosts.inventory("pipework.yml")
    move_quietly(hosts, "apply", inventory)
    assert_leased(hosts, "bri0")
    assert_managers_agree(hosts, managers)
    assert kept(hosts) == lease

    for host, manager in managers.items():
        hosts.ssh(host, _RESTARTS[manager])
    assert_leased(hosts, "bri0")
    assert hosts.json("apply", inventory)["changes"] == []
    assert_renewed(hosts)
    assert_leased(hosts, "bri0")

    power.reboot(hosts.lab, HOSTS, say=print)
    assert_leased(hosts, "bri0")
    hosts.verified(inventory)
    assert_managers_agree(hosts, managers)
    assert hosts.json("apply", inventory)["changes"] == []
    assert kept(hosts) == lease

    move_quietly(hosts, "destroy", inventory, "--yes")
    assert_leased(hosts, "eth1")
    assert kept(hosts) == lease
    assert_same(settled(before), settled(hosts.everywhere(_STATE, check=False)))
    assert "05-provision" not in "".join(hosts.everywhere(f"ls {_KEEPING}").values())


@pytest.mark.parametrize("leased", [MANAGERS], indirect=True)
def test_without_a_lease_for_the_bridge_the_change_is_rolled_back(
    leased: tuple[Hosts, dict[str, str]],
) -> None:
    """The server does not answer: the address stays with the NIC, and so do its files."""
    hosts, _ = leased
    assert_leased(hosts, "eth1")
    before = hosts.everywhere(_STATE, check=False)
    inventory = hosts.inventory("pipework.yml")
    (server,) = supervisor.running(hosts.lab).dhcp
    os.kill(server, signal.SIGSTOP)
    try:
        result = hosts.json("apply", inventory, status=None)
        assert set(result["hosts"].values()) == {"reverted (failed)"}, result
    finally:
        os.kill(server, signal.SIGCONT)
    assert_leased(hosts, "eth1")
    assert_same(settled(before), settled(hosts.everywhere(_STATE, check=False)))
