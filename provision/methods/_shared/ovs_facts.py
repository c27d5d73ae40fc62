"""Facts of a host that networks on Open vSwitch need. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from provision.facts.host import HostFacts
from provision.facts.probe import FactsProbe
from provision.model.problems import Problem
from provision.resources.lib import ovsdb

# `modprobe -n` only says whether the kernel has the module. It loads nothing, and knows modules
# that are built in, too.
_SCRIPT = """
if command -v ovs-vsctl >/dev/null 2>&1; then
  [ -d /sys/module/openvswitch ] || modprobe -n -q openvswitch 2>/dev/null && echo datapath kernel
fi
shared ovs_bridges
"""


@dataclass(frozen=True, slots=True)
class OvsFacts:
    """`kernel_datapath`: the kernel has the datapath of Open vSwitch, loaded or as a module.

    `controlled` are the bridges with an OpenFlow controller.
    """

    kernel_datapath: bool = False
    controlled: frozenset[str] = frozenset()


def _parse(text: str) -> OvsFacts:
    has_module = "datapath kernel" in text.splitlines()
    return OvsFacts(kernel_datapath=has_module, controlled=ovsdb.controlled_bridges(text))


def controllers(facts: HostFacts, bridges: Iterable[str]) -> Iterator[Problem]:
    """Yield those of the bridges whose flows, and so whose packets, a controller governs."""
    for bridge in sorted(facts.of(OvsFacts).controlled.intersection(bridges)):
        yield Problem(
            facts.host,
            f"an OpenFlow controller governs {bridge}: neither its flows nor the flags of its "
            "ports are compared",
            f"run `ovs-vsctl del-controller {bridge}` on it if its packets do not arrive",
        )


PROBE = FactsProbe("ovs_datapath", _SCRIPT, _parse)
