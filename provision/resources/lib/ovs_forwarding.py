"""What keeps a bridge of Open vSwitch from forwarding: VLANs and flags of its ports, its flows.

Nobody but `ovs-vsctl set port` and `ovs-ofctl` changes them: the daemon reports no error. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.resources.base import keyed_lines
from provision.resources.lib import ovsdb
from provision.resources.lib.ovsdb import VSCTL, PortVlans
from provision.resources.steps import Run, Steps, sh

PortFlags = tuple[tuple[str, str], ...]
"""Ports that do not take, send or flood packets: the name, and words of `ovs-ofctl mod-port`."""

FLOW = "flow with actions=NORMAL"
"""What a bridge lacks that forwards nothing."""

_SETTINGS = {"NO_RECV": "no-receive", "NO_FWD": "no-forward", "NO_FLOOD": "no-flood"}
"""The word of `ovs-ofctl mod-port` by the flag of OpenFlow that stops packets at a port.

PORT_DOWN means that the port's device is down, which `ip link` tells. No tunnel has it.
"""

_DEFAULT_PRIORITY = 32768  # ovs-ofctl(8), Flow Syntax: it prints every other one
_ACTIONS = "actions="
# In the mode `secure` the bridge would lose the flow again when ovs-vswitchd restarts.
# A flow that drops all packets goes, whatever its priority. Those for some packets stay.
_FORWARD = r"""
ofctl() { ovs-ofctl -t 10 -O OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15 "$@"; }
[ "$(ovs-vsctl -t 10 get bridge "$1" fail_mode)" != secure ] ||
  ovs-vsctl -t 30 set bridge "$1" fail_mode=standalone
all='\(cookie=0x[0-9a-f]*, \)\{0,1\}\(reset_counts \)\{0,1\}'
ofctl --no-stats dump-flows "$1" table=0 |
  sed -n "s/^ $all\(priority=[0-9]*\)\{0,1\} \{0,1\}actions=drop$/table=0,\3/p" |
  while read -r flow; do ofctl --strict del-flows "$1" "${flow%,}"; done
ofctl add-flow "$1" table=0,priority=0,actions=NORMAL
"""
# ovs-vswitchd keeps the flags of a port that is made anew. A port that is gone has none.
# Only OpenFlow 1.0 has `flood`; a bridge may have been told to speak other versions alone.
_SET_FLAGS = """
bridge=$1 port=$2; shift 2
[ "$(ovs-vsctl -t 10 port-to-br "$port" 2>/dev/null || echo "$port")" = "$bridge" ] || exit 0
for word; do
  ovs-ofctl -t 10 -O OpenFlow10 mod-port "$bridge" "$port" "$word" 2>/dev/null ||
    ovs-ofctl -t 10 -O OpenFlow13,OpenFlow14,OpenFlow15 mod-port "$bridge" "$port" "$word" || exit
done
"""


def lacking_flow(text: str, bridge: str) -> str:
    """`FLOW` for a bridge without a controller that no flow, or one that drops, governs.

    `text` is what a probe printed that calls `flows`. Empty also for a bridge with a controller,
    whose flows are the controller's, and for actions that somebody else has written.
    """
    lines = keyed_lines(text)
    if ("flows", bridge) not in lines or bridge in ovsdb.controlled_bridges(text):
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


def port_flags(text: str, bridge: str, *names: str, inventory: str) -> PortFlags:
    """The flags that stop packets at ports of a bridge: at those named, and at the inventory's.

    `text` is what a probe printed that calls `flows`. None of a bridge with a controller, which
    may have set them.
    """
    mute = [rest.split() for key, rest in keyed_lines(text) if key == "mute"]
    if not mute or bridge in ovsdb.controlled_bridges(text):
        return ()
    marks = {port.name: port.external_ids.get(ovsdb.MARK_KEY, "") for port in ovsdb.ports(text)}
    ours = {name for name, mark in marks.items() if mark.partition("/")[0] == inventory}
    return tuple(
        (port, " ".join(settings))
        for at, port, *flags in sorted(mute)
        if at == bridge and port in (*names, *ours)
        if (settings := [setting for flag, setting in _SETTINGS.items() if flag in flags])
    )


def repairs(
    bridge: str,
    *,
    lacks: str = "",
    vlans: PortVlans = (),
    wanted_vlans: PortVlans = (),
    flags: PortFlags = (),
    wanted_flags: PortFlags = (),
) -> Steps:
    """Steps for a bridge that `lacks` a flow, or whose ports have other VLANs or flags."""
    flow = (sh(_FORWARD, bridge),) if lacks else ()
    flagged = _set_flags(bridge, dict(flags), dict(wanted_flags))
    return (*flow, *set_vlans(wanted_vlans, before=vlans), *flagged)


def _set_flags(bridge: str, before: dict[str, str], wanted: dict[str, str]) -> Iterator[Run]:
    for port in sorted({*before, *wanted}):
        old, new = before.get(port, "").split(), wanted.get(port, "").split()
        settings = [each.removeprefix("no-") for each in old if each not in new]
        settings += [each for each in new if each not in old]
        if settings:
            yield sh(_SET_FLAGS, bridge, port, *settings)


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
