"""Ports of Linux bridges that somebody has told to stop frames, against this machine's kernel."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest

from provision.engine.plan import operations, plan
from provision.engine.undo import inverse
from provision.resources.base import Resource, state
from provision.resources.kinds.lan_bridge import LanBridge
from provision.resources.kinds.vxlan import Vxlan
from provision.resources.lib import bridge_port
from provision.resources.on_hosts import ORIGINALS
from tests.netns.test_kinds import NAME, Namespace, namespace, vxlan

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

PORT = "ip -d -j link show dev {}"
BRIDGE = "ip link add br0 type bridge; ip link set br0 up"
SETTINGS = {
    "flood off": "flood off",
    "bcast_flood off isolated on": "bcast_flood off, isolated on",
    "state 0": "state 0",
    "locked on": "locked on",
}
RECORD = {"nic": "up1", "mac": "0a:00:00:00:00:01", "mtu": 1500, "network": ""}


def healed(namespace: Namespace, damaged: Resource, wanted: Resource, device: str) -> None:
    """An update heals the port, a rollback makes it mute again."""
    (port,) = json.loads(namespace.sh(PORT.format(device)))
    before = bridge_port.mute(port)
    todo = plan(state([damaged]), state([wanted]))
    (change,) = todo.changes
    assert change.verb == "update"
    (heal,) = operations(todo, txn="0a")
    for steps, expected in ((heal.steps, ""), (inverse(heal, txn="0a"), before), (heal.steps, "")):
        namespace.do(steps)
        (port,) = json.loads(namespace.sh(PORT.format(device)))
        assert bridge_port.mute(port) == expected


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_vxlan_device_that_is_mute_is_healed(namespace: Namespace, settings: str) -> None:
    """All else about the device is as it was made."""
    wanted = replace(vxlan(), master="br0", address=None)
    namespace.sh(BRIDGE)
    namespace.do(wanted.create())
    assert namespace.existing(Vxlan)[wanted.name] == (wanted, True)
    namespace.sh(f"bridge link set dev {wanted.device} {settings}")
    damaged, ours = namespace.existing(Vxlan)[wanted.name]
    assert ours and damaged == replace(wanted, mute=SETTINGS[settings])
    healed(namespace, damaged, wanted, wanted.device)
    assert namespace.existing(Vxlan)[wanted.name] == (wanted, True)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_nic_that_is_mute_is_healed_where_it_is(namespace: Namespace, settings: str) -> None:
    """The host's addresses do not move for it; a port without a carrier is not mute."""
    namespace.sh(
        f"{BRIDGE}; ip link set up1 master br0 up; mkdir -p {ORIGINALS}/{NAME}/uplink\n"
        f"echo {shlex.quote(json.dumps(RECORD))} >{ORIGINALS}/{NAME}/uplink/br0"
    )
    wanted, ours = namespace.existing(LanBridge)["br0"]
    assert ours and isinstance(wanted, LanBridge) and wanted.mute == ()
    namespace.sh(f"bridge link set dev up1 {settings}")
    damaged, _ = namespace.existing(LanBridge)["br0"]
    assert damaged == replace(wanted, mute=(("up1", SETTINGS[settings]),))
    healed(namespace, damaged, wanted, "up1")
    namespace.sh("ip link set up0 down")
    assert namespace.existing(LanBridge)["br0"][0] == wanted


@pytest.mark.parametrize("stp", [0, 1])
def test_ports_of_a_bridge_that_is_down_are_not_mute(namespace: Namespace, stp: int) -> None:
    """The kernel has disabled them, and enables them with the bridge: nothing is to be healed."""
    of_vxlan = replace(vxlan(), master="br0", address=None)
    namespace.sh(
        f"ip link add br0 type bridge stp_state {stp}; ip link set br0 up\n"
        f"ip link set up1 master br0 up; mkdir -p {ORIGINALS}/{NAME}/uplink\n"
        f"echo {shlex.quote(json.dumps(RECORD))} >{ORIGINALS}/{NAME}/uplink/br0"
    )
    namespace.do(of_vxlan.create())
    namespace.sh("ip link set br0 down")
    assert '"disabled"' in namespace.sh(PORT.format("up1"))
    bridge, _ = namespace.existing(LanBridge)["br0"]
    assert isinstance(bridge, LanBridge) and bridge.mute == ()
    assert namespace.existing(Vxlan)[of_vxlan.name] == (of_vxlan, True)
