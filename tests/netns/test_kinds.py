"""Volatile kinds against this machine's kernel, in network and mount namespaces of their own."""

from __future__ import annotations

import os
import secrets
import subprocess
import uuid
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from provision.facts import gather
from provision.resources import script
from provision.resources.base import ABSENT, Origin, Resource
from provision.resources.kinds.file import File
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.kinds.route import Route
from provision.resources.kinds.sysctl import Sysctl
from provision.resources.kinds.vxlan import ANY, Forward, Vxlan
from provision.resources.on_hosts import Mark
from provision.resources.script import PRELUDE
from provision.resources.steps import Steps
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
    """A machine of its own: nothing that happens in it is seen outside."""

    def __init__(self, pid: int) -> None:
        self.transport = Local({HOST: ("nsenter", "-t", str(pid), "-n", "-m")})

    def sh(self, text: str) -> str:
        output = self.transport.run(HOST, PRELUDE + text, timeout_s=30)
        assert output.status == 0, output.stderr
        return output.stdout

    def do(self, *steps: Steps) -> None:
        nonce = secrets.token_hex(4)
        text = script.render(steps, nonce=nonce, lock="/run/provision-demo.lock", last=True)
        output = self.transport.run(HOST, text, timeout_s=30)
        outcomes = script.read(output.stdout, nonce=nonce, count=len(steps))
        assert all(one is not None and one.status == 0 for one in outcomes), outcomes

    def found(
        self, kind: type[Resource], inventory: str = NAME
    ) -> dict[str, tuple[Resource, bool]]:
        text = self.sh(gather.script(inventory, (), nonce="n0"))
        text = gather.sections(HOST, Output(0, text, ""), nonce="n0")[kind.kind]
        assert text.strip() != ABSENT
        seen = kind.parse(text.strip(), Origin(HOST, inventory))
        return {one.resource.name: (one.resource, one.ours) for one in seen}


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    if os.geteuid() != 0:
        pytest.fail("the tests in network namespaces need root: run scripts/test")
    upper = Path("/dev/shm") / f"provision-test-{uuid.uuid4().hex[:8]}"  # overlays need a real disk
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


def route(dst: str = "172.20.2.0/24", via: str = "192.0.2.9") -> Route:
    return Route(HOST, IPv4Network(dst), IPv4Address(via), "up0", NAME)


def chain(*sources: str) -> IptablesChain:
    comment = ("-m", "comment", "--comment", MARK.tag)
    rules = tuple(("-s", source, "-i", "up0", *comment, "-j", "ACCEPT") for source in sources)
    return IptablesChain(HOST, "filter", "PROV-demo-blue-x", "DOCKER-USER", rules, MARK)


def vxlan(*forwards: Forward, learning: bool = True) -> Vxlan:
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
    "route": route(),
    "chain": chain("172.20.0.0/16", "172.21.0.0/16"),
    "vxlan": vxlan(Forward(ANY, IPv4Address("192.0.2.8")), Forward(ANY, IPv4Address("192.0.2.9"))),
    "file": File(HOST, "/etc/provision/demo/a", "it's $HOME\n\t\\x\n", "0755"),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_is_created_is_found_equal_and_deleted_without_a_trace(
    namespace: Namespace, example: str
) -> None:
    """parse(probe(create(r))) == r; creating twice is harmless; delete restores the capture."""
    resource = EXAMPLES[example]
    before = namespace.sh(CAPTURE)
    namespace.do(resource.create())
    assert namespace.found(type(resource))[resource.name] == (resource, True)
    once = namespace.sh(CAPTURE)
    namespace.do(resource.create())
    assert namespace.sh(CAPTURE) == once != before
    namespace.do(resource.delete())
    assert namespace.sh(CAPTURE) == before


def test_another_inventory_does_not_own_them(namespace: Namespace) -> None:
    """What demo has made is foreign to second."""
    namespace.do(*(EXAMPLES[name].create() for name in ("route", "chain")))
    for name in ("route", "chain"):
        resource = EXAMPLES[name]
        _, ours = namespace.found(type(resource), "second")[resource.name]
        assert not ours


def test_a_lost_route_is_found_as_ours_and_comes_back(namespace: Namespace) -> None:
    """Its claim remembers it."""
    namespace.do(route().create())
    namespace.sh("ip route del 172.20.2.0/24")
    lost, ours = namespace.found(Route)["172.20.2.0/24"]
    assert ours and lost != route()
    namespace.do(route().update(lost) or ())
    assert namespace.found(Route)["172.20.2.0/24"] == (route(), True)


