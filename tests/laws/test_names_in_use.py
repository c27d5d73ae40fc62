"""Law: what others have under a name that a change would give is a conflict before it begins."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from provision.engine import desired, names_in_use
from provision.facts.host import HostFacts, Link
from provision.inventory.load import load
from provision.resources.base import Resource, State
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.kinds.vxlan import Vxlan
from tests.laws.test_names_fuzz import data, facts

WORDS = {
    "name": "demo",
    "network": "blue",
    "host": "h2",
    "bridge": "bri0",
    "nic": "eth1",
    "interface": "eth1",
    "container": "web",
}
NAMES_OF = {"attachment", "docker_network", "flannel", "lan_bridge", "vxlan"}
NAMES_OF |= {"ovs_bridge", "ovs_uplink", "ovs_veth"}
"""Kinds of this inventory that make interfaces of the host."""


def wanted(folder: Path) -> tuple[State, dict[str, HostFacts]]:
    """What an inventory with a network of each kind wants, on hosts with Docker 28."""
    path = folder / "inventory.yml"
    path.write_text(json.dumps(data(WORDS)))
    inventory = load(path)
    hosts = {
        host: dataclasses.replace(host_facts, docker=(28, 5))
        for host, host_facts in facts(inventory, "eth1").items()
    }
    return desired.wanted(inventory, hosts), hosts


def having(host: HostFacts, name: str, *, alternative: bool = False) -> HostFacts:
    """The host with an interface or file of others of this name."""
    if name.startswith("/"):
        return dataclasses.replace(host, foreign_files=frozenset({name}))
    link = Link("other", 1500, (), (name,)) if alternative else Link(name, 1500, ())
    return dataclasses.replace(host, links={**host.links, link.name: link})


def test_each_name_that_others_have_is_a_conflict(tmp_path: Path) -> None:
    """For every interface and file, also where the name is only an alternative one."""
    state, hosts = wanted(tmp_path)
    assert {ref.kind for ref, resource in state.items() if resource.names()} == NAMES_OF
    assert not list(names_in_use.conflicts(hosts, {}, {}, state))
    for ref, resource in state.items():
        for name in resource.names():
            for alternative in (False, True):
                host = having(hosts[ref.host], name, alternative=alternative)
                conflicts = list(names_in_use.conflicts({ref.host: host}, {}, {}, state))
                assert [conflict.ref for conflict in conflicts] == [ref]
                assert f" {name} exists" in conflicts[0].message


def test_what_is_ours_is_no_conflict(tmp_path: Path) -> None:
    """Neither unchanged, nor where one resource takes the name of another."""
    state, hosts = wanted(tmp_path)
    for ref, resource in state.items():
        for name in resource.names():
            host = having(hosts[ref.host], name)
            assert not list(names_in_use.conflicts({ref.host: host}, state, {}, state))


def test_an_uplink_that_another_inventory_uses_is_shared(tmp_path: Path) -> None:
    """The bridge of its NIC exists already; without the uplink, the name is that of others."""
    state, hosts = wanted(tmp_path)
    ref, uplink = next((r, one) for r, one in state.items() if isinstance(one, OvsUplink))
    shared = dataclasses.replace(uplink, claimed=False, other_users=("other",))
    apart = dataclasses.replace(uplink, bridge="", claimed=False)
    host = {ref.host: having(hosts[ref.host], uplink.bridge)}
    assert not list(names_in_use.conflicts(host, {}, {ref: shared}, state))
    assert len(list(names_in_use.conflicts(host, {}, {ref: apart}, state))) == 1


@pytest.mark.parametrize("kind", [Vxlan, Flannel])
def test_two_resources_of_one_name_are_a_conflict(tmp_path: Path, kind: type[Resource]) -> None:
    """Such as a bridge that is called like the VXLAN device of another network.

    flanneld deletes an interface of another type that has the name of its device.
    """
    state, hosts = wanted(tmp_path)
    device = next(one for one in state.values() if isinstance(one, kind) and one.host == "h1")
    assert isinstance(device, Vxlan | Flannel)
    bridge = next(one for one in state.values() if one.kind == "lan_bridge" and one.host == "h1")
    twin = dataclasses.replace(bridge, bridge=device.device)
    state = {ref: one for ref, one in state.items() if ref != bridge.ref} | {twin.ref: twin}
    messages = [one.message for one in names_in_use.conflicts(hosts, {}, {}, state)]
    assert len(messages) == 1 and f"interface {device.device} would be that of" in messages[0]


@pytest.mark.parametrize("kind", ["ovs_bridge", "ovs_veth"])
def test_devices_of_a_stopped_open_vswitch_are_no_conflict(tmp_path: Path, kind: str) -> None:
    """They outlive it, and only its database says whose they are."""
    state, hosts = wanted(tmp_path)
    ref, resource = next((r, one) for r, one in state.items() if r.kind == kind)
    daemon = OvsDaemon(ref.host, "demo", active=False)
    host = having(hosts[ref.host], resource.names()[0])
    assert not list(names_in_use.conflicts({ref.host: host}, {daemon.ref: daemon}, {}, state))


def test_a_file_in_place_of_a_folder_is_a_conflict(tmp_path: Path) -> None:
    """A symbolic link could lead writes elsewhere."""
    state, hosts = wanted(tmp_path)
    host = dataclasses.replace(hosts["h1"], blocked_folders=frozenset({"/etc/provision"}))
    (conflict,) = names_in_use.conflicts({"h1": host}, {}, {}, state)
    assert "/etc/provision is a file or a symbolic link" in conflict.message
