"""Files of network managers for a NIC that becomes a port of a bridge, and what they refuse."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
import yaml

import provision.methods.pipework.manager_facts as manager_facts
import provision.methods.pipework.nic_checks as nic_checks
from provision.facts import host_probe
from provision.facts.host import Link
from provision.facts.nics import Nic
from provision.inventory.load import load
from provision.resources.kinds.lan_bridge import LanBridge
from provision.resources.lib import marked_block
from provision.resources.lib.managers import MANAGERS
from provision.resources.lib.managers.base import BridgePort, Files, ManagerFiles, UnreadFile
from provision.resources.lib.nic_records import HostVeth, NicAddress, OriginalNic, parse_record
from provision.resources.on_hosts import Mark
from provision.resources.steps import Refuse
from tests.fakes import HOST

MARK = Mark("demo", "bri0")
PORT = BridgePort(
    mark=MARK,
    nic="eth1",
    mac="0a:00:00:00:00:01",
    mtu=1400,
    stp=False,
    vlans=(),
    host_veth=None,
)
INTERFACES, NETPLAN = "/etc/network/interfaces", "/etc/netplan/50-x.yaml"
PROFILE = "/etc/NetworkManager/system-connections/lan.nmconnection"


def host_files(path: str, text: str, **more: str) -> ManagerFiles:
    """A host with one file of a manager, and others."""
    return ManagerFiles({path: text, **more}, profiles={"eth1": PROFILE}, metrics={"eth1": "100"})


def with_bridge(manager: str, files: ManagerFiles, port: BridgePort = PORT) -> dict[str, str]:
    """All files that provision writes, by path; none of them is refused."""
    known = MANAGERS[manager]
    assert list(known.reasons(port.nic, files)) == []
    settings = known.describe(port.nic, files)
    written: Files = (*known.added(port, settings), *known.edited(port, settings, files))
    assert {path for path, _ in known.added(port, settings)} <= set(known.paths(port.mark))
    return dict(written)


def refused(manager: str, files: ManagerFiles) -> str:
    """The messages of the refusals."""
    return "\n".join(message for message, _ in MANAGERS[manager].reasons("eth1", files))


@pytest.mark.parametrize(
    "text",
    [
        "auto eth1\niface eth1 inet static\n    address 10.0.0.1/24\n",
        "auto lo eth1\niface lo inet loopback\n\niface eth1 inet static\n\taddress 10.0.0.1/24",
        "# a\nallow-hotplug eth1\n\niface eth1 inet static\n  address 10.0.0.1/24 \\\n\n\n# b\n"
        "  mtu 1400\n# c\niface eth1 inet6 static\n  address fd00::1/64\n\niface eth2 inet dhcp\n",
    ],
)
def test_the_lines_of_ifupdown_come_back_to_the_byte(text: str, tmp_path: Path) -> None:
    """On the controller, and by the program on the host, whatever else was added meanwhile."""
    path = tmp_path / "interfaces"
    written = with_bridge("ifupdown", host_files(INTERFACES, text))[INTERFACES]
    assert marked_block.unwrap(written, MARK) == text != written
    assert marked_block.unwrap(written, Mark("other", "bri0")) == written
    path.write_text(written + "# later\n")
    path.chmod(0o640)
    for _ in range(2):
        restore = marked_block.restore(str(path), MARK)
        subprocess.run(restore.argv, check=True)
        assert path.read_text() == text + "# later\n"
    assert path.stat().st_mode & 0o777 == 0o640 and list(tmp_path.iterdir()) == [path]


def test_the_stanzas_of_ifupdown_move_to_the_bridge() -> None:
    """Options of the cable stay with the NIC; another interface on its `auto` line stays."""
    text = (
        "source interfaces.d/*\nauto eth1 eth2\niface eth1 inet static\n  address 10.0.0.1/24\n"
        "  gateway 10.0.0.254\n  hwaddress ether 0a:00:00:00:00:02\n  mtu 1400\n"
    )
    later = "iface eth1 inet6 static\n  address fd00::1/64\n"
    files = host_files(INTERFACES, text, **{"/etc/network/interfaces.d/v6": later})
    written = with_bridge("ifupdown", files)
    new = [line for line in written[INTERFACES].splitlines() if not line.startswith("#")]
    assert new == [
        "source interfaces.d/*",
        "auto eth2",
        "auto bri0",
        "iface eth1 inet manual",
        "iface bri0 inet static",
        "    pre-up [ -e /sys/class/net/bri0 ] || "
        "ip link add name bri0 address 0a:00:00:00:00:01 type bridge",
        "    pre-up ip link set dev bri0 type bridge stp_state 0 forward_delay 0",
        "    pre-up ip link set dev bri0 mtu 1400 up",
        "    pre-up ip link set dev eth1 address 0a:00:00:00:00:02 mtu 1400 master bri0 up",
        "    address 10.0.0.1/24",
        "    gateway 10.0.0.254",
        "iface bri0 inet6 static",
        "    address fd00::1/64",
    ]
    moved = written["/etc/network/interfaces.d/v6"]
    assert marked_block.unwrap(moved, MARK) == later
    assert all(line.startswith("#") for line in moved.splitlines())


def test_a_veth_and_vlans_are_made_by_ifupdown() -> None:
    """The host's addresses are on the veth then."""
    port = BridgePort(
        mark=MARK, nic="eth1", mac="0a:00:00:00:00:01", mtu=1500, stp=True, vlans=(7,),
        host_veth=HostVeth("host-x", "port-x", "0a:00:00:00:00:03"),
    )  # fmt: skip
    text = "auto eth1\niface eth1 inet static\n address 10.0.0.1/24\n"
    written = with_bridge("ifupdown", host_files(INTERFACES, text), port)[INTERFACES]
    assert "auto host-x" in written and "iface host-x inet static" in written
    assert "stp_state 1 vlan_filtering 1" in written and "forward_delay" not in written
    assert "bridge vlan add dev eth1 vid 7" in written
    assert "ip link set dev port-x master bri0 up" in written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iface eth1 inet ppp\n", "interfaces:1: iface eth1 inet ppp is neither a static address"),
        ("iface eth1 inet dhcp\n  gateway 10.0.0.254\n", "interfaces:2: gateway 10.0.0.254 cannot"),
        (
            "iface eth1 inet dhcp\niface eth1 inet6 static\n",
            ":2: iface eth1 inet6 static stands be",
        ),
        ("iface eth1 inet static\n  up ip route add x\n", "interfaces:2: up ip route add x"),
        ("iface eth1 inet static\n  bond-master bond0\n", "interfaces:2: bond-master bond0"),
        ("iface eth1 inet static\n  wpa-conf x\n", "interfaces:2: wpa-conf x"),
        ("iface eth1 inet static\niface eth1.5 inet static\n", ":2: iface eth1.5 inet static also"),
        ("iface eth1 inet static\niface eth1:0 inet static\n", ":2: iface eth1:0 inet static also"),
        ("iface eth1 inet static\nmapping eth*\n script x\n", ":2: mapping eth* also configures"),
        ("iface eth1 inet static\nauto /eth*\n", ":2: auto /eth* also configures eth1"),
        ("iface eth1 inet static\niface b inet manual\n bridge_ports eth0 eth1\n", ":3: bridge_po"),
        ("iface eth1 inet static\nsource /srv/*\n", "interfaces:2: source /srv/* is not read"),
        ("iface eth1 inet static inherits base\n", ":1: iface eth1 inet static inherits base is"),
        ("iface lo inet loopback\n", "no stanza of /etc/network/interfaces has configured eth1"),
    ],
)
def test_ifupdown_refuses_what_a_bridge_cannot_keep(text: str, message: str) -> None:
    """With file and line."""
    assert message in refused("ifupdown", host_files(INTERFACES, text))


