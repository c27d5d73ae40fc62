"""What overlay networks mean to each other: one id for each on a host, one user of a port. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.model.documents import Decoded, Layout
from provision.model.findings import KEY, Finding
from provision.model.names import default_vni


def overlay_rules(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Networks on one host whose packets could not be told apart."""
    names = [name for name in decoded.networks if name in decoded.options]
    for k, name in enumerate(names):
        for earlier in names[:k]:
            shared = [host for host in layout.hosts[name] if host in layout.hosts[earlier]]
            if shared:
                yield from _clash(decoded, earlier, name, shared[0])


def _clash(decoded: Decoded, earlier: str, name: str, host: str) -> Iterator[Finding]:
    one, other = (_identity(decoded, network) for network in (earlier, name))
    if not one or not other or one[0] != other[0]:
        return
    kind, port, number = other
    methods = {decoded.networks[network].method for network in (earlier, name)}
    if kind == "vxlan" and one[1] == port and len(methods) > 1:
        # The userspace datapath of Open vSwitch takes every packet of its port.
        message = (
            f"networks '{earlier}' (vxlan) and '{name}' (ovs-vxlan) use UDP port {port} on {host}"
        )
        yield Finding(_at(decoded, name, "port"), message, f"write port: {port + 1} in one of them")
    elif (one[1], one[2]) == (port, number):
        word = "vni" if kind == "vxlan" else "key"
        shown = f"the {word} {number}" if number is not None else "no key"
        message = f"networks '{earlier}' and '{name}' both have {shown} on {host}"
        yield Finding(_at(decoded, name, word), message, f"write another {word} in one of them")


def _identity(decoded: Decoded, name: str) -> tuple[str, int, int | None] | None:
    """Protocol, UDP port and number of a network's tunnels; None where it has none of ours."""
    options = decoded.options[name]
    match decoded.networks[name].method:
        case "vxlan" | "ovs-vxlan":
            vni = getattr(options, "vni", None) or default_vni(decoded.name, name)
            return "vxlan", getattr(options, "port", 0), vni
        case "ovs-gre":
            return "gre", 0, getattr(options, "key", None)
    return None


def _at(decoded: Decoded, name: str, key: str) -> tuple[str, ...]:
    written = key in decoded.networks[name].model_fields_set
    return ("networks", name, key) if written else ("networks", name, KEY)
