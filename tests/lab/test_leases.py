"""Method `pipework` on booted hosts whose NICs have their addresses by DHCP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from provision.lab import dhcp, namespace, power, supervisor
from provision.lab.layout import mac
from tests.lab.conftest import Boot
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.pipework import wait_for_output
from tests.lab.test_managers import move_quietly

pytestmark = pytest.mark.lab

_THREE = {"h1": "networkd", "h2": "netplan", "h3": "networkmanager"}
MANAGERS, BOOKWORM, SID = ((suite, _THREE) for suite in ("trixie", "bookworm", "sid"))
# Its DHCP client is dhcpcd on trixie and sid, and dhclient on bookworm.
IFUPDOWN = "mixed", dict.fromkeys(HOSTS, "ifupdown")

# Files of the managers, with mode and owner, and the addresses, routes and ports of the NICs. A NIC
# whose server has not answered has a file below /run, and so a folder.
_STATE = r"""
find /etc/network /etc/netplan /etc/NetworkManager /etc/systemd/network /run/network \
  /run/systemd/network /run/NetworkManager/system-connections \
  ! -name .ifstate.lock ! -path /run/systemd/network ! -path '/run/systemd/network/05-*' \
  ! -path '/run/systemd/network/10-netplan-*.network.d*' \
  ! -path '/run/NetworkManager/*/lo.nmconnection' \
  ! -path '/run/NetworkManager/*/provision-*' \
  ! -path '/run/NetworkManager/*/docker0.nmconnection' \
  2>/dev/null | sort |
  while read -r path; do
  stat -c '%n %a %u:%g' "$path"; [ ! -f "$path" ] || sha256sum <"$path"
done
for nic in eth1 host0; do
  ip -o -4 address show dev $nic | sed 's/ *valid_lft.*//;s/.*inet/inet/'
done
ip -N -4 route show dev eth1 | sed 's/metric [0-9]*//'; ip -N -4 route show default
ip -d link show dev eth1 | grep -o -e 'mtu [0-9]*' -e 'link/ether [0-9a-f:]*' -e master
"""
_KEEPING = "ls /run/systemd/network /run/NetworkManager/system-connections 2>/dev/null || :"
_LEASED = "ip -4 -o address show dev {} | grep ' dynamic '"
_NETWORKD = "networkctl reload; systemctl restart systemd-networkd"
_NETWORK_MANAGER = (
    "nmcli connection reload; systemctl reload NetworkManager; "
    "systemctl restart NetworkManager; nm-online -q -t 60"
)
each_manager = pytest.mark.parametrize(
    "leased",
    [MANAGERS, *(pytest.param(case, marks=pytest.mark.full) for case in (IFUPDOWN, BOOKWORM, SID))],
    indirect=True,
    ids=["three managers", "ifupdown", "bookworm", "sid"],
)
_RESTARTS = {
    "networkd": _NETWORKD,
    "netplan": f"{_NETWORKD}; netplan apply",
    "networkmanager": _NETWORK_MANAGER,
    "ifupdown": "systemctl restart networking; ifup -a",
}
_LINKS = "networkctl --no-legend | awk '{print $2, $4, $5}'"
_DEVICES = "nmcli -t -f DEVICE,STATE,CONNECTION device"
_AGREES = {
    "networkd": (_LINKS, "bri0 routable configured"),
    "netplan": (_LINKS, "bri0 routable configured"),
    "networkmanager": (_DEVICES, "bri0:connected:bri0\n"),
    "ifupdown": ("ifquery --state", "bri0=bri0\n"),
}


@pytest.fixture
def leased(booted: Boot, request: pytest.FixtureRequest) -> Iterator[tuple[Hosts, dict[str, str]]]:
    """Hosts with leased data addresses, and the manager of each, by suite and managers."""
    suite, managers = request.param
    choices = {h: {"manager": name, "address": "dhcp"} for h, name in managers.items()}
    hosts = booted(suite, choices)
    yield hosts, managers
    power.start(hosts.lab, say=print)
    hosts.destroy_all()


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


def assert_restored(before: dict[str, str], hosts: Hosts) -> None:
    """Files and NICs are as before, once the clients have their leases again."""
    expected, begin = settled(before), time.monotonic()
    while (state := settled(hosts.everywhere(_STATE, check=False))) != expected:
        if time.monotonic() - begin > 60:
            assert_same(expected, state)
        time.sleep(1)


def assert_managers_agree(hosts: Hosts, managers: dict[str, str]) -> None:
    """Each manager has the bridge as its own, within the time that it takes to configure it."""
    for host, manager in managers.items():
        command, line = _AGREES[manager]
        wait_for_output(hosts, host, command, line, within_s=30)


def restart_server(hosts: Hosts, text: str) -> None:
    """The lab's DHCP server reads `text` instead of its file, and has no lease of h1."""
    (server,) = supervisor.running(hosts.lab).dhcp
    os.kill(server, signal.SIGKILL)
    while supervisor.running(hosts.lab).dhcp:
        time.sleep(0.1)
    (hosts.lab.dhcp / "dnsmasq.conf").write_text(text)
    path = hosts.lab.dhcp / "leases"
    h1 = mac(hosts.lab.host("h1"), "eth1")
    kept_lines = [line for line in path.read_text().splitlines(True) if h1 not in line]
    path.write_text("".join(kept_lines))
    argv = namespace.inside(hosts.lab, "dnsmasq", f"--conf-file={hosts.lab.dhcp}/dnsmasq.conf")
    subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True, cwd="/")