def test_files_that_ifupdown_does_not_read_do_not_count() -> None:
    """`source-directory` includes only the names of run-parts(8)."""
    files = {
        "/etc/network/interfaces.d/more.bak": "iface eth1 inet dhcp\n",
        "/etc/network/interfaces.d/eth1": "iface eth1 inet static\n address 10.0.0.1/24\n",
    }
    main = "source-directory interfaces.d\n"
    written = with_bridge("ifupdown", host_files(INTERFACES, main, **files))
    assert list(written) == ["/etc/network/interfaces.d/eth1"]


def test_network_manager_gets_two_profiles() -> None:
    """The NIC's own stays: they have a higher priority. Routes keep their metric."""
    text = (
        "[connection]\nid=lan\nuuid=1-2\ntype=ethernet\ninterface-name=eth1\nzone=home\n\n"
        "[ethernet]\nmtu=1400\n\n[ipv4]\nmethod=manual\naddress1=10.0.0.1/24,10.0.0.254\n"
    )
    files = host_files(PROFILE, text)
    written = with_bridge("NetworkManager", files)
    bridge, port = (written[path] for path in MANAGERS["NetworkManager"].paths(MARK))
    for line in ("zone=home", "address1=10.0.0.1/24,10.0.0.254", "route-metric=100", "stp=false"):
        assert line in bridge.splitlines() and line not in port.splitlines()
    assert "mac-address=0a:00:00:00:00:01" in bridge and "mtu=1400" in bridge
    for line in ("interface-name=eth1", "slave-type=bridge", "mtu=1400"):
        assert line in port.splitlines()
    assert all("autoconnect-priority=999" in text for text in (bridge, port))
    arguments = MANAGERS["NetworkManager"].arguments(MARK, text).split()
    assert arguments[0] == "1-2" and f"uuid={arguments[1]}" in bridge
    assert f"uuid={arguments[2]}" in port and f"master={arguments[1]}" in port


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("method=manual", "method=shared", "lan.nmconnection:6: method=shared: eth1 has no addr"),
        ("interface-name=eth1", "multi-connect=3", ":1: the connection is not bound to eth1"),
        ("type=ethernet", "type=vlan", ":3: type=vlan: eth1 is not a plain wired NIC"),
        ("type=ethernet", "type=ethernet\nmaster=bond0", ":4: master=bond0: eth1 is a port"),
        ("type=ethernet", "type=ethernet\nautoconnect=false", ":4: autoconnect=false: the bridge"),
        ("type=ethernet", "type=ethernet\nautoconnect-priority=999", ":4: autoconnect-priority"),
        ("type=ethernet", "type=ethernet\npermissions=user:x:", ":4: permissions=user:x:: only"),
    ],
)
def test_network_manager_refuses_other_profiles(old: str, new: str, message: str) -> None:
    """With file and line."""
    text = "[connection]\nuuid=1-2\ntype=ethernet\ninterface-name=eth1\n[ipv4]\nmethod=manual\n"
    assert refused("NetworkManager", host_files(PROFILE, text)) == ""
    assert message in refused("NetworkManager", host_files(PROFILE, text.replace(old, new)))


