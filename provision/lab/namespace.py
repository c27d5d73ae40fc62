"""The lab's network namespace: two bridges, each joined to this machine by a veth pair.

In the machine's own namespace its Docker or firewall could drop the lab's traffic: with
br_netfilter, bridged packets pass the FORWARD chain, whose policy Docker sets to DROP. Deleting
the namespace also deletes every interface in it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from provision.lab.layout import NICS, Lab, LabHost
from provision.lab.ranges import Ranges, refuse_used
from provision.lab.tools import run, succeeds

FOLDER = Path("/run/netns")
BRIDGES = ("br-mgmt", "br-data")
_UPLINKS = ("up-mgmt", "up-data")


def path(lab: Lab) -> Path:
    return FOLDER / lab.namespace


def refuse_used_ranges(
    lab: Lab, wanted: Ranges, command: Sequence[str] = ("provision", "lab", "up")
) -> None:
    """Raise LabError when something other than this lab uses a range.

    `command` is the command line, without `--ranges`, for the hint.
    """
    addresses = json.loads(run(("ip", "-j", "-4", "address", "show")) or "[]")
    routes = json.loads(run(("ip", "-j", "-4", "route", "show")) or "[]")
    refuse_used(
        wanted,
        [link for link in addresses if link.get("ifname") not in lab.links],
        [route for route in routes if route.get("dev") not in lab.links],
        command,
    )


def ensure(lab: Lab, ranges: Ranges) -> None:
    """Create the namespace, bridges and veth pairs that are missing."""
    if not succeeds(inside(lab, "true")):
        # A namespace is a mount on its file: the file survives a reboot, the mount does not.
        path(lab).unlink(missing_ok=True)
        run(("ip", "netns", "add", lab.namespace))
    run(_ip(lab, "link", "set", "dev", "lo", "up"))
    for bridge, uplink, link, network in zip(
        BRIDGES, _UPLINKS, lab.links, ranges.both, strict=True
    ):
        _bridge(lab, bridge)
        _uplink(lab, bridge, uplink, link)
        run(("ip", "address", "replace", f"{network[254]}/24", "dev", link))


def _bridge(lab: Lab, bridge: str) -> None:
    if not succeeds(_ip(lab, "link", "show", "dev", bridge)):
        # forward_delay 0: a new port forwards at once instead of after 15 s.
        run(_ip(lab, "link", "add", "name", bridge, "type", "bridge", "forward_delay", "0"))
    run(_ip(lab, "link", "set", "dev", bridge, "up"))


def _uplink(lab: Lab, bridge: str, uplink: str, link: str) -> None:
    if not succeeds(("ip", "link", "show", "dev", link)):
        peer = ("peer", "name", uplink, "netns", lab.namespace)
        run(("ip", "link", "add", "name", link, "type", "veth", *peer))
    run(_ip(lab, "link", "set", "dev", uplink, "master", bridge, "up"))
    run(("ip", "link", "set", "dev", link, "up"))


def add_address(lab: Lab, bridge: str, address: str) -> None:
    """Give one of the lab's bridges an address."""
    run(_ip(lab, "address", "replace", address, "dev", bridge))


def inside(lab: Lab, *command: str) -> tuple[str, ...]:
    """The command line that runs `command` in the lab's namespace."""
    return ("nsenter", f"--net={path(lab)}", *command)


def clear(host: LabHost) -> None:
    """Delete the outer interfaces of a host that is off.

    After SIGKILL the kernel tears the host's namespace down asynchronously, which may take
    seconds. Until then its veth pairs exist, and systemd-nspawn could not create them again.
    """
    for link in (*map(host.outer, NICS), *map(host.ifb, NICS)):
        succeeds(_ip(host.lab, "link", "delete", "dev", link))


def remove(lab: Lab) -> None:
    """Delete the namespace and this machine's ends of its veth pairs, where they exist."""
    for link in lab.links:
        succeeds(("ip", "link", "delete", "dev", link))
    if path(lab).exists():
        run(("ip", "netns", "delete", lab.namespace))
    if FOLDER.is_dir() and not any(FOLDER.iterdir()):
        # `ip netns add` bind-mounts the folder on itself, so that namespaces propagate.
        succeeds(("umount", str(FOLDER)))
        with contextlib.suppress(OSError):
            FOLDER.rmdir()


def _ip(lab: Lab, *arguments: str) -> tuple[str, ...]:
    return ("ip", "-n", lab.namespace, *arguments)
