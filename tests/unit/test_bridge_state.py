"""A bridge of Docker against the kernel, from entries of `ip -j` and of Docker's API.

`lab/test_overlay_checks.py` makes these faults on booted hosts.
"""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import Any

import pytest

from provision.resources.lib.bridge_state import BridgeLinks, BridgeState

BRIDGE, ADDRESS, SUBNET = "br-blue-v242wt", "172.20.0.1/24", IPv4Network("172.20.0.0/24")
UP = ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"]
INFO = {"family": "inet", "local": "172.20.0.1", "prefixlen": 24, "scope": "global"}
ROUTE = {"dst": "172.20.0.0/24", "dev": BRIDGE, "protocol": "2", "prefsrc": "172.20.0.1"}
LINK = {"ifindex": 5, "ifname": BRIDGE, "flags": UP, "addr_info": [INFO]}
VETH = {"ifname": "vetha76e994", "flags": UP, "master": BRIDGE, "link_netnsid": 1, "addr_info": []}
C1 = {
    "Id": "5fa9",
    "Name": "/c1",
    "State": {"Status": "running"},
    "NetworkSettings": {"Networks": {"blue": {"EndpointID": "1f"}}},
}


def without(entry: dict[str, Any], *keys: str, **changes: Any) -> dict[str, Any]:
    """The entry without these keys, and with these changes."""
    return {key: value for key, value in (entry | changes).items() if key not in keys}


@pytest.mark.parametrize(
    ("links", "routes", "lacks", "restarted"),
    [
        ([LINK, VETH], [ROUTE], "", ()),
        ([without(VETH, "master")], [], f"interface {BRIDGE}, port of c1", ()),
        ([LINK], [ROUTE], "port of c1", ("c1",)),
        ([LINK, without(VETH, "master")], [ROUTE], "port of c1", ()),
        ([LINK, without(VETH, flags=["BROADCAST"])], [ROUTE], "port of c1", ()),
        ([LINK, without(VETH, master="br-other")], [ROUTE], "port of c1", ("c1",)),
        ([LINK, without(VETH, link_netnsid=2)], [ROUTE], "port of c1", ("c1",)),
        ([without(LINK, flags=["BROADCAST"]), VETH], [], f"flag UP of {BRIDGE}", ()),
        ([without(LINK, addr_info=[]), VETH], [], f"address {ADDRESS}", ()),
        ([LINK, VETH], [without(ROUTE, dev="eth1")], "route to 172.20.0.0/24", ()),
    ],
)
def test_what_the_kernel_lacks_is_named(
    links: list[Any], routes: list[Any], lacks: str, restarted: tuple[str, ...]
) -> None:
    """A container restarts only if no veth pair of it is left that could be a port."""
    lines = [
        ("addresses", json.dumps(links)),
        ("routes", json.dumps(routes)),
        ("container", json.dumps(C1)),
        ("nsid", "5fa9 1"),
    ]
    kernel = BridgeLinks.parse(lines)
    assert kernel is not None
    assert kernel.bridge(BRIDGE, "blue", ADDRESS, SUBNET) == BridgeState(lacks, restarted)


@pytest.mark.parametrize(
    ("container", "nsid"),
    [
        (without(C1, State={"Status": "exited"}), "5fa9 1"),
        (without(C1, State={"Status": "restarting"}), "5fa9 1"),
        (without(C1, NetworkSettings={"Networks": {"other": {"EndpointID": "1f"}}}), "5fa9 1"),
        (without(C1, NetworkSettings={"Networks": None}), "5fa9 1"),
        (C1, "77 1"),
    ],
)
def test_only_running_containers_of_the_network_count(container: Any, nsid: str) -> None:
    """A container whose namespace the kernel does not tell is not judged."""
    lines = [("addresses", json.dumps([LINK])), ("routes", json.dumps([ROUTE])), ("nsid", nsid)]
    kernel = BridgeLinks.parse([*lines, ("container", json.dumps(container))])
    assert kernel is not None and not kernel.bridge(BRIDGE, "blue", ADDRESS, SUBNET).lacks


def test_of_a_bridge_of_others_only_the_ports_count() -> None:
    """Docker uses a bridge that another resource makes: that compares the bridge itself."""
    kernel = BridgeLinks.parse([("addresses", "[]"), ("routes", "[]")])
    assert kernel is not None and kernel.bridge(BRIDGE, "blue", "", SUBNET) == BridgeState()
    assert BridgeLinks.parse([("container", json.dumps(C1))]) is None
