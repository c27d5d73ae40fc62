"""A bridge of Docker against the kernel, from entries of `ip -j` and of Docker's API.

`lab/test_overlay_checks.py` makes these faults on booted hosts.
"""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from provision.resources import script
from provision.resources.base import Origin
from provision.resources.kinds.container import DockerContainer
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


INSIDE = {
    "whole": (["127.0.0.1", "172.20.0.5"], ["172.20.0.0/24"], ""),
    "no address": (["127.0.0.1"], ["172.20.0.0/24"], "address 172.20.0.5 in c1"),
    "another address": (["127.0.0.1", "172.20.0.6"], ["172.20.0.0/24"], "address 172.20.0.5 in c1"),
    "down": (["127.0.0.1", "172.20.0.5"], [], "link with 172.20.0.5 in c1"),
    "other ranges": (["127.0.0.1", "172.20.0.5"], ["10.78.0.0/24"], "link with 172.20.0.5 in c1"),
    "ended": ([], [], ""),
}


def inside(local: list[str], onlink: list[str], **changes: Any) -> BridgeLinks:
    """The kernel with a container that has these addresses and ranges."""
    endpoint = {"EndpointID": "1f", "IPAddress": "172.20.0.5"}
    entry = C1 | {"NetworkSettings": {"Networks": {"blue": endpoint}}} | changes
    kernel = BridgeLinks.parse(
        [
            ("addresses", json.dumps([LINK, VETH])),
            ("routes", json.dumps([ROUTE])),
            ("container", json.dumps(entry)),
            ("nsid", "5fa9 1"),
            ("local", " ".join(["5fa9", *local])),
            ("onlink", " ".join(["5fa9", *onlink])),
        ]
    )
    assert kernel is not None
    return kernel


@pytest.mark.parametrize(("local", "onlink", "lacks"), INSIDE.values(), ids=[*INSIDE])
def test_a_container_has_the_address_that_docker_lists(
    local: list[str], onlink: list[str], lacks: str
) -> None:
    """Only a start of the container gives it back, with a bridge as without one."""
    kernel = inside(local, onlink)
    expected = BridgeState(lacks, ("c1",) if lacks else ())
    assert kernel.containers_on("blue") == expected
    assert kernel.bridge(BRIDGE, "blue", ADDRESS, SUBNET) == expected
    assert kernel.containers_on("other") == BridgeState()
    # Of a container without its veth pair, the address is not named as well.
    unplugged = replace(kernel, veths={})
    assert unplugged.bridge(BRIDGE, "blue", ADDRESS, SUBNET).lacks == "port of c1"
    assert unplugged.bridge(BRIDGE, "blue", ADDRESS, SUBNET, "c2") == BridgeState()


def test_a_runtime_that_takes_the_address_is_not_compared() -> None:
    """gVisor moves the address into a network stack of its own."""
    assert (
        inside(["127.0.0.1"], [], HostConfig={"Runtime": "runsc"}).containers_on("blue").lacks == ""
    )
    assert inside(["127.0.0.1"], [], HostConfig={"Runtime": "runc"}).containers_on("blue").lacks


DOCKER0 = {
    "Name": "bridge",
    "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]},  # Docker 20.10 tells no gateway here
    "Options": {"com.docker.network.bridge.name": "docker0"},
}
ON_DOCKER0 = {
    "Id": "77aa",
    "Name": "/std",
    "Config": {"Image": "busybox", "Labels": {"provision": "demo/bridge"}, "Cmd": [], "Env": []},
    "State": {"Status": "running", "Pid": 9},
    "HostConfig": {
        "NetworkMode": "default",
        "RestartPolicy": {"Name": ""},
        "Binds": None,
        "PortBindings": {},
    },
    "NetworkSettings": {
        "Networks": {
            "bridge": {
                "EndpointID": "1f",
                "IPAddress": "172.17.0.2",
                "IPPrefixLen": 16,
                "Gateway": "172.17.0.1",
                "IPAMConfig": None,
            }
        }
    },
}


def on_docker0(
    *links: dict[str, Any], networks: Any = (DOCKER0,), **labels: str
) -> DockerContainer:
    """The container `std`, which is on Docker's default bridge."""
    labelled = ON_DOCKER0["Config"] | ({"Labels": labels} if labels else {})
    lines = {
        "containers": "[]",
        "networks": json.dumps(networks),
        "addresses": json.dumps(links),
        "routes": "[]",
        "container": json.dumps(ON_DOCKER0 | {"Config": labelled}),
        "nsid": "77aa 4",
        "local": "77aa 127.0.0.1 172.17.0.2",
        "onlink": "77aa 172.17.0.0/16",
    }
    text = "".join(f"{key} {value}\n" for key, value in lines.items())
    (entry,) = DockerContainer.parse(text, Origin("h1", "demo"))
    assert isinstance(entry.resource, DockerContainer)
    return entry.resource


def test_a_container_on_dockers_own_bridge_is_compared_with_it() -> None:
    """Apply makes what is missing, and a rollback takes the address of docker0 away again."""
    docker0 = {"ifname": "docker0", "flags": UP, "addr_info": []}
    veth = VETH | {"link_netnsid": 4, "master": "docker0"}
    before = on_docker0(docker0, veth)
    assert before.lacks == "address 172.17.0.1/16"
    wanted = replace(before, lacks="", link=None)
    steps = wanted.update(before)
    assert steps and "172.17.0.1/16 172.17.0.0/16 -" in script.commands(steps)
    undo = script.commands(wanted.undo(before, ours=True))
    assert "ip -4 address delete" in undo and "docker rm" not in undo
    unplugged = on_docker0()
    assert unplugged.lacks == "interface docker0, port of std"
    assert wanted.disruption(unplugged, recreated=False) == "container std restarts"


def test_a_bridge_that_another_resource_compares_is_left_to_it() -> None:
    """A network of the inventory that has taken over docker0, or another bridge of the user."""
    assert on_docker0(provision="demo/classic").lacks == ""
    assert on_docker0(provision="other/bridge").lacks == ""
    other = DOCKER0 | {"Options": {"com.docker.network.bridge.name": "br0"}}
    assert on_docker0(networks=[other]).lacks == "" and on_docker0(networks=[]).lacks == ""