def test_a_route_of_others_is_not_ours_and_stays(namespace: Namespace) -> None:
    """Same table, same number, no claim."""
    namespace.sh("ip route add 172.30.0.0/16 via 192.0.2.8 proto 240")
    namespace.do(route().create())
    assert namespace.found(Route)["172.30.0.0/16"][1] is False
    namespace.do(route().delete())
    assert "172.30.0.0/16 via 192.0.2.8" in namespace.sh("ip route")


@pytest.mark.parametrize(
    "damage",
    [
        "iptables -D PROV-demo-blue-x 1",
        "iptables -F PROV-demo-blue-x",
        "iptables -D DOCKER-USER 1",
        "iptables -A PROV-demo-blue-x -s 10.0.0.0/8 -j DROP",
    ],
)
def test_a_damaged_chain_is_refilled(namespace: Namespace, damage: str) -> None:
    """Rules and hook as they were, Docker's RETURN still behind the hook."""
    wanted = chain("172.20.0.0/16", "172.21.0.0/16")
    namespace.do(wanted.create())
    whole = namespace.sh("iptables -S")
    namespace.sh(damage)
    found, ours = namespace.found(IptablesChain)[wanted.name]
    assert ours and found != wanted
    namespace.do(wanted.update(found) or ())
    assert namespace.sh("iptables -S") == whole


def test_a_chain_that_lost_its_hook_is_deleted_all_the_same(namespace: Namespace) -> None:
    """An interrupted destroy is simply run again."""
    before = namespace.sh("iptables -S")
    wanted = chain("172.20.0.0/16")
    namespace.do(wanted.create())
    namespace.sh("iptables -D DOCKER-USER 1")
    namespace.do(wanted.delete())
    assert namespace.sh("iptables -S") == before


@pytest.mark.parametrize("leaving", [(NAME, "second"), ("second", NAME)])
def test_a_sysctl_is_put_back_by_its_last_user(
    namespace: Namespace, leaving: tuple[str, str]
) -> None:
    """Two inventories ask for forwarding; it goes when both are gone, whichever goes first."""
    namespace.sh("sysctl -qw net.ipv4.ip_forward=0")
    key = "net.ipv4.ip_forward"
    for name in (NAME, "second"):
        wanted = Sysctl(HOST, key, "1", name)
        found, ours = namespace.found(Sysctl, name)[key]
        # The second finds the value that it wants; what it plans is to be on record, too.
        assert found != wanted and not ours
        namespace.do(wanted.update(found))
        assert namespace.found(Sysctl, name)[key] == (wanted, True)
    for name, left in zip(leaving, ("1", "0"), strict=True):
        mine, _ = namespace.found(Sysctl, name)[key]
        namespace.do(mine.delete())
        assert namespace.sh("sysctl -n net.ipv4.ip_forward").strip() == left
    assert namespace.sh("ls /var/lib/provision/was 2>/dev/null; :") == ""


def test_the_kept_script_restores_everything_and_can_be_repeated(namespace: Namespace) -> None:
    """What the follower runs: complete, repeatable, and it goes on after a failure."""
    wanted = (chain("172.20.0.0/16"), route(), route("172.20.3.0/24"))
    text = script.standalone([resource.create() for resource in wanted])
    namespace.transport.run(HOST, text, timeout_s=30)
    once = namespace.sh(CAPTURE)
    assert namespace.transport.run(HOST, text, timeout_s=30).status == 0
    assert namespace.sh(CAPTURE) == once
    namespace.sh("ip link set dev up0 down; iptables -F DOCKER-USER; ip link set dev up0 up")
    assert namespace.transport.run(HOST, text, timeout_s=30).status == 0
    assert namespace.found(Route)["172.20.3.0/24"] == (route("172.20.3.0/24"), True)
    assert namespace.found(IptablesChain)[wanted[0].name] == (wanted[0], True)
    namespace.sh("ip link set dev up0 down")
    assert namespace.transport.run(HOST, text, timeout_s=30).status == 1


def test_a_forwarding_table_is_changed_in_place(namespace: Namespace) -> None:
    """Peers come and go without the device; a MAC's place and its neighbour go together."""
    peer, mac = IPv4Address("192.0.2.8"), "0a:00:00:00:00:08"
    before = vxlan(Forward(ANY, peer), Forward(ANY, IPv4Address("192.0.2.9")))
    after = vxlan(Forward(ANY, peer), Forward(mac, peer, IPv4Address("172.20.1.0")))
    namespace.do(before.create())
    index = namespace.sh("cat /sys/class/net/vx-blue-x/ifindex")
    for found, wanted in ((before, after), (after, before)):
        steps = wanted.update(found)
        assert steps is not None
        namespace.do(steps)
        assert namespace.found(Vxlan)[wanted.name] == (wanted, True)
    assert namespace.sh("cat /sys/class/net/vx-blue-x/ifindex") == index
    assert vxlan(learning=False).update(before) is None
