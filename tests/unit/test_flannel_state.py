"""What flanneld makes of the leases, from lines of `ip` and `bridge` and keys of etcd.

`lab/test_flannel_faults.py` makes these faults on booted hosts.
"""

from __future__ import annotations

import json

import pytest

from provision.resources.base import Origin
from provision.resources.kinds.flannel import Flannel
from provision.resources.lib.flannel_state import FlannelLinks, FlannelState

OWN, PEER = "56:9f:fe:64:58:7d", "a6:4f:59:e1:9c:d5"
SUBNETS = "/coreos.com/network/subnets"
DEVICE = '[{"ifname":"flannel.1","flags":["BROADCAST","UP"],"address":"%s","addr_info":[%s]}]'
ADDRESS = '{"family":"inet","local":"172.16.0.0","prefixlen":32}'
ROUTE = '[{"dst":"172.16.1.0/24","gateway":"172.16.1.0","dev":"flannel.1","flags":["onlink"]}]'
DIRECT = '[{"dst":"172.16.1.0/24","gateway":"10.212.0.12","dev":"eth1","flags":[]}]'
NEIGHBOUR = f"flannel.1 172.16.1.0 lladdr {PEER} PERMANENT"
FORWARD = f"flannel.1 {PEER} dst 10.212.0.12 self permanent"


def lease(address: str, mac: str) -> str:
    """A lease as flanneld writes it."""
    data = {"VNI": 1, "VtepMAC": mac}
    return json.dumps({"PublicIP": address, "BackendType": "vxlan", "BackendData": data})


KEYS = {
    f"{SUBNETS}/172.16.0.0-24": lease("10.212.0.11", OWN),
    f"{SUBNETS}/172.16.1.0-24": lease("10.212.0.12", PEER),
    "/provision/overlay/over/hosts/h1": json.dumps(
        {"key": f"{SUBNETS}/172.16.0.0-24", "address": "10.212.0.11", "cluster": "75792ea0"}
    ),
}


def state(
    addresses: str, routes: str, *lines: tuple[str, str], keys: dict[str, str] | None = None
) -> FlannelState:
    """The state of h1's part of the network `over`."""
    links = FlannelLinks.parse([("addresses", addresses), ("routes", routes), *lines])
    assert links is not None
    return links.compared("flannel.1", "vxlan", keys, "over", Origin("h1", "overlay"))


@pytest.mark.parametrize(
    ("addresses", "routes", "entries", "lacks"),
    [
        (DEVICE % (OWN, ADDRESS), ROUTE, (NEIGHBOUR, FORWARD), ""),
        ("[]", ROUTE, (NEIGHBOUR, FORWARD), "interface flannel.1"),
        (DEVICE % (OWN, ""), ROUTE, (NEIGHBOUR, FORWARD), "address of flannel.1"),
        (DEVICE % (PEER, ADDRESS), ROUTE, (NEIGHBOUR, FORWARD), f"MAC {OWN} of its lease"),
        (DEVICE % (OWN, ADDRESS), "[]", (NEIGHBOUR, FORWARD), "route to 172.16.1.0/24"),
        (DEVICE % (OWN, ADDRESS), ROUTE, ("", FORWARD), "neighbour 172.16.1.0"),
        (DEVICE % (OWN, ADDRESS), ROUTE, (NEIGHBOUR, ""), "FDB entry of 10.212.0.12"),
        (DEVICE % (OWN, ADDRESS), DIRECT, ("", ""), ""),
    ],
)
def test_what_the_kernel_lacks_is_named(
    addresses: str, routes: str, entries: tuple[str, str], lacks: str
) -> None:
    """With direct routing a peer needs a route only."""
    pairs = zip(("neighbour", "forward"), entries, strict=True)
    lines = [(key, entry) for key, entry in pairs if entry]
    assert state(addresses, routes, *lines, keys=KEYS).lacks == lacks
    assert state(addresses, routes, *lines, keys=None).lacks in ("", lacks)


def test_leases_that_flanneld_does_not_follow_are_left_out() -> None:
    """A lease without a MAC, a second one of this host, and one that another host has taken."""
    device, bare = DEVICE % (OWN, ADDRESS), json.dumps({"PublicIP": "10.212.0.13"})
    extra = {
        f"{SUBNETS}/172.16.2.0-24": bare,
        f"{SUBNETS}/172.16.3.0-24": lease("10.212.0.11", OWN),
    }
    lines = (("neighbour", NEIGHBOUR), ("forward", FORWARD))
    assert not state(device, ROUTE, *lines, keys=KEYS | extra).lacks
    forged = {f"{SUBNETS}/172.16.0.0-24": lease("10.212.0.13", "02:00:00:00:00:09")}
    assert state(device, ROUTE, *lines, keys=KEYS | forged) == FlannelState()


@pytest.mark.parametrize(
    ("started", "lacks"),
    [
        ("over aa aa /net/config", ""),
        ("over aa bb /net/config", "its settings in etcd"),
        ("red aa bb /net/config", ""),
        ("over aa", ""),
    ],
)
def test_settings_that_flanneld_did_not_find_are_named(started: str, lacks: str) -> None:
    """By the digests of those that it found, and of those that it should have."""
    claim = {"backend": "host-gw", "device": "", "cidr": "172.16.0.0/16", "masquerade": False}
    lines = f"claim overlay over {json.dumps(claim)}\nstarted {started}\naddresses []\nroutes []\n"
    found = [each.resource for each in Flannel.parse(lines, Origin("h1", "overlay"))]
    assert [each.lacks for each in found if isinstance(each, Flannel)] == [lacks]
