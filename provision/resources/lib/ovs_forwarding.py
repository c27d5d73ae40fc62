"""What keeps a bridge of Open vSwitch from forwarding: VLANs of its ports, and its flows. Pure.

Nobody but `ovs-vsctl set port` and `ovs-ofctl` changes them: the daemon reports no error.
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.resources.base import keyed_lines
from provision.resources.lib import ovsdb
from provision.resources.lib.ovsdb import VSCTL, PortVlans
from provision.resources.steps import Run, Steps, sh

FLOW = "flow with actions=NORMAL"
"""What a bridge lacks that forwards nothing."""

_DEFAULT_PRIORITY = 32768  # ovs-ofctl(8), Flow Syntax: it prints every other one
_ACTIONS = "actions="
# A flow that drops all packets goes, whatever its priority. Those for some packets stay.
_FORWARD = r"""
ofctl() { ovs-ofctl -t 10 -O OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15 "$@"; }
all='\(cookie=0x[0-9a-f]*, \)\{0,1\}\(reset_counts \)\{0,1\}'
ofctl --no-stats dump-flows "$1" table=0 |
  sed -n "s/^ $all\(priority=[0-9]*\)\{0,1\} \{0,1\}actions=drop$/table=0,\3/p" |
  while read -r flow; do ofctl --strict del-flows "$1" "${flow%,}"; done
ofctl add-flow "$1" table=0,priority=0,actions=NORMAL
"""


def lacking_flow(text: str, bridge: str) -> str:
    """`FLOW` for a bridge without a controller that no flow, or one that drops, governs.

    `text` is what a probe printed that calls `flows`. Empty also for a bridge with a controller,
    whose flows are the controller's, and for actions that somebody else has written.
    """
    lines = keyed_lines(text)
    rows = {str(row["name"]): row for row in ovsdb.bridges(text)}
    if ("flows", bridge) not in lines or rows.get(bridge, {}).get("controller"):
        return ""
    first = max(_flows(lines, bridge), default=(0, "drop"))
    return FLOW if first[1] == "drop" else ""


def _flows(lines: list[tuple[str, str]], bridge: str) -> Iterator[tuple[int, str]]:
    """Yield priority and actions of each flow that takes all packets."""
    for name, _, rest in (rest.partition(" ") for key, rest in lines if key == "flow"):
        if name == bridge:
            priority, _, actions = rest.partition(_ACTIONS)
            number = priority.strip().removeprefix("priority=")
            yield int(number or _DEFAULT_PRIORITY), actions


def repairs(
    bridge: str, *, lacks: str, vlans: PortVlans = (), wanted_vlans: PortVlans = ()
) -> Steps:
    """Steps for a bridge that `lacks` a flow, or whose ports have other settings of VLANs."""
    flow = (sh(_FORWARD, bridge),) if lacks else ()
    return (*flow, *set_vlans(wanted_vlans, before=vlans))


def set_vlans(wanted: PortVlans, *, before: PortVlans) -> Steps:
    """Steps from the settings `before` to those that are wanted; both list ports that have some."""
    new = dict(wanted)
    changed = [port for port, settings in before if new.get(port) != settings]
    changed += [port for port in new if port not in dict(before)]
    return tuple(_set(port, new.get(port, "")) for port in changed)


def _set(port: str, settings: str) -> Run:
    # One transaction: no moment in which the port has a part of them.
    clear = ("--if-exists", "clear", "port", port, "tag", "trunks", "vlan_mode")
    added = ("--", "--if-exists", "set", "port", port, *settings.split()) if settings else ()
    return Run((*VSCTL, *clear, *added))
