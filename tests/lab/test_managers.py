"""Method `pipework` on booted hosts whose NICs belong to several network managers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from provision.lab import power
from tests.lab.conftest import Boot
from tests.lab.crash import CUTS, Crash
from tests.lab.faults import injecting
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.pipework import failing_nic_move, management_inventory, wait_for_output
from tests.lab.selection import sampled

pytestmark = pytest.mark.lab

MANAGERS = {
    "h1": {"manager": "ifupdown"},
    "h2": {"manager": "networkmanager"},
    "h3": {"manager": "netplan"},
}
SILENCE_MS = 100
"""The longest silence of a host while its NIC becomes a port, or leaves the bridge."""

# What each manager says of its interfaces. The list of networkd has a number for each link, and
# NetworkManager lists the interfaces of containers.
_SAYS = {
    "h1": "ifquery --state | sort",
    "h2": "nmcli -t -f DEVICE,STATE,CONNECTION device | grep -e eth1 -e host0 -e bri0 | sort",
    "h3": "netplan get; networkctl --no-legend | grep -e eth1 -e host0 -e bri0 |"
    " awk '{print $2, $3, $5}' | sort",
}
_RESTARTS = {
    "h1": "systemctl restart networking; ifup -a",
    "h2": "nmcli connection reload; systemctl reload NetworkManager; "
    "systemctl restart NetworkManager; nm-online -q -t 60",
    "h3": "networkctl reload; systemctl restart systemd-networkd; netplan apply",
}
_WITH_BRIDGE = {
    "h1": ("bri0=bri0\nhost0=host0\nlo=lo",),
    "h2": ("bri0:connected:bri0", "eth1:connected:bri0 port eth1", "host0:connected:host0"),
    "h3": ("  bridges:\n    bri0:", "bri0 bridge configured", "host0 ether configured"),
}
# Files of the managers, with mode and owner, and the addresses, routes and ports of the NICs.
_FILES = r"""
find /etc/network /etc/netplan /etc/NetworkManager /etc/systemd/network /run/network \
  /run/systemd/network -type f ! -name .ifstate.lock 2>/dev/null | sort | while read -r path; do
  stat -c '%n %a %u:%g' "$path"
  # In the order in which ifup has configured the NICs.
  case $path in */ifstate) sort "$path" ;; *) cat "$path" ;; esac | sha256sum
done
"""
_NICS = r"""
ip -br address show dev eth1; ip -br address show dev host0 | sed 's/@[^ ]*//'
ip -N route show dev host0; ip -N route show dev eth1; ip -N route show default
ip -d link show dev eth1 | grep -o -e 'mtu [0-9]*' -e 'link/ether [0-9a-f:]*' -e 'master [^ ]*'
"""
_KERNEL = r"""
ip -br address | grep -v -e veth -e '^pw-'; ip -N route
for port in /sys/class/net/bri0/brif/*; do echo "${port##*/}"; done
"""

each_suite = pytest.mark.parametrize(
    "managed", sampled(("trixie", "bookworm", "sid"), "trixie"), indirect=True
)


@pytest.fixture
def managed(booted: Boot, request: pytest.FixtureRequest) -> Iterator[Hosts]:
    """Hosts with another manager each; `indirect` chooses the suite, trixie by default."""
    hosts = booted(getattr(request, "param", "trixie"), MANAGERS)
    wait_until_configured(hosts)
    yield hosts
    power.start(hosts.lab, say=print)
    hosts.destroy_all()


def wait_until_configured(hosts: Hosts) -> None:
    """networkd says "configuring" for a while, also of a NIC on which it changes nothing.

    Version 257.13 says so for ever of a NIC that left a bridge twice: its link-local address is
    there, and networkd waits for it. It calls the NIC online.
    """
    for nic in ("eth1", "host0"):
        try:
            wait_for_output(hosts, "h3", _SAYS["h3"], f"{nic} ether configured", within_s=30)
        except AssertionError:
            assert "Online state: online" in hosts.ssh("h3", f"networkctl status {nic}")


def captured(hosts: Hosts) -> dict[str, str]:
    """Files, NICs and what the managers say of them; `ip -br` aligns its columns by all links."""
    texts = {host: hosts.ssh(host, _FILES + _NICS + _SAYS[host], check=False) for host in HOSTS}
    return {host: re.sub(" +", " ", text) for host, text in texts.items()}


def silences(result: dict[str, Any]) -> dict[str, int]:
    """The longest silence of each host in ms, from the notes of apply or destroy."""
    notes = ((change["host"], change.get("note") or "") for change in result["changes"])
    found = {host: re.search(r"silence to \S+: (\d+) ms", note) for host, note in notes if note}
    return {host: int(match[1]) for host, match in found.items() if match}


def assert_managers_agree(hosts: Hosts) -> None:
    """Each manager has the bridge as its own, within the time that it takes to configure it."""
    for host, lines in _WITH_BRIDGE.items():
        for line in lines:
            wait_for_output(hosts, host, _SAYS[host], line, within_s=30)


def move_quietly(hosts: Hosts, *arguments: str) -> None:
    """Run a command that moves the NICs of all hosts, and check the silences that it reports."""
    result = hosts.json(*arguments)
    assert set(result["hosts"].values()) == {"confirmed"}, result
    print(arguments[0], "silences in ms:", silences(result))
    assert set(silences(result)) == set(HOSTS)
    assert max(silences(result).values()) <= SILENCE_MS, silences(result)


@each_suite
def test_nics_of_other_managers_become_ports_and_come_back(managed: Hosts) -> None:
    """The managers agree, also after restarts and a reboot; destroy restores their files."""
    before = captured(managed)
    inventory = managed.inventory("pipework.yml")
    move_quietly(managed, "apply", inventory)
    assert_managers_agree(managed)

    kernel = managed.everywhere(_KERNEL)
    for host, command in _RESTARTS.items():
        managed.ssh(host, command)
    assert_managers_agree(managed)
    assert_same(kernel, managed.everywhere(_KERNEL))

    power.reboot(managed.lab, HOSTS, say=print)
    managed.verified(inventory)
    assert_managers_agree(managed)
    assert managed.json("apply", inventory)["changes"] == []

    move_quietly(managed, "destroy", inventory, "--yes")
    assert_restored(before, managed)


@pytest.mark.full
@each_suite
def test_tunnels_of_open_vswitch_survive_other_managers(managed: Hosts) -> None:
    """Its userspace datapath takes the NIC's addresses, and the follower keeps them there."""
    before = captured(managed)
    inventory = managed.inventory("ovs-gre.yml")
    managed.provision("apply", inventory)
    managed.verified(inventory)
    for host, command in _RESTARTS.items():
        managed.ssh(host, command)
    managed.verified(inventory)
    power.reboot(managed.lab, HOSTS, say=print)
    managed.verified(inventory)
    assert managed.json("apply", inventory)["changes"] == []
    managed.provision("destroy", inventory, "--yes")
    assert_restored(before, managed)


