"""Names of files and links on a real kernel: whose they are, and what a rollback may not leave."""

from __future__ import annotations

import json

import pytest

from provision.engine import guard
from provision.resources.kinds.lan_bridge import LanBridge
from provision.resources.lib import networkd
from provision.resources.on_hosts import ORIGINALS
from tests.netns.test_kinds import NAME, Namespace, namespace

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

RECORD = {"nic": "up1", "mac": "0a:00:00:00:00:01", "mtu": 1500, "network": ""}


@pytest.mark.parametrize(
    "other", [f"{NAME}-bri.x-nic", f"{NAME}-bri-x-nic", f"{NAME}-bri-x", f"{NAME}-bri-nic-nic"]
)
def test_a_bridge_has_only_its_own_files(namespace: Namespace, other: str) -> None:
    """The files of another bridge or inventory may begin with the same name."""
    stem = f"{networkd.FOLDER}/05-provision-"
    namespace.sh(
        f"mkdir -p {networkd.FOLDER} {ORIGINALS}/{NAME}/uplink\n"
        f"echo '{json.dumps(RECORD)}' >{ORIGINALS}/{NAME}/uplink/bri\n"
        f"echo mine >{stem}{NAME}-bri.network; echo other >{stem}{other}.network"
    )
    bridge, _ = namespace.found(LanBridge)["bri"]
    assert isinstance(bridge, LanBridge)
    assert bridge.files == ((f"{stem}{NAME}-bri.network", "mine\n"),)


@pytest.mark.parametrize(
    "leave",
    [
        "ip link add name left type bridge; ip link set dev left alias provision:demo/left",
        f"mkdir -p {ORIGINALS}/demo/uplink/a; echo x >{ORIGINALS}/demo/uplink/a/b",
        "mkdir -p /etc/provision/demo; echo x >/etc/provision/demo/.hidden",
        "mkdir -p /etc/provision/demo/a/b/c; ln -s /nowhere /etc/provision/demo/a/b/c/d",
    ],
    ids=["bridge without an address", "file deeper than records", "hidden file", "link"],
)
def test_the_fingerprint_sees_what_a_rollback_left(namespace: Namespace, leave: str) -> None:
    """Otherwise the host says `reverted` and is not as before."""
    before = namespace.sh(guard.fingerprint())
    assert namespace.sh(guard.fingerprint()) == before
    namespace.sh(leave)
    assert namespace.sh(guard.fingerprint()) != before
