"""Law: texts of iproute2 and records on hosts survive a round trip through their values."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.resources.lib.nic_records import (
    HostVeth,
    NicAddress,
    NicRoute,
    OriginalNic,
    parse_record,
)
from provision.resources.on_hosts import PROTO

IPS = st.ip_addresses().map(str)
RANGES = st.one_of(st.just("default"), IPS, IPS.map(lambda ip: f"{ip}/16"))
NUMBERS = st.integers(0, 4294967295)
SCOPES = st.sampled_from(["", "253", "254", "link"])
NAMES = st.from_regex(r"[a-z][a-z0-9.-]{0,14}", fullmatch=True)
OPTIONAL_IPS = st.one_of(st.just(""), IPS)
ADDRESSES = st.builds(
    NicAddress, IPS, st.integers(0, 128), OPTIONAL_IPS, OPTIONAL_IPS, SCOPES, st.booleans()
)
ROUTES = st.builds(
    NicRoute,
    RANGES,
    via=OPTIONAL_IPS,
    src=OPTIONAL_IPS,
    metric=NUMBERS,
    table=st.one_of(st.just(""), NUMBERS.map(str)),
    mtu=NUMBERS,
    scope=SCOPES,
    onlink=st.booleans(),
    proto=st.integers(3, 255)
    .filter(lambda proto: proto != PROTO)
    .map(str),  # no record has our routes
    dev=st.one_of(st.just(""), NAMES),
)
VETHS = st.one_of(st.none(), st.builds(HostVeth, NAMES, NAMES, st.just("02:04:a2:c5:59:fe")))
ORIGINALS = st.builds(
    OriginalNic,
    nic=NAMES,
    mac=st.just("0a:c0:ba:36:75:3e"),
    mtu=NUMBERS,
    network=st.text(),
    addresses=st.lists(ADDRESSES).map(tuple),
    routes=st.lists(ROUTES).map(tuple),
    defaults=st.lists(ROUTES).map(tuple),
    dns=st.lists(st.text()).map(tuple),
    host_veth=VETHS,
    ovs_datapath=st.sampled_from(["", "system", "netdev"]),
    ssh=st.booleans(),
    peer=OPTIONAL_IPS,
)


@given(ADDRESSES)
def test_the_text_of_an_address_is_lossless(address: NicAddress) -> None:
    """`ip address replace` receives every option again."""
    assert NicAddress.parse(str(address)) == address


@given(ROUTES)
def test_the_text_of_a_route_is_lossless(route: NicRoute) -> None:
    """`ip route replace` receives every option again."""
    assert NicRoute.parse(str(route)) == route


@given(ORIGINALS)
def test_a_record_is_lossless(original: OriginalNic) -> None:
    """Equality of records leaves the host veth out, so it is compared separately."""
    parsed = parse_record(original.record)
    assert (parsed, parsed.host_veth) == (original, original.host_veth)


def test_a_record_of_version_0_1_0_keeps_its_bytes() -> None:
    """Its keys, their order and the texts of iproute2 stay as that version wrote them."""
    fields = {
        "nic": "eth1",
        "mac": "0a:c0:ba:36:75:3e",
        "mtu": 1500,
        "network": "[Network]\nAddress=10.0.0.1/24\n",
        "addresses": [
            "10.0.0.1/24 peer 10.0.0.2 broadcast 10.0.0.255 scope 253 noprefixroute",
            "fd00::1/64 nodad",
        ],
        "routes": [
            "10.5.0.0/16 via 10.0.0.9 src 10.0.0.1 metric 100 table 7 mtu 1400 scope 253 onlink"
            " proto 3",
            "::/0 via fe80::1 proto 4",
        ],
        "defaults": ["default via 10.9.0.1 proto 3 dev wan"],
        "dns": ["nameserver 10.0.0.53"],
        "seat": "host-it port-it 02:04:a2:c5:59:fe",
        "switch": "system",
        "ssh": True,
        "peer": "10.0.0.12",
    }
    text = json.dumps(fields, indent=1) + "\n"
    assert parse_record(text).record == text


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "10.0.0.1/24 label eth1:0", "10.0.0.1/24 peer", "10.0.0.1/x", ""]
)
def test_an_unknown_option_of_an_address_is_an_error(text: str) -> None:
    """Otherwise destroy would restore the NIC without the option."""
    with pytest.raises(ValueError):
        NicAddress.parse(text)


@pytest.mark.parametrize("text", ["default via", "default nexthop 10.0.0.1", "default metric low"])
def test_an_unknown_option_of_a_route_is_an_error(text: str) -> None:
    """Otherwise destroy would restore the route without the option."""
    with pytest.raises(ValueError):
        NicRoute.parse(text)
