"""Tests of an interface by its files below /sys/class/net, for steps that change only what differs.

A step that sets a value again would also notify `ip monitor`, and so wake the follower for nothing.
"""

from __future__ import annotations

from provision.resources.steps import Run, sh

_IFF_UP = 1  # linux/if.h


def path(device: str, name: str) -> str:
    """The path of a file of an interface."""
    return f"/sys/class/net/{device}/{name}"


def exists(device: str) -> Run:
    """Succeed if the interface exists."""
    return Run(("test", "-e", path(device, "ifindex")))


def is_absent(device: str) -> Run:
    """Succeed if the interface does not exist."""
    return Run(("test", "!", "-e", path(device, "ifindex")))


def has_value(device: str, name: str, value: str) -> Run:
    """Succeed if the file `name` of the interface contains `value`."""
    return sh('[ "$(cat "$1")" = "$2" ]', path(device, name), value)


def is_up(device: str) -> Run:
    """Succeed if the interface is set up, whether it has a carrier or not."""
    return sh(f'[ $(($(cat "$1") & {_IFF_UP})) = {_IFF_UP} ]', path(device, "flags"))


def is_port(device: str, bridge: str) -> Run:
    """Succeed if the interface is a port of the Linux bridge."""
    return Run(("test", "-e", path(bridge, f"brif/{device}")))
