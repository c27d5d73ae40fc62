"""Interfaces that are up while what links them to the LAN is not: by captures of hosts.

`lab/test_damaged_bridges.py` cuts these links on booted hosts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.resources import script
from provision.resources.base import Origin
from provision.resources.kinds.attachment import Attachment
from provision.resources.kinds.lan_bridge import LanBridge
from provision.resources.lib.container_interface_probe import InterfaceProbe
from tests.probes.test_captured import FOLDER, INVENTORIES

Link = dict[str, Any]
Cut = Callable[[Link], None]
PORT = {"vlan": 1, "flags": ["PVID", "Egress Untagged"]}
TAGGED = {"vlan": 20}


def down(link: Link) -> None:
    """`ip link set … down`."""
    link["flags"] = [flag for flag in link["flags"] if flag not in ("UP", "LOWER_UP")]


def freed(link: Link) -> None:
    """`ip link set … nomaster`."""
    del link["master"]


def moved(link: Link) -> None:
    """A port of another bridge."""
    link["master"] = "bri1"


def cut(path: Path, key: str, name: str, how: Cut) -> str:
    """A capture in which an interface of the host is changed; `name` is how its name begins."""
    lines = path.read_text().splitlines()
    (number,) = (i for i, line in enumerate(lines) if line.startswith(f"{key} ["))
    links = json.loads(lines[number].removeprefix(f"{key} "))
    named = [link for link in links if str(link.get("ifname", "")).startswith(name)]
    assert named, name
    for link in named:
        how(link)
    lines[number] = f"{key} {json.dumps(links)}"
    return "\n".join(lines)


def bridge(path: Path, text: str | None = None) -> LanBridge:
    """The bridge of ours in a capture."""
    origin = Origin("host", INVENTORIES[path.stem.split("-")[0]])
    (found,) = (e.resource for e in LanBridge.parse(text or path.read_text(), origin) if e.ours)
    assert isinstance(found, LanBridge)
    return found


@pytest.mark.parametrize(
    ("capture", "name", "how"),
    [
        ("veth", "port-lan", freed),
        ("veth", "port-lan", moved),
        ("veth", "port-lan", down),
        ("veth", "host-lan", down),
        ("veth", "bri0", down),
        ("pipework", "bri0", down),
    ],
)
@pytest.mark.parametrize("suite", ["trixie", "bookworm", "sid"])
def test_a_host_that_is_cut_off_its_lan_differs(
    suite: str, capture: str, name: str, how: Cut
) -> None:
    """Nothing but the interfaces below tells: the one with the addresses is up and has them."""
    path = FOLDER / "lan_bridge" / f"{capture}-{suite}.txt"
    wanted, found = bridge(path), bridge(path, cut(path, "addresses", name, how))
    assert wanted.host_link and found == replace(wanted, host_link="")
    healed = script.commands(wanted.update(found) or ())
    assert "link set dev $bridge mtu $mtu up" in healed
    assert "link set dev $veth_end master $bridge up" in healed


@pytest.mark.parametrize(
    ("capture", "ports", "vlans", "untagged"),
    [
        ("pipework", {"eth1": [PORT, TAGGED], "bri0": [PORT]}, (20,), True),
        ("pipework", {"eth1": [TAGGED], "bri0": [PORT]}, (20,), False),
        ("pipework", {"bri0": [PORT]}, (), False),
        ("pipework", {"eth1": [PORT]}, (), False),
        ("pipework", {"eth1": [{"vlan": 1}], "bri0": [PORT]}, (), False),
        ("pipework", {"eth1": [PORT | {"vlan": 7}], "bri0": [PORT]}, (7,), False),
        ("pipework", {}, (), False),
        ("veth", {"eth1": [PORT], "port-lan-oz7xyn": [PORT]}, (), True),
        ("veth", {"eth1": [PORT], "bri0": [PORT]}, (), False),
    ],
)
def test_a_bridge_that_filters_vlans_takes_frames_without_a_tag(
    capture: str, ports: dict[str, Any], vlans: tuple[int, ...], untagged: bool
) -> None:
    """Those of the NIC and of the host are in VLAN 1, which `bridge vlan del` takes away."""
    path = FOLDER / "lan_bridge" / f"{capture}-trixie.txt"
    printed = json.dumps([{"ifname": name, "vlans": rows} for name, rows in ports.items()])
    text = path.read_text().replace("vlans bri0 []", f"vlans bri0 {printed}")
    assert bridge(path, text) == bridge(path)  # it does not filter
    found = bridge(path, f"{text}\nset bri0 vlan_filtering 1")
    assert (found.vlans, found.untagged) == (vlans, untagged)
    healed = script.commands(bridge(path).update(found) or ())
    assert 'vlan add dev "$nic" vid 1 pvid untagged' in healed


def attachments(path: Path, text: str | None = None) -> list[Attachment]:
    """The interfaces of a capture."""
    origin = Origin("host", INVENTORIES[path.stem.split("-")[0]])
    found = [entry.resource for entry in Attachment.parse(text or path.read_text(), origin)]
    assert found and all(isinstance(one, Attachment) for one in found)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("path", sorted((FOLDER / "attachment").glob("*.txt")), ids=str)
def test_the_end_on_the_host_of_an_interface_must_be_up(path: Path) -> None:
    """The interface itself is up then, without a carrier; it is made anew."""
    for wanted in attachments(path):
        found = next(
            one
            for one in attachments(path, cut(path, "links", wanted.outer, down))
            if one.name == wanted.name
        )
        assert wanted.parent and found == replace(wanted, parent="")
        refusal, *made = wanted.create()
        assert wanted.update(found) == (refusal, *found._detach, *made)


MACVLAN = ["c", "eth1", "macvlan", "pw-c-1", "eth1", "-", "-", "20", "-"]
INSIDE = {"ifname": "eth1", "ifindex": 9, "link_index": 12, "flags": ["UP"], "mtu": 1500}
INSIDE |= {"ifalias": "provision:demo/c/eth1", "address": "02:00:00:00:00:01", "addr_info": []}
VLAN = {"info_kind": "vlan", "info_data": {"id": 20}}


@pytest.mark.parametrize(
    ("vlan", "nic", "parent"),
    [(["UP"], ["UP"], "eth1"), ([], ["UP"], ""), (["UP"], [], ""), ([], [], "")],
)
def test_the_vlan_and_the_nic_of_a_macvlan_must_be_up(
    vlan: list[str], nic: list[str], parent: str
) -> None:
    """A NIC takes its VLANs along when somebody sets it down; one that is up stays as it is."""
    links = [
        {"ifname": "eth1", "ifindex": 3, "flags": nic},
        {"ifname": "eth1.20", "ifindex": 12, "link": "eth1", "flags": vlan, "linkinfo": VLAN},
    ]
    probe = InterfaceProbe(f"links {json.dumps(links)}\ninside c {json.dumps([INSIDE])}\n")
    fields = probe.fields(MACVLAN, "provision:demo/c/eth1")
    assert (fields["parent"], fields["vlan"]) == (parent, 20)


@pytest.mark.parametrize(
    ("filters", "default", "vlans", "parent", "vlan"),
    [
        (1, 1, [PORT], "bri0", 0),
        (1, 1, [PORT | {"vlan": 20}], "bri0", 20),
        (1, 1, [TAGGED], "bri0", 0),
        (1, 1, [], "", 0),
        (1, 0, [], "bri0", 0),
        (0, 1, [], "bri0", 0),
    ],
)
def test_a_port_without_its_vlan_gets_no_frame(
    filters: int, default: int, vlans: list[Any], parent: str, vlan: int
) -> None:
    """A bridge that filters VLANs drops them, as after `bridge vlan del dev pw-… vid 1`.

    A bridge that gives no VLAN to new ports, and other VLANs of a port, are an administrator's:
    making the interface anew would not change the one, and would lose the others.
    """
    settings = {"vlan_filtering": filters, "vlan_default_pvid": default}
    linkinfo = {"info_kind": "bridge", "info_data": settings}
    links = [
        {"ifname": "bri0", "ifindex": 3, "flags": ["UP"], "linkinfo": linkinfo},
        {"ifname": "pw-c-1", "ifindex": 12, "flags": ["UP"], "master": "bri0"},
    ]
    ports = json.dumps([{"ifname": "pw-c-1", "vlans": vlans}] if vlans else [])
    text = f"links {json.dumps(links)}\nvlans {ports}\ninside c {json.dumps([INSIDE])}\n"
    claim = ["c", "eth1", "bridge", "pw-c-1", "bri0", "-", "-", "-", "-"]
    fields = InterfaceProbe(text).fields(claim, "provision:demo/c/eth1")
    assert (fields["parent"], fields["vlan"]) == (parent, vlan)
