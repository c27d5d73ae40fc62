"""The lab's network namespace: two bridges, and two veth pairs to the machine.

A namespace of its own, because the machine's Docker or firewall would drop what passes
its own bridges (FORWARD policy with br_netfilter); deleting it is the clean-up.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from provision.lab.place import HostFiles, Place
from provision.lab.ranges import Ranges, refuse_taken
from provision.lab.tools import run, succeeds

FOLDER = Path("/run/netns")
BRIDGES = ("br-mgmt", "br-data")
_UPLINKS = ("up-mgmt", "up-data")


def path(place: Place) -> Path:
    return FOLDER / place.namespace


def refuse_taken_ranges(place: Place, wanted: Ranges) -> None:
    """Raise LabError when something other than this lab uses a range."""
    ours = place.links
    addresses = json.loads(run(("ip", "-j", "-4", "address", "show")) or "[]")
    routes = json.loads(run(("ip", "-j", "-4", "route", "show")) or "[]")
    refuse_taken(
        wanted,
        [link for link in addresses if link.get("ifname") not in ours],
        [route for route in routes if route.get("dev") not in ours],
    )


def ensure(place: Place, ranges: Ranges) -> None:
    """Make what is missing; can be repeated after an interrupted run."""
    if not succeeds(_inside(place, "true")):
        # A file without the namespace stays behind when the machine rebooted.
        path(place).unlink(missing_ok=True)
        run(("ip", "netns", "add", place.namespace))
    run(_ip(place, "link", "set", "dev", "lo", "up"))
    for bridge, uplink, link, network in zip(
        BRIDGES, _UPLINKS, place.links, ranges.both, strict=True
    ):
        _bridge(place, bridge)
        _uplink(place, bridge, uplink, link)
        run(("ip", "address", "replace", f"{network[254]}/24", "dev", link))


def _bridge(place: Place, bridge: str) -> None:
    if not succeeds(_ip(place, "link", "show", "dev", bridge)):
        run(_ip(place, "link", "add", "name", bridge, "type", "bridge", "forward_delay", "0"))
    run(_ip(place, "link", "set", "dev", bridge, "up"))


def _uplink(place: Place, bridge: str, uplink: str, link: str) -> None:
    if not succeeds(("ip", "link", "show", "dev", link)):
        peer = ("peer", "name", uplink, "netns", place.namespace)
        run(("ip", "link", "add", "name", link, "type", "veth", *peer))
    run(_ip(place, "link", "set", "dev", uplink, "master", bridge, "up"))
    run(("ip", "link", "set", "dev", link, "up"))


def clear(seat: HostFiles) -> None:
    """Delete the links of a host that is off: the kernel takes its time for those of a machine
    that died hard, and the next start would find them in its way."""
    for link in (f"vb-{seat.machine}", seat.link):
        succeeds(_ip(seat.place, "link", "delete", "dev", link))


def remove(place: Place) -> None:
    """Delete links and namespace, as far as they are there."""
    for link in place.links:
        succeeds(("ip", "link", "delete", "dev", link))
    if path(place).exists():
        run(("ip", "netns", "delete", place.namespace))
    if FOLDER.is_dir() and not any(FOLDER.iterdir()):
        # `ip netns add` made a mount of the folder too.
        succeeds(("umount", str(FOLDER)))
        with contextlib.suppress(OSError):
            FOLDER.rmdir()


def _ip(place: Place, *words: str) -> tuple[str, ...]:
    return ("ip", "-n", place.namespace, *words)


def _inside(place: Place, *words: str) -> tuple[str, ...]:
    return ("nsenter", f"--net={path(place)}", *words)