def assert_restored(before: dict[str, str], hosts: Hosts) -> None:
    """Files, NICs and managers are as before; the numbers of links differ after a reboot."""
    wait_until_configured(hosts)
    lines = {host: _settled(text) for host, text in before.items()}
    assert_same(lines, {host: _settled(text) for host, text in captured(hosts).items()})


def _settled(text: str) -> str:
    # NetworkManager chooses the metrics of its NICs anew at each start.
    text = re.sub(r"metric \d+", "metric N", text)
    text = re.sub(" +", " ", text)  # `ip -br` aligns its columns by all links
    text = text.replace("ether configuring", "ether configured")  # see wait_until_configured
    return re.sub(r"@if\d+", "", text)


@pytest.mark.full
def test_a_move_that_is_killed_or_fails_is_rolled_back(managed: Hosts) -> None:
    """The first step of apply and the last one of destroy move the NIC; files are as before."""
    with injecting(managed, "pipework.yml") as faults:
        crash = Crash(faults, "pipework.yml")
        before = captured(managed)
        for cut in CUTS:
            crash.cut_apply(1, cut)
            assert_restored(before, managed)
        steps = crash.apply()
        for cut in CUTS:
            crash.cut_destroy(steps, cut)
            assert_managers_agree(managed)
        crash.destroy()
        for host in HOSTS:
            with failing_nic_move(managed, host):
                result = managed.json("apply", crash.inventory, status=None)
            assert set(result["hosts"].values()) == {"reverted (failed)"}
            assert_restored(before, managed)


@pytest.mark.full
def test_the_management_nics_of_other_managers_move(managed: Hosts) -> None:
    """On all hosts at once, and back, also after a reboot: SSH uses them."""
    before = captured(managed)
    inventory = management_inventory(managed)
    move_quietly(managed, "apply", inventory)
    power.reboot(managed.lab, HOSTS, say=print)
    managed.verified(inventory)
    assert managed.json("apply", inventory)["changes"] == []
    move_quietly(managed, "destroy", inventory, "--yes")
    assert_restored(before, managed)


@pytest.fixture
def ifupdown(booted: Boot) -> Iterator[Hosts]:
    """Hosts of three suites with ifupdown."""
    hosts = booted("mixed", {host: {"manager": "ifupdown"} for host in HOSTS})
    yield hosts
    power.start(hosts.lab, say=print)
    hosts.provision("destroy", hosts.inventory("pipework.yml"), "--yes", status=None)


