"""Commands that show what is in the way of a resource, for the hint of a conflict. Pure."""

from __future__ import annotations

from provision.model.inventory import Network
from provision.resources.base import Ref
from provision.resources.script import quoted

_BY_KIND = {
    "container": ("docker", "inspect"),
    "docker_network": ("docker", "network", "inspect"),
    "image": ("docker", "image", "inspect"),
    "file": ("ls", "-l"),
    "lan_bridge": ("ip", "-d", "link", "show"),
    "ovs_bridge": ("ovs-vsctl", "list", "bridge"),
    "lan_bridge_ovs": ("ovs-vsctl", "list", "bridge"),
    "route": ("ip", "route", "show"),  # a row of `routes`
    "nft_table": ("nft", "list", "table", "inet"),
    "systemd_unit": ("systemctl", "cat"),
    "vxlan": ("ip", "-d", "link", "show"),
}


def of_resource(ref: Ref) -> str:
    """The command that shows the existing resource of this kind and name; empty if unknown."""
    if ref.kind == "iptables_chain":
        table, _, chain = ref.name.partition("/")
        return quoted(("iptables", "-t", table, "-S", chain))
    return quoted((*_BY_KIND[ref.kind], ref.name)) if ref.kind in _BY_KIND else ""


def of_name(name: str) -> str:
    """The command that shows a file (an absolute path) or an interface."""
    return quoted(
        ("ls", "-ld", name) if name.startswith("/") else ("ip", "-d", "link", "show", name)
    )


def of_range(network: Network) -> str:
    """The command that shows the routes into the range of a network."""
    return quoted(("ip", "route", "show", "root", str(network.cidr)))
