"""Names of files and links on a real kernel: whose they are, and what a rollback may not leave."""

from __future__ import annotations

import json

import pytest

from provision.engine import guard
from provision.facts import gather
from provision.facts.host import HostFacts
from provision.resources.kinds.lan_bridge import LanBridge
from provision.resources.lib import networkd
from provision.resources.on_hosts import ORIGINALS
from provision.transport.base import Output
from tests.netns.test_kinds import HOST, NAME, Namespace, namespace

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

STEM = f"{networkd.FOLDER}/05-provision-{NAME}-bri0"
RECORD = {"nic": "up1", "mac": "0a:00:00:00:00:01", "mtu": 1500, "network": ""}


def snapshot(namespace: Namespace) -> HostFacts:
    """The facts of the namespace."""
    output = Output(0, namespace.sh(gather.script(NAME, (), nonce="n0")), "")
    return gather.parse(HOST, NAME, output, nonce="n0").facts


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
    bridge, _ = namespace.existing(LanBridge)["bri"]
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


@pytest.mark.parametrize(
    "path",
    [
        "/etc/network/interfaces",
        "/etc/network/interfaces.d/eth1",
        "/etc/netplan/01-eth1.yaml",
        "/etc/docker/daemon.json",
        "/etc/ufw/user.rules",
    ],
)
def test_the_fingerprint_sees_mode_and_owner_of_files_that_changes_edit(
    namespace: Namespace, path: str
) -> None:
    """Also of a file that has nothing of ours, as before the change and after its rollback."""
    namespace.sh(f"mkdir -p {path.rpartition('/')[0]}; echo mine >{path}; chmod 640 {path}")
    before = namespace.sh(guard.fingerprint())
    for change, back in ((f"chmod 644 {path}", f"chmod 640 {path}"), (f"chown 1:2 {path}", "")):
        namespace.sh(change)
        assert namespace.sh(guard.fingerprint()) != before, change
        if back:
            namespace.sh(back)
            assert namespace.sh(guard.fingerprint()) == before


def test_the_fingerprint_is_without_the_mark_of_a_bridge_of_docker(namespace: Namespace) -> None:
    """`apply` sets it on a bridge that somebody deleted; a reboot makes the bridge without it."""
    namespace.sh("ip link add br-blue-abcdef type bridge")
    before = namespace.sh(guard.fingerprint())
    namespace.sh("ip link set dev br-blue-abcdef alias provision:demo/blue")
    assert namespace.sh(guard.fingerprint()) == before


@pytest.mark.parametrize(
    ("make", "name"),
    [
        ("ip link add vx-blue-abcdef type veth peer name y", "vx-blue-abcdef"),
        ("ip link add br-blue-abcdef type bridge", "br-blue-abcdef"),
        ("ip link add x0 type veth peer name x1; ip link property add dev x1 altname pw", "pw"),
        (f"mkdir -p {networkd.FOLDER}; echo '# other' >{STEM}.network", f"{STEM}.network"),
        (f"mkdir -p {networkd.FOLDER}; ln -s /etc/passwd {STEM}.netdev", f"{STEM}.netdev"),
        (f"mkdir -p {networkd.FOLDER}; echo '# provision:a-b' >{STEM}.network", f"{STEM}.network"),
    ],
    ids=["veth", "bridge", "altname", "file", "link", "file of another inventory"],
)
def test_a_snapshot_shows_what_others_have(namespace: Namespace, make: str, name: str) -> None:
    """A veth, a bridge, an alternative name, files without our mark."""
    assert not snapshot(namespace).has_name(name)
    namespace.sh(make)
    assert snapshot(namespace).has_name(name)


def test_our_own_files_are_no_foreign_ones(namespace: Namespace) -> None:
    """Their first line is the inventory's mark."""
    namespace.sh(f"mkdir -p {networkd.FOLDER}; echo '# provision:{NAME}' >{STEM}.network")
    assert not snapshot(namespace).has_name(f"{STEM}.network")


@pytest.mark.parametrize("folder", ["/etc/provision", f"{ORIGINALS}/{NAME}"])
def test_a_snapshot_shows_what_is_in_place_of_a_folder(namespace: Namespace, folder: str) -> None:
    """A link, also one that leads nowhere."""
    assert not snapshot(namespace).blocked_folders
    namespace.sh(f"mkdir -p {folder.rpartition('/')[0]}; ln -s /nowhere {folder}")
    assert snapshot(namespace).blocked_folders == {folder}
