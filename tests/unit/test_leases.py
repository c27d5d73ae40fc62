"""A NIC whose address a DHCP server leases: the bridge asks for the same lease."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

import provision.methods.pipework.manager_facts as manager_facts
import provision.methods.pipework.nic_checks as nic_checks
from provision.facts.lines import KeyedLines
from provision.facts.nics import Nic, parse
from provision.resources.lib import networkd
from provision.resources.lib.host_link import address_holder
from provision.resources.lib.managers import MANAGERS
from provision.resources.lib.managers.base import BridgePort, ManagerFiles, ManagerSetting
from provision.resources.lib.nic_records import DhcpLease, NicAddress, OriginalNic, parse_record
from provision.resources.on_hosts import Mark

NETWORK = "[Match]\nName=eth1\n\n[Network]\nDHCP=ipv4\n"
# Type 255, a number of the NIC, and the identifier of the machine: RFC 4361.
CLIENT_ID = "ff5cd8a90100020000ab11e6"
PORT = BridgePort(
    mark=Mark("demo", "bri0"),
    nic="eth1",
    mac="0a:00:00:00:00:01",
    mtu=1500,
    stp=False,
    vlans=(),
    host_veth=None,
    lease=DhcpLease(("10.0.0.1/24",), CLIENT_ID),
)


def bridge_file(network: str, lease: DhcpLease | None, *, ovs: bool = False) -> str:
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
    text = bridge_file(NETWORK, DhcpLease(("10.0.0.1/24",), CLIENT_ID), ovs=ovs)
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
    text = bridge_file(NETWORK + more, DhcpLease(("10.0.0.1/24",), CLIENT_ID))
    values = [line.partition("=")[2] for line in text.splitlines() if "KeepConf" in line]
    assert values[-1] == kept


@pytest.mark.parametrize("client_id", ["", "010a0000000001", "ff", "ff5cd8a9", "ffxyzxyzxy"])
def test_an_identifier_that_is_the_mac_needs_no_number(client_id: str) -> None:
    """The bridge has the same MAC; a malformed identifier has no number."""
    assert "IAID" not in bridge_file(NETWORK, DhcpLease(("10.0.0.1/24",), client_id))


def test_a_number_of_the_administrator_stays() -> None:
    """The section moves to the bridge."""
    text = bridge_file(f"{NETWORK}[DHCPv4]\nIAID=7\n", DhcpLease(("10.0.0.1/24",), CLIENT_ID))
    assert text.count("IAID=") == 1 and "IAID=7" in text


def test_the_facts_have_the_leased_addresses() -> None:
    """Those with a lifetime; a file of systemd-networkd alone does not say which they are."""
    infos = [
        {"family": "inet", "local": "10.0.0.1", "prefixlen": 24, "dynamic": True},
        {"family": "inet", "local": "10.0.1.1", "prefixlen": 24},
        {"family": "inet6", "local": "fd00::1", "prefixlen": 64, "dynamic": True},
    ]
    infos[0] |= {"metric": 1024, "scope": "global"}
    assert str(nic(infos).addresses[0]) == "10.0.0.1/24 metric 1024"
    assert NicAddress.parse("10.0.0.1/24 metric 1024").metric == 1024
    assert nic(infos).lease == DhcpLease(("10.0.0.1/24",), CLIENT_ID)
    assert nic(infos[1:]).lease is None and nic(infos[1:]).dynamic


def nic(infos: list[dict[str, object]]) -> Nic:
    """The NIC with these addresses, of which systemd-networkd has a lease."""
    lines = KeyedLines(f"lease eth1 {CLIENT_ID}\n")
    return parse(lines, [{"ifname": "eth1", "mtu": 1500, "addr_info": infos}], {})["eth1"]


def test_records_have_the_lease() -> None:
    """Those of NICs without one stay as they were in earlier versions."""
    original = OriginalNic("eth1", "", 1500, "", (), (), (), ())
    assert "lease" not in original.record
    leased = replace(original, lease=DhcpLease(("10.0.0.1/24",), CLIENT_ID))
    assert parse_record(leased.record) == leased != original


_NETPLAN = "/etc/netplan/50-x.yaml"


@pytest.mark.parametrize(("more", "kept"), [("", "static"), ("\n      critical: true", "yes")])
def test_netplan_has_a_drop_in_beside_its_keys(more: str, kept: str) -> None:
    """systemd-networkd, which is not root, can read it."""
    text = f"network:\n  version: 2\n  ethernets:\n    lan:\n      set-name: eth1{more}\n"
    text += "      match: {macaddress: '0a:00:00:00:00:01'}\n      dhcp4: true\n"
    text += "      dhcp4-overrides:\n        route-metric: 50\n"
    files, manager = ManagerFiles({_NETPLAN: text}), MANAGERS["netplan"]
    assert manager.uses_dhcp("eth1", files) and list(manager.reasons("eth1", files)) == []
    settings = manager.describe("eth1", files)
    assert manager.arguments(PORT.mark, settings) == "lan"
    written = dict(manager.added(PORT, settings))
    bridge = yaml.safe_load(written["/etc/netplan/90-provision-demo-bri0.yaml"])
    bri0 = bridge["network"]["bridges"]["bri0"]
    assert bri0["dhcp4"] is True and bri0["dhcp4-overrides"] == {"route-metric": 50}
    path = "/etc/systemd/network/10-netplan-bri0.network.d/provision-demo-bri0.conf"
    drop_in = written[path]
    assert f"KeepConfiguration={kept}" in drop_in and f"IAID={0x5CD8A901}" in drop_in
    assert manager.mode_of(path) == 0o644 and set(written) <= set(manager.paths(PORT.mark))


@pytest.mark.parametrize(
    ("dynamic", "dhcp4", "message"),
    [
        (False, "true", "eth1 has no lease, though netplan asks for one"),
        (True, "false", "eth1 has its address from a DHCP client that is not netplan's"),
        (True, "true", ""),
        (False, "false", ""),
    ],
)
def test_a_lease_of_another_client_is_refused(dynamic: bool, dhcp4: str, message: str) -> None:
    """The bridge would not get it."""
    text = f"network:\n  ethernets:\n    eth1:\n      dhcp4: {dhcp4}\n"
    uses_dhcp = MANAGERS["netplan"].uses_dhcp("eth1", ManagerFiles({_NETPLAN: text}))
    link = Nic("eth1", dynamic=dynamic, dhcp_clients=("systemd-networkd",) if dynamic else ())
    found = nic_checks.client_reasons(link, MANAGERS["netplan"], uses_dhcp)
    assert [text for text, _ in found] == ([message] if message else [])


@pytest.mark.parametrize(("manager", "uses_dhcp"), [("systemd-networkd", False), ("netplan", True)])
@pytest.mark.parametrize("line", ["", f"lease eth1 {CLIENT_ID}\n"])
def test_a_lease_that_networkd_does_not_know_is_refused(
    manager: str, uses_dhcp: bool, line: str
) -> None:
    """A `dhclient` started by hand has got it: systemd-networkd has no file of it."""
    infos = [{"family": "inet", "local": "10.0.0.1", "prefixlen": 24, "dynamic": True}]
    links = [{"ifname": "eth1", "mtu": 1500, "addr_info": infos}]
    link = parse(KeyedLines(line), links, {})["eth1"]
    found = list(nic_checks.client_reasons(link, MANAGERS[manager], uses_dhcp))
    message = f"eth1 has its address from a DHCP client that is not {manager}'s"
    assert [text for text, _ in found] == ([] if line else [message])


_PROFILE = "/etc/NetworkManager/system-connections/lan.nmconnection"
_KEYFILE = "[connection]\nuuid=1-2\ntype=ethernet\ninterface-name=eth1\n[ipv4]\nmethod=auto\n{}"


def profile(more: str = "", *settings: ManagerSetting) -> ManagerFiles:
    """A NIC whose profile of NetworkManager asks for a lease."""
    texts = {_PROFILE: _KEYFILE.format(more)}
    return ManagerFiles(texts, profiles={"eth1": _PROFILE}, settings=settings)


def test_the_bridge_of_network_manager_asks_as_the_nic_did() -> None:
    """The settings of DHCP move to the profile of the bridge, which has the same MAC."""
    manager = MANAGERS["NetworkManager"]
    files = profile("dhcp-client-id=mac\ndhcp-hostname=h1\n")
    assert manager.uses_dhcp("eth1", files) and list(manager.reasons("eth1", files)) == []
    written = dict(manager.added(PORT, manager.describe("eth1", files)))
    bridge, port = (written[path] for path in manager.paths(PORT.mark))
    for line in ("method=auto", "dhcp-client-id=mac", "dhcp-hostname=h1"):
        assert line in bridge.splitlines() and line not in port.splitlines()
    assert f"mac-address={PORT.mac}" in bridge.splitlines()


_CONF = "/etc/NetworkManager/NetworkManager.conf"
_OF_THE_NIC = ManagerSetting(_CONF, 7, "ipv4.dhcp-client-id", "stable")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (profile("dhcp-client-id=duid\n"), f"{_PROFILE}:7: dhcp-client-id=duid: the DHCP server"),
        (profile("", _OF_THE_NIC), f"{_CONF}:7: ipv4.dhcp-client-id=stable: the DHCP server would"),
        (profile("dhcp-client-id=mac\n", _OF_THE_NIC), ""),
        (profile("", ManagerSetting(_CONF, 2, "dhcp", "dhclient")), f"{_CONF}:2: dhcp=dhclient: "),
        (profile("", ManagerSetting(_CONF, 2, "dhcp", "internal")), ""),
    ],
)
def test_identifiers_that_a_bridge_would_not_have_are_refused(
    files: ManagerFiles, message: str
) -> None:
    """With file and line; the profile's own identifier is the one that counts."""
    found = [text for text, _ in MANAGERS["NetworkManager"].reasons("eth1", files)]
    assert (len(found) == 1 and found[0].startswith(message)) if message else found == []


