"""Routes of an inventory whose NIC another inventory has made the port of a bridge."""

from __future__ import annotations

import pytest

from provision.resources.kinds.routes import Routes
from tests.netns.test_kinds import Namespace, namespace, routes

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

# The end of a move: the address is on the bridge, and a network manager has dropped the routes.
MOVE = """
ip link add name bri0 type bridge; ip link set bri0 up
ip address add 192.0.2.1/24 dev bri0; ip address delete 192.0.2.1/24 dev up0
ip link set up0 master bri0
ip route flush proto 240
"""
BACK = """
ip address add 192.0.2.1/24 dev up0; ip link delete bri0
ip route flush proto 240
"""
SHOW = "ip -4 route show proto 240"


def restore(namespace: Namespace) -> None:
    """Run the step of the follower."""
    table = routes("172.20.2.0/24", "172.20.3.0/24")
    namespace.do(table.create()[1:])


def test_the_follower_makes_routes_where_the_address_is(namespace: Namespace) -> None:
    """On the bridge while it has the address of the NIC that the claim names, and back."""
    table = routes("172.20.2.0/24", "172.20.3.0/24")
    namespace.do(table.create())
    assert namespace.sh("ip -4 -o address show dev up0").split()[3] == "192.0.2.1/24"
    for script, device in ((MOVE, "bri0"), (BACK, "up0"), (MOVE, "bri0")):
        namespace.sh(script)
        assert namespace.sh(SHOW) == ""
        restore(namespace)
        lines = namespace.sh(SHOW).splitlines()
        assert len(lines) == 2 and all(f"via 192.0.2.9 dev {device}" in line for line in lines)
        restore(namespace)  # changes nothing
        assert namespace.sh(SHOW).splitlines() == lines
    found, ours = namespace.existing(Routes)["blue"]
    assert ours and found.links() == ("bri0",)
    namespace.do(table.delete())
    assert namespace.sh(SHOW) == ""


def test_a_range_of_two_interfaces_changes_no_route(namespace: Namespace) -> None:
    """The interface that the claim names has the range, too; a smaller range elsewhere as well."""
    table = routes("172.20.2.0/24")
    namespace.sh("ip link add name bri0 type bridge; ip link set bri0 up")
    namespace.sh("ip address add 192.0.2.8/29 dev bri0")
    namespace.do(table.create())
    restore(namespace)
    assert "dev up0" in namespace.sh(SHOW) and "bri0" not in namespace.sh(SHOW)
