"""Volatile kinds on this machine's kernel, in separate network and mount namespaces."""

from __future__ import annotations

import os
import secrets
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from provision.engine.plan import operations, plan
from provision.engine.undo import inverse
from provision.facts import gather
from provision.resources import script
from provision.resources.base import ABSENT, Origin, Resource, state
from provision.resources.kinds.dns_records import DnsRecords, DnsRow
from provision.resources.kinds.file import File
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.kinds.routes import Routes, row
from provision.resources.kinds.sysctl import Sysctl
from provision.resources.kinds.vxlan import Vxlan
from provision.resources.lib.route_claims import FOREIGN
from provision.resources.lib.vxlan_forwards import ANY, Forward
from provision.resources.on_hosts import Mark
from provision.resources.rows import row_changes
from provision.resources.script import PRELUDE
from provision.resources.steps import Put, Steps
from provision.transport.base import Output
from provision.transport.local import Local

pytestmark = pytest.mark.netns

HOST, NAME = "here", "demo"
MARK = Mark("demo", "blue")
SETUP = """
set -e
mount --make-rprivate /
for folder in /etc /var/lib /run; do
  mkdir -p "$1$folder/upper" "$1$folder/work"
  above="upperdir=$1$folder/upper,workdir=$1$folder/work"
  mount -t overlay overlay -o "lowerdir=$folder,$above" "$folder"
done
mount -t sysfs none /sys
ip link set dev lo up
ip link add name up0 type veth peer name up1
ip link set dev up0 up; ip link set dev up1 up
ip address add 192.0.2.1/24 dev up0
iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER; iptables -A DOCKER-USER -j RETURN
sleep 600 & echo $!
"""
CAPTURE = """
ip -br link | sed 's/@.*//'
ip -N route; iptables-save | grep -v '^#' | sed 's/\\[.*\\]//'; sysctl net.ipv4.ip_forward
find /etc/provision /var/lib/provision /run/provision-demo* 2>/dev/null; :
"""