def test_the_probe_reads_settings_of_network_manager() -> None:
    """The line of look/managers.sh, as a host prints it."""
    files = manager_facts.PROBE.parse(f"setting 7 ipv4.dhcp-client-id=stable {_CONF}\n")
    assert isinstance(files, ManagerFiles) and files.settings == (_OF_THE_NIC,)


def test_ifupdown_starts_its_dhcp_client_for_the_bridge() -> None:
    """With the options that the NIC's client has got."""
    path = "/etc/network/interfaces"
    text = "auto eth1\niface eth1 inet dhcp\n  client no\n  hostname h1\n  mtu 1400\n"
    files, manager = ManagerFiles({path: text}), MANAGERS["ifupdown"]
    assert manager.uses_dhcp("eth1", files) and list(manager.reasons("eth1", files)) == []
    written = dict(manager.edited(PORT, manager.describe("eth1", files), files))[path]
    new = [line.strip() for line in written.splitlines() if not line.startswith("#")]
    assert "iface bri0 inet dhcp" in new and "iface eth1 inet manual" in new
    assert "client no" in new and "hostname h1" in new and "mtu 1400" not in new


@pytest.mark.parametrize(
    ("manager", "line", "is_own"),
    [
        ("NetworkManager", "leased eth1 NetworkManager 10.0.0.1", True),
        ("NetworkManager", "leased eth1 NetworkManager 10.0.0.2", False),
        ("NetworkManager", f"lease eth1 {CLIENT_ID}", False),
        ("ifupdown", "leased eth1 ifupdown", True),
        ("ifupdown", "", False),
    ],
)
def test_the_client_of_each_manager_is_told(manager: str, line: str, is_own: bool) -> None:
    """NetworkManager's file of a lease may be older than the address that the NIC has now."""
    infos = [{"family": "inet", "local": "10.0.0.1", "prefixlen": 24, "dynamic": True}]
    links = [{"ifname": "eth1", "mtu": 1500, "addr_info": infos}]
    link = parse(KeyedLines(f"{line}\n"), links, {})["eth1"]
    assert (list(nic_checks.client_reasons(link, MANAGERS[manager], True)) == []) == is_own


