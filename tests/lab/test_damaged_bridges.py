"""Somebody deletes or changes the bridge of a NIC, and `apply` mends it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.hosts import HOSTS, Hosts

pytestmark = [pytest.mark.lab, pytest.mark.full]

VETH = ("    # host_port: veth             #", "    host_port: veth               #")
CUTS = {
    "port-*": ("nomaster", "lan_bridge"),
    "port-* ": ("down", "lan_bridge"),
    "bri0": ("down", "lan_bridge"),
    "pw-*": ("down", "attachment"),
}
"""By interface, what somebody does to it, and the kind that differs then. A NIC that is down is
an error of its own."""
STP = ("    # stp: true", "    stp: true")
FOLLOWER = "provision-lan-follow.service"
MAC = "02:00:5e:00:00:63"
# As Docker does it for a container of the bridge's network: the MAC is set, so the kernel does not
# replace it by the smallest MAC of the ports.
MAKE_ANOTHER = (
    f"systemctl stop {FOLLOWER}; ip link delete bri0 && ip link add bri0 address {MAC} type bridge"
)
BRIDGES = {"ovs-gre.yml": "phy-eth1", "ovs-vxlan.yml": "phy-eth1", "pipework-ovs.yml": "ovsbr0"}


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts without the inventories of these tests, also after a failure."""
    yield mixed
    mixed.destroy_all()


@pytest.mark.parametrize("example", BRIDGES)
def test_a_deleted_device_of_open_vswitch_comes_back(clean: Hosts, example: str) -> None:
    """All hosts lose the device at once; after `apply`, the containers reach each other again."""
    inventory, bridge = clean.inventory(example), BRIDGES[example]
    clean.provision("apply", inventory)
    mac = clean.everywhere(f"cat /sys/class/net/{bridge}/address")
    for _ in range(2):
        # The follower may have made it again before this ends.
        clean.everywhere(f"ip link delete dev {bridge}")
        clean.provision("apply", inventory, "--yes")
        assert clean.everywhere(f"cat /sys/class/net/{bridge}/address") == mac
        clean.verified(inventory, within_s=15)
    assert clean.json("plan", inventory)["changes"] == []


def test_a_bridge_with_another_mac_gets_its_own(clean: Hosts) -> None:
    """Somebody deletes the LAN's bridge, and Docker makes it again with another MAC."""
    inventory = clean.inventory("pipework.yml")
    clean.provision("apply", inventory)
    mac = clean.ssh("h2", "cat /sys/class/net/bri0/address")
    clean.ssh("h2", MAKE_ANOTHER)
    assert clean.ssh("h2", "cat /sys/class/net/bri0/address").strip() == MAC
    changes = clean.json("plan", inventory)["changes"]
    assert ("h2", "lan_bridge") in {(change["host"], change["kind"]) for change in changes}
    clean.provision("apply", inventory, "--yes")
    assert clean.ssh("h2", "cat /sys/class/net/bri0/address") == mac
    clean.verified(inventory)
    assert clean.json("plan", inventory)["changes"] == []


def test_networkd_does_not_undo_a_setting_of_the_bridge(clean: Hosts) -> None:
    """systemd-networkd 252 applies the bridge's file at the link's next event.

    `apply` causes that event itself.
    """
    inventory = clean.inventory("pipework.yml", STP)
    clean.provision("apply", inventory)
    state = "/sys/class/net/bri0/bridge/stp_state"
    clean.everywhere("ip link set dev bri0 type bridge stp_state 0; sleep 1")
    assert clean.everywhere(f"cat {state}") == dict.fromkeys(HOSTS, "0\n")
    clean.provision("apply", inventory, "--yes")
    assert clean.everywhere(f"cat {state}") == dict.fromkeys(HOSTS, "1\n")


def test_a_way_to_the_lan_that_is_cut_is_made_again(clean: Hosts) -> None:
    """Interfaces that hold addresses stay up, so only the links below them tell.

    systemd-networkd is stopped meanwhile: it joins a port that somebody has freed at once.
    """
    inventory = clean.inventory("pipework.yml", VETH)
    clean.provision("apply", inventory)
    clean.verified(inventory)
    for links, (done, kind) in CUTS.items():
        paths = f"$(ls -d /sys/class/net/{links})"
        cut = f'for path in {paths}; do ip link set dev "${{path##*/}}" {done}; done'
        clean.damage("h1", f"systemctl stop 'systemd-networkd*'; {cut}")
        changes = clean.json("plan", inventory)["changes"]
        assert {(change["host"], change["kind"]) for change in changes} == {("h1", kind)}, links
        clean.provision("apply", inventory, "--yes")
        clean.ssh("h1", "systemctl start systemd-networkd")
        clean.verified(inventory, within_s=15)
        assert clean.json("plan", inventory)["changes"] == []
