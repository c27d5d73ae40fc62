"""Facts of a host that networks on Open vSwitch need. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from provision.facts.probe import FactsProbe

# `modprobe -n` only says whether the kernel has the module. It loads nothing, and knows modules
# that are built in, too.
_SCRIPT = """
if command -v ovs-vsctl >/dev/null 2>&1; then
  [ -d /sys/module/openvswitch ] || modprobe -n -q openvswitch 2>/dev/null && echo datapath kernel
fi
:
"""


@dataclass(frozen=True, slots=True)
class OvsFacts:
    """`kernel_datapath`: the kernel has the datapath of Open vSwitch, loaded or as a module."""

    kernel_datapath: bool = False


def _parse(text: str) -> OvsFacts:
    return OvsFacts(kernel_datapath="datapath kernel" in text.splitlines())


PROBE = FactsProbe("ovs_datapath", _SCRIPT, _parse)