def test_profiles_with_secrets_are_not_read() -> None:
    """The section is named instead; so is a NIC without a keyfile."""
    files = ManagerFiles({}, (UnreadFile(PROFILE, 9, "802-1x"),), {"eth1": PROFILE})
    assert f"{PROFILE}:9: eth1 has the section [802-1x]" in refused("NetworkManager", files)
    assert "is the connection of eth1" in refused("NetworkManager", ManagerFiles())


@pytest.mark.parametrize(
    "entry",
    [
        "    eth1:\n      addresses: [10.0.0.1/24]\n",
        "    eth1: {addresses: [10.0.0.1/24]}\n",
        "    lan:\n      match: {macaddress: '0a:00:00:00:00:01'}\n      set-name: eth1\n"
        "      addresses:\n        # the first\n        - 10.0.0.1/24\n      mtu: 1400\n\n"
        "    # next\n",
    ],
)
def test_the_entry_of_netplan_moves_to_the_bridge(entry: str) -> None:
    """The NIC's own keys stay with it, and the text comes back to the byte."""
    text = f"network:\n  version: 2\n  ethernets:\n{entry}    eth2: {{dhcp4: true}}\n"
    written = with_bridge("netplan", host_files(NETPLAN, text))
    assert marked_block.unwrap(written[NETPLAN], MARK) == text != written[NETPLAN]
    nics = yaml.safe_load(written[NETPLAN])["network"]["ethernets"]
    name = "lan" if "lan:" in entry else "eth1"
    assert nics[name]["link-local"] == [] and "addresses" not in nics[name]
    assert ("set-name" in nics[name]) == (name == "lan") and nics["eth2"] == {"dhcp4": True}
    bridge_path = MANAGERS["netplan"].paths(MARK)[0]
    bridge = yaml.safe_load(written[bridge_path])["network"]["bridges"]["bri0"]
    assert bridge["addresses"] == ["10.0.0.1/24"] and bridge["interfaces"] == [name]
    assert bridge["macaddress"] == PORT.mac and bridge["mtu"] == PORT.mtu


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{network: {ethernets: {eth1: {addresses: [10.0.0.1/24]}}}}\n",
            ":1: ethernets is written",
        ),
        ("network:\n ethernets:\n  eth1:\n   dhcp6: yes\n", "50-x.yaml:4: dhcp6 is on"),
        ("network:\n ethernets:\n  eth1:\n   auth: {}\n", ":4: auth cannot move to a bridge"),
        ("network:\n ethernets:\n  eth1: {}\n vlans:\n  v5:\n   link: eth1\n", ":6: another"),
        ("network:\n ethernets:\n  eth1: {}\n bonds:\n  b: {interfaces: [eth1]}\n", ":5: another"),
        ("network:\n ethernets:\n  all: {match: {name: 'e*'}}\n", "is that of eth1 alone"),
        ("network:\n ethernets:\n  eth1: {}\n  a: {match: {name: 'e*'}}\n", ":4: a matches eth1"),
        ("network: [\n", "a file of netplan cannot be read"),
    ],
)
def test_netplan_refuses_what_a_bridge_cannot_keep(text: str, message: str) -> None:
    """With file and line."""
    assert message in refused("netplan", host_files(NETPLAN, text))


