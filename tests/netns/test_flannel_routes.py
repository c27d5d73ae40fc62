"""The repair of flannel's routes removes those of people, and a rollback puts them back."""

from __future__ import annotations

import pytest

from provision.resources.render import program_text
from provision.resources.script import quoted
from tests.netns.test_kinds import Namespace, namespace

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

PEERS = [f"172.16.{number}.0/24" for number in range(1, 6)]
MADE = [
    "172.16.1.0/24 via 192.0.2.99 dev up0",
    "172.16.2.0/24 via 192.0.2.99 dev up0 proto static",
    "blackhole 172.16.3.0/24",
    "172.16.4.0/24 nexthop via 192.0.2.98 dev up0 weight 1 nexthop via 192.0.2.99 dev up0 weight 1",
]
KEPT = [
    "172.16.1.0/24 via 192.0.2.97 dev up0 metric 50",
    "172.16.5.0/24 via 192.0.2.99 dev up0 proto 186",
]


def test_only_displacing_routes_go_and_come_back(namespace: Namespace) -> None:
    """Routes with a metric take no packets from flanneld's, and those of programs are theirs."""
    for route in (*MADE, *KEPT):
        namespace.sh(f"ip route add {route}")
    before = namespace.sh("ip -4 route show root 172.16.0.0/16")
    file = "/var/lib/provision-flannel/demo/over/removed_routes"
    remove = quoted(["sh", "-c", program_text("host/flannel_routes.sh"), "sh", file, *PEERS])
    namespace.sh(remove)
    left = namespace.sh("ip -4 route show root 172.16.0.0/16").split("\n")
    assert [line.split()[0] for line in left if line] == ["172.16.1.0/24", "172.16.5.0/24"]
    namespace.sh("ip route add 172.16.1.0/24 via 192.0.2.9 dev up0")  # as flanneld does then
    namespace.sh(quoted(["sh", "-c", program_text("host/flannel_routes_back.sh"), "sh", file]))
    assert namespace.sh("ip -4 route show root 172.16.0.0/16") == before
    namespace.sh(f"[ ! -e {file} ]")