@each_manager
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
    assert_restored(before, hosts)
    assert "provision-" not in "".join(hosts.everywhere(_KEEPING).values())


@pytest.mark.full
@each_manager
def test_without_a_lease_for_the_bridge_the_change_is_rolled_back(
    leased: tuple[Hosts, dict[str, str]],
) -> None:
    """The address stays with the NIC, and so do its files; a server that answers again is asked."""
    hosts, managers = leased
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
    assert_restored(before, hosts)
    assert set(hosts.json("apply", inventory)["hosts"].values()) == {"confirmed"}
    assert_leased(hosts, "bri0")
    assert_managers_agree(hosts, managers)
    assert "provision-" not in "".join(hosts.everywhere(_KEEPING).values())
    assert hosts.json("apply", inventory)["changes"] == []


@pytest.mark.full
@pytest.mark.parametrize("leased", [MANAGERS], indirect=True)
def test_another_lease_is_no_drift(leased: tuple[Hosts, dict[str, str]]) -> None:
    """The bridge keeps the address that the server gives it now, and destroy moves that."""
    hosts, _ = leased
    assert_leased(hosts, "eth1")
    inventory = hosts.inventory("pipework.yml")
    assert set(hosts.json("apply", inventory)["hosts"].values()) == {"confirmed"}
    assert_leased(hosts, "bri0")
    path = hosts.lab.dhcp / "dnsmasq.conf"
    text, new = path.read_text(), f"{hosts.networks[1]}.201"
    (old,) = re.findall(rf"^dhcp-host=.*,({hosts.networks[1]}\.11),h1$", text, re.MULTILINE)
    try:
        restart_server(hosts, text.replace(f",{old},h1", f",{new},h1"))
        wait_for_output(hosts, "h1", _LEASED.format("bri0"), f" {new}/24 ", within_s=dhcp.LEASE_S)
        assert hosts.json("apply", inventory)["changes"] == []
        hosts.json("destroy", inventory, "--yes")
        wait_for_output(hosts, "h1", _LEASED.format("eth1"), f" {new}/24 ", within_s=60)
    finally:
        restart_server(hosts, text)
    wait_for_output(hosts, "h1", _LEASED.format("eth1"), f" {old}/24 ", within_s=dhcp.LEASE_S)