def test_netplan_refuses_two_entries_and_files_outside_of_etc() -> None:
    """Only one entry can be replaced, and only the administrator's."""
    entry = "network:\n ethernets:\n  eth1: {addresses: [10.0.0.1/24]}\n"
    files = host_files(NETPLAN, entry, **{"/etc/netplan/60-y.yaml": entry})
    assert "60-y.yaml:3: eth1 has a second entry" in refused("netplan", files)
    run = host_files("/run/netplan/x.yaml", entry)
    assert "/run/netplan/x.yaml:3: eth1 is not configured in /etc/netplan" in refused(
        "netplan", run
    )


def test_the_bridge_of_netplan_with_network_manager_has_a_profile_of_its_own() -> None:
    """Its UUID is known, and its routes have the metric of the NIC's."""
    text = "network:\n  version: 2\n  ethernets:\n    eth1:\n      addresses: [10.0.0.1/24]\n"
    written = with_bridge("netplan-nm", host_files(NETPLAN, text))
    (path,) = MANAGERS["netplan-nm"].paths(MARK)
    bridge = yaml.safe_load(written[path])["network"]["bridges"]["bri0"]
    assert bridge["addresses"] == ["10.0.0.1/24"] and bridge["renderer"] == "NetworkManager"
    _, uuid, _ = MANAGERS["netplan-nm"].arguments(MARK, text).split()
    passthrough = {"ipv4.route-metric": "100"}
    assert bridge["networkmanager"] == {"uuid": uuid, "passthrough": passthrough}
    assert marked_block.unwrap(written[NETPLAN], MARK) == text


def test_unsupported_managers_are_refused_by_name(tmp_path: Path) -> None:
    """A manager of which provision knows no files."""
    assert "eth1 is managed by connman" in problems(tmp_path, "connman", "")


# The first cell of a row of the table in docs/hosts.md → the manager, and whether it has a lease.
_ROWS = {
    "systemd-networkd": ("systemd-networkd", False),
    "ifupdown 0.8.44": ("ifupdown", False),
    "NetworkManager 1.52": ("NetworkManager", False),
    "netplan 1.1 with its default renderer, systemd-networkd": ("netplan", False),
    "netplan with `renderer: NetworkManager`, with a fixed address": ("netplan-nm", False),
    "systemd-networkd, with an address from DHCP": ("systemd-networkd", True),
    "netplan with systemd-networkd, with an address from DHCP": ("netplan", True),
    "netplan with `renderer: NetworkManager`, with an address from DHCP": ("netplan-nm", True),
    "NetworkManager, with an address from DHCP": ("NetworkManager", True),
    "ifupdown, with an address from DHCP by dhcpcd (Debian 13 and sid) or dhclient (Debian 12)": (
        "ifupdown",
        True,
    ),
}
_COLUMNS = ("kind: linux", "host_port: veth", "kind: ovs")
_TABLE = (Path(__file__).parents[2] / "docs/hosts.md").read_text().partition("\n\n## ")[0]


def _cells() -> list[tuple[str, str, str]]:
    """The cells of the table: row, column and text."""
    rows = [[c.strip() for c in line.split("|")[1:]] for line in _TABLE.splitlines() if "|" in line]
    return [
        (row[0], column, cell)
        for row in rows
        if row[0] in _ROWS
        for column, cell in zip(_COLUMNS, row[1:4], strict=True)
    ]


