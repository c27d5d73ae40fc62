"""What flanneld makes of the leases, from lines of `ip` and `bridge` and keys of etcd.

`lab/test_flannel_faults.py` makes these faults on booted hosts.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from provision.engine.overlaps import of_flannel
from provision.facts.host import KernelRoute
from provision.resources.base import Origin
from provision.resources.kinds.flannel import Flannel
from provision.resources.lib.flannel_state import FlannelLinks, FlannelState

RANGE = IPv4Network("172.16.0.0/16")
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
    origin = Origin("h1", "overlay")
    return links.compared("flannel.1", "vxlan", RANGE, keys, "over", origin)


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


PART = "172.16.1.0/24"
OTHER_GATEWAY = {"dst": PART, "gateway": "10.212.0.99", "dev": "eth1", "flags": []}
BLACKHOLE = {"type": "6", "dst": PART, "flags": []}
TO_HOST = {"dst": PART, "gateway": "10.212.0.12", "dev": "eth1", "flags": []}
BY_DEVICE = {"dst": PART, "gateway": "172.16.1.0", "dev": "flannel.1", "flags": ["onlink"]}
BY_UDP = {"dst": "172.16.0.0/16", "dev": "flannel0", "flags": []}
TWO_GATEWAYS = {
    "dst": PART,
    "flags": [],
    "nexthops": [{"gateway": "10.212.0.12", "dev": "eth1"}, {"gateway": "10.212.0.99"}],
}


def found(
    backend: str, *routes: dict[str, object], direct: bool = False, etcd: bool = True
) -> Flannel:
    """What h1 holds of a network with these main routes, whose device has all that it needs."""
    device = {"vxlan": "flannel.1", "udp": "flannel0"}.get(backend, "")
    claim = {"backend": backend, "device": device, "cidr": str(RANGE), "masquerade": False}
    leases = {
        f"{SUBNETS}/172.16.{number}.0-24": json.dumps(
            {"PublicIP": f"10.212.0.1{number + 1}"}
            | ({} if backend == "udp" else {"BackendType": backend})
            | ({"BackendData": {"VtepMAC": (OWN, PEER)[number]}} if backend == "vxlan" else {})
        )
        for number in (0, 1)
    }
    settings = {"Backend": {"Type": backend, "DirectRouting": direct}}
    keys = KEYS | leases | {"/coreos.com/network/config": json.dumps(settings)}
    answer = {
        "kvs": [
            {"key": b64encode(key.encode()).decode(), "value": b64encode(text.encode()).decode()}
            for key, text in keys.items()
        ]
    }
    mac = OWN if backend == "vxlan" else ""
    link = (DEVICE % (mac, ADDRESS)).replace("flannel.1", device) if device else "[]"
    lines = (
        f"claim overlay over {json.dumps(claim)}",
        f"neighbour {NEIGHBOUR}",
        f"forward {FORWARD}",
        f"addresses {link}",
        f"routes {json.dumps(routes)}",
        f"etcd over {json.dumps(answer) if etcd else 'down'}",
    )
    (entry,) = Flannel.parse("\n".join(lines), Origin("h1", "overlay"))
    assert isinstance(entry.resource, Flannel)
    return entry.resource


@pytest.mark.parametrize(
    ("backend", "routes", "lacks"),
    [
        ("udp", (), "route to 172.16.0.0/16"),
        (
            "udp",
            (BY_UDP | {"dev": "eth1", "gateway": "10.212.0.99"},),
            "route to 172.16.0.0/16 dev flannel0 (there is one via 10.212.0.99 dev eth1)",
        ),
        (
            "udp",
            (BY_UDP, OTHER_GATEWAY),
            f"route to {PART} dev flannel0 (there is one via 10.212.0.99 dev eth1)",
        ),
        ("host-gw", (), f"route to {PART}"),
        (
            "host-gw",
            (OTHER_GATEWAY,),
            f"route to {PART} via 10.212.0.12 (there is one via 10.212.0.99 dev eth1)",
        ),
        (
            "host-gw",
            (BLACKHOLE,),
            f"route to {PART} via 10.212.0.12 (there is one of type blackhole)",
        ),
        (
            "host-gw",
            (TWO_GATEWAYS,),
            f"route to {PART} via 10.212.0.12 (there is one with several gateways)",
        ),
        (
            "vxlan",
            (OTHER_GATEWAY,),
            f"route to {PART} via 172.16.1.0 dev flannel.1 (there is one via 10.212.0.99 dev eth1)",
        ),
        # Hosts send packets unencapsulated only where the settings say so.
        (
            "vxlan",
            (TO_HOST,),
            f"route to {PART} via 172.16.1.0 dev flannel.1 (there is one via 10.212.0.12 dev eth1)",
        ),
    ],
)
def test_a_route_that_leads_elsewhere_is_named(
    backend: str, routes: tuple[dict[str, object], ...], lacks: str
) -> None:
    """A route of a person in the place of flanneld's takes all packets to another host."""
    assert found(backend, *routes).lacks == lacks


def test_routes_that_flanneld_made_are_whole() -> None:
    """By each backend; of two routes to a destination the kernel takes that of the lower metric."""
    assert not found("udp", BY_UDP).lacks
    assert not found("host-gw", TO_HOST).lacks
    assert not found("host-gw", TO_HOST, OTHER_GATEWAY | {"metric": 9}).lacks
    assert not found("vxlan", BY_DEVICE).lacks
    for route in (BY_DEVICE, TO_HOST):
        assert not found("vxlan", route, direct=True).lacks
    # Without an answer of etcd, nothing tells the leases.
    assert not found("host-gw", OTHER_GATEWAY, etcd=False).lacks


def test_an_update_removes_only_routes_of_people() -> None:
    """Those of programs, of other inventories and of an interface are a conflict of the plan."""
    for protocol in ({}, {"protocol": "4"}):
        damaged = found("host-gw", OTHER_GATEWAY | protocol)
        assert damaged.displaced == (PART,)
        steps = replace(damaged, lacks="").update(damaged)
        assert steps is not None and len(steps) == 2 and PART in repr(steps[0])
    for number in ("2", "186", "240"):
        other = found("host-gw", OTHER_GATEWAY | {"protocol": number})
        assert other.lacks and not other.displaced and other.blocked == (PART,)
        assert not of_flannel(other, KernelRoute(IPv4Network(PART), "eth1", int(number)))


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