LEASED = OriginalNic(
    "eth1",
    "",
    1500,
    "",
    (NicAddress("10.0.0.1", 24), NicAddress("10.0.1.1", 24)),
    (),
    (),
    (),
    lease=DhcpLease(("10.0.0.1/24",)),
)


def link_with(*cidrs: str, leased: str = "") -> dict[str, object]:
    """An interface that is up, as `ip -j address` prints it."""
    infos = [
        {"family": "inet", "local": local, "prefixlen": 24, "dynamic": cidr == leased}
        for cidr in (*cidrs, leased)
        if (local := cidr.removesuffix("/24"))
    ]
    return {"flags": ["UP"], "addr_info": infos}


@pytest.mark.parametrize(
    ("links", "holder"),
    [
        ({"bri0": link_with("10.0.1.1/24", leased="10.0.0.1/24")}, "bri0"),
        ({"bri0": link_with("10.0.1.1/24", leased="10.0.0.9/24")}, "bri0"),
        ({"bri0": link_with("10.0.1.1/24", "10.0.0.1/24")}, "bri0"),
        ({"bri0": link_with("10.0.1.1/24", "10.0.0.9/24")}, ""),
        ({"bri0": link_with("10.0.1.1/24"), "eth1": link_with(leased="10.0.0.9/24")}, ""),
        ({"bri0": link_with(leased="10.0.0.9/24")}, ""),
        (
            {
                "bri0": link_with("10.0.1.1/24", leased="10.0.0.9/24"),
                "eth2": link_with(leased="10.9.0.1/24"),
            },
            "bri0",
        ),
    ],
    ids=["same", "changed", "kept", "not leased", "two holders", "without the fixed", "other NIC"],
)
def test_any_lease_of_the_bridge_is_that_of_the_nic(
    links: dict[str, dict[str, object]], holder: str
) -> None:
    """The server may give the bridge another address; fixed addresses stay wanted."""
    assert address_holder(LEASED, links, "bri0") == holder


def test_verify_accepts_another_lease() -> None:
    """Only a bridge without a lease has lost the address."""
    recorded = {"10.0.0.1/24", "10.0.1.1/24"}
    assert LEASED.lacking({"10.0.1.1/24", "10.0.0.9/24"}, leased=True) == set()
    assert LEASED.lacking({"10.0.1.1/24"}, leased=False) == {"10.0.0.1/24"}
    assert LEASED.lacking({"10.0.0.9/24"}, leased=True) == recorded - {"10.0.0.1/24"}


def test_the_file_that_keeps_addresses_ends_with_our_setting() -> None:
    """The snapshot reads the NIC's own settings, which are those before the comment."""
    own, _, keeping = networkd.kept_addresses(NETWORK).partition("\n# provision: ")
    assert networkd.sections(own) == networkd.sections(NETWORK)[1:]
    assert "KeepConfiguration=static" in keeping