class Namespace:
    """A network and mount namespace, whose changes do not affect this machine."""

    def __init__(self, pid: int) -> None:
        self.transport = Local({HOST: ("nsenter", "-t", str(pid), "-n", "-m")})

    def sh(self, text: str) -> str:
        """Run a script, which must succeed; its stdout."""
        output = self.transport.run(HOST, PRELUDE + text, timeout_s=30)
        assert output.status == 0, output.stderr
        return output.stdout

    def do(self, *steps: Steps) -> None:
        """Run operations in one script; all must succeed."""
        nonce = secrets.token_hex(4)
        text = script.render(steps, nonce=nonce, lock="/run/provision-demo.lock", last=True)
        output = self.transport.run(HOST, text, timeout_s=30)
        outcomes = script.read(output.stdout, nonce=nonce, count=len(steps))
        assert all(result is not None and result.status == 0 for result in outcomes), outcomes

    def existing(
        self, kind: type[Resource], inventory: str = NAME, *, origin: Origin | None = None
    ) -> dict[str, tuple[Resource, bool]]:
        """The existing resources of a kind by name, each with True if it has our mark."""
        text = self.sh(gather.script(inventory, (), nonce="n0"))
        text = gather.sections(HOST, Output(0, text, ""), nonce="n0")[kind.kind]
        assert text.strip() != ABSENT
        entries = kind.parse(text.strip(), origin or Origin(HOST, inventory))
        return {entry.resource.name: (entry.resource, entry.ours) for entry in entries}


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A new namespace with a veth, and with Docker's chains in its firewall."""
    if os.geteuid() != 0:
        pytest.fail("the tests in network namespaces need root: run scripts/test")
    upper = (
        Path("/dev/shm") / f"provision-test-{uuid.uuid4().hex[:8]}"
    )  # an overlay cannot be its own upper layer
    upper.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(upper)], check=True)
    process = subprocess.Popen(
        ["unshare", "-n", "-m", "sh", "-c", SETUP, "sh", str(upper)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        yield Namespace(pid)
        subprocess.run(["kill", str(pid)], check=True)
    finally:
        process.wait(timeout=20)
        subprocess.run(["umount", "-l", str(upper)], check=True)
        upper.rmdir()


def routes(*destinations: str, via: str = "192.0.2.9") -> Routes:
    """The routes of the inventory to these destinations, or to one."""
    rows = [row(dst, via, "up0") for dst in destinations or ("172.20.2.0/24",)]
    return Routes.of(HOST, "blue", NAME, rows)


def chain(*sources: str) -> IptablesChain:
    """A chain of the inventory that accepts packets from these ranges."""
    comment = ("-m", "comment", "--comment", MARK.tag)
    rules = tuple(("-s", source, "-i", "up0", *comment, "-j", "ACCEPT") for source in sources)
    return IptablesChain(HOST, "filter", "PROV-demo-blue-x", "DOCKER-USER", rules, MARK)


def vxlan(*forwards: Forward, learning: bool = True) -> Vxlan:
    """A VXLAN device of the inventory with these FDB entries."""
    return Vxlan(
        host=HOST,
        device="vx-blue-x",
        vni=42,
        port=4789,
        local=IPv4Address("192.0.2.1"),
        mac="0a:00:00:00:00:01",
        mtu=1450,
        learning=learning,
        master="",
        address=IPv4Interface("172.20.0.0/32"),
        forwards=forwards,
        mark=MARK,
    )


EXAMPLES: dict[str, Resource] = {
    "routes": routes("172.20.2.0/24", "172.20.3.0/24", "172.20.4.7/32"),
    "chain": chain("172.20.0.0/16", "172.21.0.0/16"),
    "vxlan": vxlan(Forward(ANY, IPv4Address("192.0.2.8")), Forward(ANY, IPv4Address("192.0.2.9"))),
    "file": File(HOST, "/etc/provision/demo/a", "it's $HOME\n\t\\x\n", "0755"),
    "dns_records": DnsRecords(
        HOST,
        "blue",
        NAME,
        (DnsRow.of(IPv4Address("172.20.0.9"), ("web.blue", "web", "www.example.org")),),
        service="provision-demo-blue-dns.service",
    ),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_created_resource_is_parsed_as_equal_and_deleted_completely(
    namespace: Namespace, example: str
) -> None:
    """parse(probe(create(r))) == r, a second create changes nothing, delete restores the state."""
    resource = EXAMPLES[example]
    before = namespace.sh(CAPTURE)
    namespace.do(resource.create())
    assert namespace.existing(type(resource))[resource.name] == (resource, True)
    created = namespace.sh(CAPTURE)
    namespace.do(resource.create())
    assert namespace.sh(CAPTURE) == created != before
    namespace.do(resource.delete())
    assert namespace.sh(CAPTURE) == before


def test_resources_of_another_inventory_are_foreign(namespace: Namespace) -> None:
    """The inventory `second` does not own those of `demo`."""
    namespace.do(*(EXAMPLES[name].create() for name in ("routes", "chain")))
    chains = namespace.existing(IptablesChain, "second")
    assert chains[EXAMPLES["chain"].name][1] is False
    assert [ours for _, ours in namespace.existing(Routes, "second").values()] == [False]


WATCH = """
ip -4 -N monitor route >/run/watched & pid=$!
meet() { # until the monitor has seen a change from now on
  until grep -q "$1" /run/watched; do
    ip route replace "$1" dev up0; ip route del "$1"; sleep 0.05
  done
}
meet 198.51.100.1; sh /run/steps; status=$?
meet 198.51.100.2; kill "$pid"; exit "$status"
"""


def watched(namespace: Namespace, steps: Steps) -> list[str]:
    """The changes of routes that the kernel reports while steps run, which must succeed."""
    namespace.do((Put("/run/steps", script.standalone([steps])),))
    namespace.sh(WATCH)
    lines = namespace.sh("cat /run/watched").splitlines()
    return [line.strip() for line in lines if "198.51.100." not in line]


def test_a_deleted_route_is_still_ours_and_only_it_is_restored(namespace: Namespace) -> None:
    """Its claim on the host says so; nobody who watches the table is told of another route."""
    table = routes("172.20.2.0/24", "172.20.3.0/24", "172.20.5.0/24")
    namespace.do(table.create())
    namespace.sh("ip route del 172.20.3.0/24")
    lost, ours = namespace.existing(Routes)["blue"]
    assert ours
    (change,) = row_changes(lost, table)
    assert str(change) == "172.20.3.0/24 lost → via 192.0.2.9 dev up0"
    restored = watched(namespace, table.update(lost))
    assert restored == ["172.20.3.0/24 via 192.0.2.9 dev up0 proto 240"]
    assert namespace.existing(Routes)["blue"] == (table, True)


def test_a_route_without_a_claim_is_foreign_and_stays(namespace: Namespace) -> None:
    """Even in the same table and with our protocol number."""
    namespace.sh("ip route add 172.30.0.0/16 via 192.0.2.8 proto 240")
    namespace.do(routes().create())
    others, ours = namespace.existing(Routes)[FOREIGN]
    assert isinstance(others, Routes) and not ours
    assert "172.30.0.0/16" in {row.key for row in others.rows}
    namespace.do(routes().delete())
    assert "172.30.0.0/16 via 192.0.2.8" in namespace.sh("ip route")


def test_a_route_of_others_is_left_and_the_rest_of_the_table_is_made(namespace: Namespace) -> None:
    """The follower does not take it; apply refuses the table, and removal leaves the route."""
    table = routes("172.20.2.0/24", "172.20.3.0/24")
    namespace.sh("ip route add 172.20.2.0/24 via 192.0.2.8")
    namespace.do(table.create())
    assert "172.20.2.0/24 via 192.0.2.8" in (made := namespace.sh("ip route"))
    assert "172.20.3.0/24 via 192.0.2.9" in made
    namespace.do(table.delete())
    assert "172.20.2.0/24 via 192.0.2.8" in (left := namespace.sh("ip route"))
    assert "172.20.3.0/24" not in left


def test_a_route_that_the_kernel_refuses_is_named_and_the_others_are_made(
    namespace: Namespace,
) -> None:
    """The exit status tells the follower to try again."""
    table = Routes.of(
        HOST, "blue", NAME,
        [row("172.20.2.0/24", "198.51.100.9", "up0"), row("172.20.3.0/24", "192.0.2.9", "up0")],
    )  # fmt: skip
    output = namespace.transport.run(HOST, script.standalone([table.create()]), timeout_s=30)
    assert output.status == 1
    assert "cannot make the route 172.20.2.0/24 via 198.51.100.9 dev up0" in output.stderr
    assert "172.20.3.0/24 via 192.0.2.9" in namespace.sh("ip route")


OLD_HOST = """
mkdir -p /etc/provision/demo/routes
for dst in 172.20.2.0/24 172.20.3.0/24; do
  echo "$dst via 192.0.2.9 dev up0" >/etc/provision/demo/routes/${dst%/*}_${dst#*/}
  ip route add $dst via 192.0.2.9 dev up0 proto 240
done
"""
"""What version 0.1.0 has made of the same routes: a claim for each."""


def test_claims_of_version_0_1_0_become_one_and_no_route_is_touched(namespace: Namespace) -> None:
    """The rollback writes the old claims again; a destroy of such a host is complete."""
    before = namespace.sh(CAPTURE)
    namespace.sh(OLD_HOST)
    old = namespace.sh(CAPTURE)
    table = routes("172.20.2.0/24", "172.20.3.0/24")
    origin = Origin(HOST, NAME, (("blue", IPv4Network("172.20.0.0/16")),))
    found, ours = namespace.existing(Routes, origin=origin)["blue"]
    assert isinstance(found, Routes) and ours and found.old_claims == 2
    todo = plan(state([found]), state([table]))
    (change,) = todo.changes
    assert (change.verb, row_changes(found, table)) == ("update", [])
    (take_over,) = operations(todo, txn="0a")
    assert watched(namespace, take_over.steps) == []
    assert namespace.existing(Routes)["blue"] == (table, True)
    assert "/etc/provision/demo/routes/172" not in namespace.sh(CAPTURE)
    namespace.do(inverse(take_over, txn="0a"))
    assert sorted(namespace.sh(CAPTURE).splitlines()) == sorted(old.splitlines())
    found, _ = namespace.existing(Routes, origin=origin)["blue"]
    namespace.do(*(operation.steps for operation in operations(plan(state([found]), {}))))
    assert namespace.sh(CAPTURE) == before


@pytest.mark.parametrize(
    "damage",
    [
        "iptables -D PROV-demo-blue-x 1",
        "iptables -F PROV-demo-blue-x",
        "iptables -D DOCKER-USER 1",
        "iptables -A PROV-demo-blue-x -s 10.0.0.0/8 -j DROP",
    ],
)
def test_a_damaged_chain_is_restored(namespace: Namespace, damage: str) -> None:
    """Its rules and its jump are as before, and Docker's RETURN is still behind the jump."""
    target = chain("172.20.0.0/16", "172.21.0.0/16")
    namespace.do(target.create())
    complete = namespace.sh("iptables -S")
    namespace.sh(damage)
    damaged, ours = namespace.existing(IptablesChain)[target.name]
    assert ours and damaged != target
    namespace.do(target.update(damaged) or ())
    assert namespace.sh("iptables -S") == complete


def test_a_chain_without_its_jump_is_deleted(namespace: Namespace) -> None:
    """An interrupted destroy can be repeated."""
    before = namespace.sh("iptables -S")
    unused = chain("172.20.0.0/16")
    namespace.do(unused.create())
    namespace.sh("iptables -D DOCKER-USER 1")
    namespace.do(unused.delete())
    assert namespace.sh("iptables -S") == before


@pytest.mark.parametrize("order", [(NAME, "second"), ("second", NAME)])
def test_the_last_inventory_restores_a_sysctl(namespace: Namespace, order: tuple[str, str]) -> None:
    """Two inventories enable forwarding, and the second destroy disables it, in any order."""
    namespace.sh("sysctl -qw net.ipv4.ip_forward=0")
    key = "net.ipv4.ip_forward"
    for name in (NAME, "second"):
        target = Sysctl(HOST, key, "1", name)
        current, ours = namespace.existing(Sysctl, name)[key]
        # For the second inventory, the value is right already, but its record is missing.
        assert current != target and not ours
        namespace.do(target.update(current))
        assert namespace.existing(Sysctl, name)[key] == (target, True)
    for name, value in zip(order, ("1", "0"), strict=True):
        current, _ = namespace.existing(Sysctl, name)[key]
        namespace.do(current.delete())
        assert namespace.sh("sysctl -n net.ipv4.ip_forward").strip() == value
    assert namespace.sh("ls /var/lib/provision/was 2>/dev/null; :") == ""


@pytest.mark.parametrize("repairer", [NAME, "second"])
def test_a_setting_that_a_person_changed_is_no_original_value(
    namespace: Namespace, repairer: str
) -> None:
    """The inventory found the value as it wanted it; destroying it after a repair leaves that."""
    key = "net.ipv4.ip_forward"
    namespace.sh("sysctl -qw net.ipv4.ip_forward=1")
    target = Sysctl(HOST, key, "1", NAME)
    assert namespace.existing(Sysctl)[key][0] == target  # nothing to do, and so no record
    text = script.standalone([target.create()])
    namespace.do((Put("/etc/provision/demo/volatile.sh", text, 0o755),))
    namespace.sh("sysctl -qw net.ipv4.ip_forward=0")
    current, _ = namespace.existing(Sysctl, repairer)[key]
    namespace.do(Sysctl(HOST, key, "1", repairer).update(current))
    repaired, ours = namespace.existing(Sysctl, repairer)[key]
    assert ours
    namespace.do(repaired.delete())
    assert namespace.sh("sysctl -n net.ipv4.ip_forward").strip() == "1"


def test_the_followers_script_restores_everything_and_can_be_repeated(
    namespace: Namespace,
) -> None:
    """After a failed step it goes on, and exits with 1."""
    targets = (chain("172.20.0.0/16"), routes("172.20.2.0/24", "172.20.3.0/24"))
    text = script.standalone([resource.create() for resource in targets])
    namespace.transport.run(HOST, text, timeout_s=30)
    created = namespace.sh(CAPTURE)
    assert namespace.transport.run(HOST, text, timeout_s=30).status == 0
    assert namespace.sh(CAPTURE) == created
    namespace.sh("ip link set dev up0 down; iptables -F DOCKER-USER; ip link set dev up0 up")
    assert namespace.transport.run(HOST, text, timeout_s=30).status == 0
    assert namespace.existing(Routes)["blue"] == (targets[1], True)
    assert namespace.existing(IptablesChain)[targets[0].name] == (targets[0], True)
    namespace.sh("ip link set dev up0 down")
    assert namespace.transport.run(HOST, text, timeout_s=30).status == 1


def test_the_fdb_of_a_vxlan_is_changed_in_place(namespace: Namespace) -> None:
    """The device stays while entries change; the entry of a MAC and its neighbour go together."""
    peer, mac = IPv4Address("192.0.2.8"), "0a:00:00:00:00:08"
    before = vxlan(Forward(ANY, peer), Forward(ANY, IPv4Address("192.0.2.9")))
    after = vxlan(Forward(ANY, peer), Forward(mac, peer, IPv4Address("172.20.1.0")))
    namespace.do(before.create())
    index = namespace.sh("cat /sys/class/net/vx-blue-x/ifindex")
    for current, target in ((before, after), (after, before)):
        steps = target.update(current)
        assert steps is not None
        namespace.do(steps)
        assert namespace.existing(Vxlan)[target.name] == (target, True)
    assert namespace.sh("cat /sys/class/net/vx-blue-x/ifindex") == index
    assert vxlan(learning=False).update(before) is None


def test_entries_of_frr_stay_when_the_port_is_set_again(namespace: Namespace) -> None:
    """They are no part of the resource; a port that has left its bridge has lost its settings."""
    device = replace(
        vxlan(learning=False), static=False, master="br-blue-x", address=None, docker_network="blue"
    )
    namespace.sh("ip link add br-blue-x type bridge && ip link set br-blue-x up")
    namespace.do(device.create())
    flood = "bridge fdb append 00:00:00:00:00:00 dev vx-blue-x dst 192.0.2.9 self permanent"
    namespace.sh(flood)
    assert namespace.existing(Vxlan)[device.name] == (device, True)
    leave = "ip link set vx-blue-x nomaster && ip link set vx-blue-x master br-blue-x"
    namespace.sh(leave)
    damaged, _ = namespace.existing(Vxlan)[device.name]
    assert isinstance(damaged, Vxlan) and damaged.static and damaged != device
    steps = device.update(damaged)
    assert steps is not None
    namespace.do(steps)
    assert namespace.existing(Vxlan)[device.name] == (device, True)
    assert "dst 192.0.2.9" in namespace.sh("bridge fdb show dev vx-blue-x")
    namespace.do(device.delete())
    assert "vx-blue-x" not in namespace.sh("ip link")