@pytest.mark.parametrize(("row", "column", "cell"), _cells())
def test_the_table_of_managers_says_what_is_refused(
    tmp_path: Path, row: str, column: str, cell: str
) -> None:
    """A key that the docs call refused is named with the reason, and no other one is."""
    manager, dynamic = _ROWS[row]
    found = problems(tmp_path, manager, f", {column}", dynamic=dynamic)
    subject = "eth1 has its address by DHCP, which" if dynamic else f"with {manager}"
    is_named = any(column in line and subject in line for line in found.splitlines())
    assert is_named == (cell == "refused"), (cell, found)


def test_every_row_of_the_table_is_checked() -> None:
    """A new row needs a manager here; the rows left out are refused altogether."""
    assert {row for row, *_ in _cells()} == _ROWS.keys()
    others = [line for line in _TABLE.splitlines() if line.startswith("| ") and "refused" in line]
    assert sum(line.count("| refused") == 3 for line in others) == 2


@pytest.mark.parametrize("key", ["host_port: veth", "kind: ovs"])
def test_keys_that_do_not_go_with_a_lease_are_refused(tmp_path: Path, key: str) -> None:
    """A fixed address goes with both, and a lease with the other values."""
    message = f"eth1 has its address by DHCP, which a network with {key} does not get"
    assert message in problems(tmp_path, "systemd-networkd", f", {key}", dynamic=True)
    assert message not in problems(tmp_path, "systemd-networkd", f", {key}")
    assert message not in problems(tmp_path, "systemd-networkd", "", dynamic=True)


def problems(folder: Path, manager: str, key: str, *, dynamic: bool = False) -> str:
    """The messages for a host whose eth1 belongs to a manager."""
    path = folder / "it.yml"
    path.write_text(
        "name: it\nhosts: {h1: {address: 10.78.0.11}}\n"
        f"networks:\n  n: {{method: pipework, cidr: 10.78.0.0/24{key}}}\n"
    )
    addresses = (NicAddress("10.78.0.11", 24),)
    nic = Nic("eth1", managers=(manager,), addresses=addresses, dynamic=dynamic)
    facts = replace(host_probe.parse("h1", HOST), nics={"eth1": nic}, bridged_nics={})
    facts = replace(facts, links={"eth1": Link("eth1", 1500, (IPv4Interface("10.78.0.11/24"),))})
    inventory = load(path)
    found = nic_checks.problems(inventory, inventory.networks["n"], facts)
    return "\n".join(problem.message for problem in found)


def test_the_probe_reads_no_file_with_secrets() -> None:
    """The output of look/managers.sh, as a host prints it."""
    lines = f"file {b64encode(b'auto eth1').decode()} {INTERFACES}\nprofile eth1 {PROFILE}\n"
    printed = f"{lines}unread 7 802-1x {PROFILE}\nmetric eth1 100\n"
    files = manager_facts.PROBE.parse(printed)
    assert isinstance(files, ManagerFiles)
    assert files.texts == {INTERFACES: "auto eth1"} and files.profiles == {"eth1": PROFILE}
    assert files.unread == (UnreadFile(PROFILE, 7, "802-1x"),) and files.metrics["eth1"] == "100"


def test_records_name_the_manager_unless_it_is_networkd() -> None:
    """Hosts of earlier versions keep the text of their records."""
    original = OriginalNic("eth1", "", 1500, "", (), (), (), ())
    assert "manager" not in original.record
    other = replace(original, manager="ifupdown")
    assert parse_record(other.record) == other and parse_record(original.record) == original


def test_a_file_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    """Its text may be that of the plan, or any that an interrupted change has left."""
    path, text = (
        tmp_path / "interfaces",
        "auto eth1\niface eth1 inet static\n address 10.0.0.1/24\n",
    )
    edited = with_bridge("ifupdown", host_files(INTERFACES, text))[INTERFACES]
    original = OriginalNic("eth1", PORT.mac, 1500, "", (), (), (), (), manager="ifupdown")
    bridge = LanBridge(
        "h1", "bri0", "eth1", PORT.mac, 1500, "bri0", False, (), ((str(path), edited),), MARK,
        original=original, present=((str(path), text),),
    )  # fmt: skip
    refuse = bridge.create()[0]
    assert isinstance(refuse, Refuse)
    for known, is_refused in ((text, False), (edited, False), (text + "# new\n", True)):
        path.write_text(known)
        assert (subprocess.run(refuse.test.argv).returncode == 0) == is_refused, known
    assert not any(isinstance(step, Refuse) for step in bridge.undo(bridge, ours=True))
    assert not any(isinstance(step, Refuse) for step in bridge.unstash("1"))
