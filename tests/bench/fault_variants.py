"""The variants A and B of each example: two versions of one inventory."""

from __future__ import annotations

from tests.lab.hosts import Hosts

FILE = "campaign.yml"
"""Both variants use one file name: the inventory of a host is the file that was applied last."""
_Changes = tuple[tuple[str, str], ...]
VARIANT_B: dict[str, _Changes] = {
    "routes": (
        ("    # mtu: 1500 ", "    mtu: 1400 #"),
        ("  c2: {host: h2, network: blue}", "  c4: {host: h1, network: blue}"),
    ),
    "vxlan": (
        ("    # port: 4789", "    port: 4790"),
        ("  w2: {host: h2, network: plain}", "  w4: {host: h2, network: plain}"),
    ),
    "pipework": (
        ("    # stp: true", "    stp: true"),
        ("  c2: {host: h2, network: lan}", "  c4: {host: h1, network: lan}"),
        ("  bare2:\n    host: h2", "  bare4:\n    host: h3"),
        ("mac_from: bare2", "mac_from: bare4"),
    ),
    "flannel-vxlan": (
        ("    # direct_routing: true", "    direct_routing: true"),
        ("  c2: {host: h2, network: over}", "  c4: {host: h1, network: over}"),
    ),
    "ovs-gre": (
        ("    # key: 7 ", "    key: 7 #"),
        ("  g2: {host: h2, network: tun}", "  g4: {host: h2, network: tun}"),
    ),
    "modes": (
        ("  own2: {host: h2, network: host}", "  own2: {host: h2, network: none}"),
        ('ports: ["8082:82/udp"]', 'ports: ["8083:83/udp"]'),
        ("blue: {method: routes,", "blue: {method: routes, egress: none,"),
        ("  bare1: {host: h1, network: none}", "  bare4: {host: h1, network: none}"),
    ),
    "macvlan": (
        ("pool: {lan}.208/28", "pool: {lan}.192/28"),
        ("network: lan, address: {lan}.211}", "network: lan, address: {lan}.195}"),
        ("  c2: {host: h2, network: lan}", "  c4: {host: h2, network: lan}"),
    ),
    "ovs-vxlan": (
        ("    # vni: 42 ", "    vni: 42 #"),
        ("  v2: {host: h2, network: vtun}", "  v4: {host: h2, network: vtun}"),
    ),
    "wireguard": (
        ("    # psk: true", "    psk: true"),
        ("  s2: {host: h2, network: private}", "  s4: {host: h1, network: private}"),
    ),
    "bgp": (
        ("    # bfd: true", "    bfd: true"),
        ("  b2: {host: h2, network: core}", "  b4: {host: h1, network: core}"),
    ),
}
"""By method: (old text, new text); {lan} is the network of the hosts."""


def write(hosts: Hosts, method: str, variant: str) -> str:
    """Write a variant of the method's example into the lab's folder; the file name."""
    changes = VARIANT_B[method] if variant == "B" else ()
    lan = hosts.networks[1]
    with_lan = [(old.replace("{lan}", lan), new.replace("{lan}", lan)) for old, new in changes]
    return hosts.inventory(f"{method}.yml", *with_lan, to=FILE)
