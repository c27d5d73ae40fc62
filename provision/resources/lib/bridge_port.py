"""Settings of a port of a Linux bridge that stop its frames: `flood off, isolated on`. Pure.

Nobody needs them on a port that provision makes: the counterpart of `ovs_forwarding.port_flags`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from provision.resources.steps import Run, Steps

_USUAL = {"flood": "on", "bcast_flood": "on", "isolated": "off", "locked": "off", "state": "3"}
"""Settings of each new port, as `bridge link set` takes them; 3 is BR_STATE_FORWARDING.

A kernel or an iproute2 that is too old for one does not print it.
"""
_DISABLED = "0"
IDLE_BRIDGE = (
    'case $(cat "$path/master/flags" 2>/dev/null) in *[02468ace]) echo "idle $dev" ;; esac'
)
"""Shell that prints `idle DEVICE` if the bridge of the port $dev at $path is down (IFF_UP is 1)."""


def mute(link: Mapping[str, Any], *, bridge_up: bool = True) -> str:
    """Those of an interface of `ip -d -j link`; empty for one that is no port, or as usual."""
    info = link.get("linkinfo") or {}
    if info.get("info_slave_kind") != "bridge":
        return ""
    port = {**info.get("info_slave_data", {}), "flags": link.get("flags", ())}
    return mute_port(port, bridge_up=bridge_up)


def mute_port(port: Mapping[str, Any], *, bridge_up: bool = True) -> str:
    """Those of a port of `bridge -d -j link`; empty for one that is as usual."""
    return ", ".join(_words(port, bridge_up))


def _words(port: Mapping[str, Any], bridge_up: bool) -> Iterator[str]:
    for key, usual in _USUAL.items():
        if key == "state":
            # The kernel itself disables a port without a carrier, and all ports of a bridge that
            # is down. Under STP it refuses to enable them by hand.
            carries = bridge_up and {"UP", "LOWER_UP"} <= set(port.get("flags", ()))
            value = _DISABLED if port.get(key) == "disabled" and carries else usual
        else:
            value = usual if key not in port else "on" if port[key] else "off"
        if value != usual:
            yield f"{key} {value}"


def _values(text: str) -> dict[str, str]:
    return {
        key: value for key, _, value in (word.partition(" ") for word in text.split(", ") if word)
    }


def settings(device: str, *, before: str, wanted: str = "") -> Steps:
    """Steps from the settings `before` to those that are wanted, both as `mute` has them."""
    old, new = (_USUAL | _values(text) for text in (before, wanted))
    return tuple(
        Run(("bridge", "link", "set", "dev", device, key, new[key]))
        for key in _USUAL
        if old[key] != new[key]
    )


def settings_of(
    *, before: Iterable[tuple[str, str]], wanted: Iterable[tuple[str, str]] = ()
) -> Steps:
    """The same for several ports, each with its settings."""
    old, new = dict(before), dict(wanted)
    return tuple(
        step
        for port in sorted({*old, *new})
        for step in settings(port, before=old.get(port, ""), wanted=new.get(port, ""))
    )
