"""Tests of an interface by its files below /sys/class/net, for steps that change only what differs.

A step that sets a value again would also notify `ip monitor`, and so wake the follower for nothing.
"""

from __future__ import annotations

from provision.resources.on_hosts import MARK
from provision.resources.steps import Run, sh

_IFF_UP = 1  # linux/if.h


# An interface without an alias may be ours: a person, or an interruption, took the alias away.
_IS_FOREIGN = f"""
alias=$(cat "/sys/class/net/$1/ifalias" 2>/dev/null) || exit 1
case $alias in "{MARK}$2" | "{MARK}$2/"*) exit 1 ;; ?*) exit 0 ;; esac
! ip -d -o link show dev "$1" | grep -q -e "$3"
"""


def is_foreign(device: str, inventory: str, pattern: str) -> Run:
    """Succeed if the interface exists without the inventory's mark.

    One without any alias is foreign unless `pattern` matches the line of `ip -d -o link`.
    """
    return sh(_IS_FOREIGN, device, inventory, pattern)


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
