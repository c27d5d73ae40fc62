"""Method `pipework` on booted hosts: apply refuses unfit NICs, addresses and gateways."""

from __future__ import annotations

import pytest

from tests.lab.hosts import Hosts, assert_same
from tests.lab.pipework import clean, management_inventory

pytestmark = pytest.mark.lab
__all__ = ["clean"]

NETPLAN = "/run/systemd/network/01-netplan-eth1.network"
# By host: shell text that gives the NIC another owner, text that undoes this, and the message.
OWNERS = {
    "h1": ("mkdir -p /run/network && echo eth1=eth1 >/run/network/ifstate", "rm -r /run/network",
           "eth1 is managed by ifupdown and systemd-networkd"),
    "h2": ("mkdir -p /run/systemd/network && sed 's/^LLDP=/#/' "
           "$(grep -l '^Name=eth1' /etc/systemd/network/*.network | head -n 1)"
           f" >{NETPLAN} && networkctl reload && networkctl reconfigure eth1 && sleep 1",
           f"rm {NETPLAN} && networkctl reload && networkctl reconfigure eth1 && sleep 1",
           "no entry of /etc/netplan is that of eth1 alone"),
    "h3": ("mkdir -p /run/NetworkManager/devices && printf '[device]\\nmanaged=true\\n' "
           ">/run/NetworkManager/devices/$(cat /sys/class/net/eth1/ifindex)",
           "rm -r /run/NetworkManager",
           "eth1 is managed by NetworkManager and systemd-networkd"),
}  # fmt: skip
# The same for other reasons to refuse a host.
UNFIT_NICS = {
    "h1": ("ip link add name br9 type bridge && ip link set dev eth1 master br9",
           "ip link delete dev br9", "eth1 is already a port of br9"),
    "h2": ("ip tuntap add name t9 mode tun && ip link set dev t9 up && "
           "ip address add LAN.12/24 dev t9 && ip address delete LAN.12/24 dev eth1",
           "ip link delete dev t9; ip address add LAN.12/24 broadcast + dev eth1",
           "t9 is not an Ethernet interface"),
}  # fmt: skip


def refusals(hosts: Hosts, inventory: str) -> list[str]:
    """The messages of an apply that exits with 4, before any change."""
    return [error["message"] for error in hosts.json("apply", inventory, status=4)["errors"]]


def test_unfit_hosts_are_refused_before_any_change(clean: Hosts) -> None:
    """The hosts report another owner of the NIC, a port of a bridge, or an address in use."""
    lan = clean.networks[1]
    before = clean.capture()
    inventory = clean.inventory("pipework.yml")
    for cases in (OWNERS, UNFIT_NICS):
        for host, (make, _, _) in cases.items():
            clean.ssh(host, make.replace("LAN", lan))
        messages = refusals(clean, inventory)
        for host, (_, undo, text) in cases.items():
            clean.ssh(host, undo.replace("LAN", lan))
            assert any(text.replace("LAN", lan) in message for message in messages), messages

    missing = clean.inventory(
        "pipework.yml", (f"h2: {{address: {lan}.12", f"h2: {{nic: eth9, address: {lan}.12")
    )
    clean.ssh("h3", f"ip address add {lan}.225/32 dev host0")
    messages = refusals(clean, missing)
    clean.ssh("h3", f"ip address delete {lan}.225/32 dev host0")
    assert any("it has no NIC eth9" in message for message in messages)
    assert any(f"holds {lan}.225, which is in use on the LAN" in message for message in messages)
    tagged = clean.inventory("pipework-vlan.yml", (", kind: ovs, bridge: ovsbr0", ""))
    assert any("has no VLAN filtering on bridges" in message for message in refusals(clean, tagged))
    assert_same(before, clean.capture())


def test_a_wrong_gateway_or_nic_is_refused(clean: Hosts) -> None:
    """Apply refuses it on each host before any change, also on the NIC that carries SSH."""
    before, management = clean.capture(), clean.networks[0]
    changes = {
        "nobody answers ARP": (f"gateway: {management}.254", f"gateway: {management}.253"),
        "is on host0, not on eth1": ("    # nic: eth1 ", "    nic: eth1 #"),
        "no NIC eht0": ("    # nic: eth1 ", "    nic: eht0 #"),
        "stops host0 for 30 s": ("    # stp: true", "    stp: true"),
    }
    for text, change in changes.items():
        messages = refusals(clean, management_inventory(clean, change))
        assert all(text in message for message in messages) and len(messages) == 3, messages
    assert_same(before, clean.capture())
