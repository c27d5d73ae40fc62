"""A NIC whose address a DHCP server leases: the bridge asks for the same lease."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provision.facts.lines import KeyedLines
from provision.facts.nics import Nic, parse
from provision.resources.lib import networkd
from provision.resources.lib.nic_records import Lease, OriginalNic, parse_record

NETWORK = "[Match]\nName=eth1\n\n[Network]\nDHCP=ipv4\n"
# Type 255, a number of the NIC, and the identifier of the machine: RFC 4361.
CLIENT_ID = "ff5cd8a90100020000ab11e6"


def bridge_file(network: str, lease: Lease | None, *, ovs: bool = False) -> str:
    """The file of systemd-networkd for the bridge of a NIC with the file `network`."""
    files = networkd.files(
        "demo",
        "bri0",
        nic="eth1",
        mac="0a:00:00:00:00:01",
        mtu=1500,
        stp=False,
        vlans=(),
        host_veth=None,
        network=network,
        ovs=ovs,
        lease=lease,
    )
    return dict(files)["/etc/systemd/network/05-provision-demo-bri0.network"]


@pytest.mark.parametrize("ovs", [False, True])
def test_the_bridge_asks_as_the_nic_did(ovs: bool) -> None:
    """By the same number; the addresses stay until the server has answered."""
    text = bridge_file(NETWORK, Lease(("10.0.0.1/24",), CLIENT_ID), ovs=ovs)
    assert "DHCP=ipv4" in text and f"[DHCPv4]\nIAID={0x5CD8A901}\n" in text
    assert "KeepConfiguration=static" in text
    assert "KeepConfiguration" not in bridge_file(NETWORK, None, ovs=ovs)


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ("KeepConfiguration=no\n", "static"),
        ("KeepConfiguration=dhcp-on-stop\n", "yes"),
        ("KeepConfiguration=yes\n", "yes"),
    ],
)
def test_addresses_are_kept_at_least_as_the_nic_kept_them(more: str, kept: str) -> None:
    """The last assignment counts."""
    text = bridge_file(NETWORK + more, Lease(("10.0.0.1/24",), CLIENT_ID))
    values = [line.partition("=")[2] for line in text.splitlines() if "KeepConf" in line]
    assert values[-1] == kept


@pytest.mark.parametrize("client_id", ["", "010a0000000001"])
def test_an_identifier_that_is_the_mac_needs_no_number(client_id: str) -> None:
    """The bridge has the same MAC."""
    assert "IAID" not in bridge_file(NETWORK, Lease(("10.0.0.1/24",), client_id))


def test_a_number_of_the_administrator_stays() -> None:
    """The section moves to the bridge."""
    text = bridge_file(f"{NETWORK}[DHCPv4]\nIAID=7\n", Lease(("10.0.0.1/24",), CLIENT_ID))
    assert text.count("IAID=") == 1 and "IAID=7" in text


def test_the_facts_have_the_leased_addresses() -> None:
    """Those with a lifetime; a file of systemd-networkd alone does not say which they are."""
    infos = [
        {"family": "inet", "local": "10.0.0.1", "prefixlen": 24, "dynamic": True},
        {"family": "inet", "local": "10.0.1.1", "prefixlen": 24},
        {"family": "inet6", "local": "fd00::1", "prefixlen": 64, "dynamic": True},
    ]
    assert nic(infos).lease == Lease(("10.0.0.1/24",), CLIENT_ID)
    assert nic(infos[1:]).lease is None and nic(infos[1:]).dynamic


def nic(infos: list[dict[str, object]]) -> Nic:
    """The NIC with these addresses, of which systemd-networkd has a lease."""
    lines = KeyedLines(f"lease eth1 {CLIENT_ID}\n")
    return parse(lines, [{"ifname": "eth1", "mtu": 1500, "addr_info": infos}], {})["eth1"]


def test_records_have_the_lease() -> None:
    """Those of NICs without one stay as they were in earlier versions."""
    original = OriginalNic("eth1", "", 1500, "", (), (), (), ())
    assert "lease" not in original.record
    leased = replace(original, lease=Lease(("10.0.0.1/24",), CLIENT_ID))
    assert parse_record(leased.record) == leased != original