@pytest.mark.full
def test_ifupdown_configures_a_veth_into_the_bridge(ifupdown: Hosts) -> None:
    """It has the host's address, also after a restart and a reboot; destroy restores the files."""
    hosts, state = ifupdown, _FILES + _NICS + _SAYS["h1"]
    before = hosts.everywhere(state, check=False)
    key = ("    # host_port: veth ", "    host_port: veth   ")
    inventory = hosts.inventory("pipework.yml", key)
    move_quietly(hosts, "apply", inventory)
    hosts.verified(inventory)
    hosts.everywhere(_RESTARTS["h1"])
    hosts.verified(inventory)
    power.reboot(hosts.lab, HOSTS, say=print)
    hosts.verified(inventory)
    assert hosts.json("apply", inventory)["changes"] == []
    move_quietly(hosts, "destroy", inventory, "--yes")
    lines = {host: _settled(text) for host, text in before.items()}
    after = hosts.everywhere(state, check=False)
    assert_same(lines, {host: _settled(text) for host, text in after.items()})


NETPLAN_NM = {
    "h1": {"manager": "netplan-nm"},
    "h2": {"manager": "netplan-nm", "address": "dhcp"},
    "h3": {"manager": "netplan-nm"},
}
_DEVICES = "nmcli -t -f DEVICE,STATE,CONNECTION device | grep -e eth1 -e host0 -e bri0 | sort"


@pytest.fixture
def netplan_nm(booted: Boot) -> Iterator[Hosts]:
    """Hosts of netplan with the renderer NetworkManager; h2 has its address by DHCP."""
    hosts = booted("trixie", NETPLAN_NM)
    yield hosts
    power.start(hosts.lab, say=print)
    hosts.provision("destroy", hosts.inventory("pipework.yml"), "--yes", status=None)


@pytest.mark.full
def test_netplan_with_network_manager(netplan_nm: Hosts) -> None:
    """netplan writes the profile of the bridge, also at `netplan apply`, and after a reboot."""
    hosts, state = netplan_nm, f"cat /etc/netplan/*; ls /etc/netplan{_NICS}{_DEVICES}"
    before = hosts.everywhere(state)
    inventory = hosts.inventory("pipework.yml")
    move_quietly(hosts, "apply", inventory)

    def assert_bridged() -> None:
        for host in HOSTS:
            wait_for_output(hosts, host, _DEVICES, "bri0:connected:netplan-bri0", within_s=60)
            wait_for_output(hosts, host, _DEVICES, "eth1:connected:netplan-eth1", within_s=60)
        # `netplan apply` makes the bridge anew, and the follower plugs the containers in again.
        hosts.verified(inventory)
        assert hosts.json("apply", inventory)["changes"] == []

    assert_bridged()
    for command in ("systemctl restart NetworkManager", "netplan apply"):
        hosts.everywhere(command)
        assert_bridged()
    power.reboot(hosts.lab, HOSTS, say=print)
    assert_bridged()
    move_quietly(hosts, "destroy", inventory, "--yes")
    after = hosts.everywhere(state)
    lines = {host: _settled(text) for host, text in before.items()}
    assert_same(lines, {host: _settled(text) for host, text in after.items()})


# By host: a change of the file of eth1, and the message, which names file and line.
_UNFIT = {
    "h1": ("sed -i '/^iface eth1/a \\    up true' /etc/network/interfaces",
           "/etc/network/interfaces:15: up true cannot move to a bridge"),
    # Not by nmcli: NetworkManager takes the connection down, as root has no session.
    "h2": ("sed -i '/^.connection.$/a permissions=user:root:;' "
           "/etc/NetworkManager/system-connections/eth1.nmconnection",
           "permissions=user:root:;: only some users may use it"),
    "h3": ("sed -i '/eth1:/a \\      dhcp6: true' /etc/netplan/50-lab.yaml",
           "/etc/netplan/50-lab.yaml:11: dhcp6 is on"),
}  # fmt: skip
_FILE_OF_ETH1 = {
    "h1": "/etc/network/interfaces",
    "h2": "/etc/NetworkManager/system-connections/eth1.nmconnection",
    "h3": "/etc/netplan/50-lab.yaml",
}


@pytest.mark.full
def test_settings_that_a_bridge_cannot_keep_are_refused(managed: Hosts) -> None:
    """With file and line, before any change."""
    inventory = managed.inventory("pipework.yml")
    for host, (change, message) in _UNFIT.items():
        path = _FILE_OF_ETH1[host]
        managed.ssh(host, f"cp -p {path} /root/kept && {change}")
        errors = managed.json("apply", inventory, status=4)["errors"]
        managed.ssh(host, f"cat /root/kept >{path} && rm /root/kept")
        assert any(message in error["message"] for error in errors), errors
    managed.ssh("h2", "nmcli connection reload")
