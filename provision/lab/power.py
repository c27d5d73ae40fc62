"""Single hosts of a running lab: reboot, power off and on, cut the power; for tests too."""

from __future__ import annotations

import subprocess
import time
from ipaddress import IPv4Address

from provision.lab import ready, settings, supervisor
from provision.lab.bringup import Say, up
from provision.lab.parallel import each
from provision.lab.place import HostFiles, Place, addresses_of
from provision.lab.settings import Wish
from provision.model.errors import LabError


def addresses(place: Place) -> dict[str, tuple[IPv4Address, IPv4Address]]:
    """Each host's address for SSH and for the containers."""
    found = settings.require(place)
    return {host: addresses_of(host, found.ranges) for host in found.hosts}


def states(place: Place) -> dict[str, str]:
    """Of each host: `up` or `off`."""
    machines = supervisor.running(place).machines
    return {host: "up" if host in machines else "off" for host in settings.require(place).hosts}


def reboot(place: Place, hosts: tuple[str, ...], *, say: Say) -> None:
    """Reboot hosts and wait until they are back. Raises LabError, for a host that is off too."""
    for host in hosts:
        _require_on(place, host)
    each(hosts, lambda host: _reboot(place.seat(host), say))


def poweroff(place: Place, host: str) -> None:
    """Shut a host down in order; it stays off until `start`."""
    _require_on(place, host)
    _say_in(place.seat(host), "systemctl poweroff")
    supervisor.wait_until_off(place.seat(host))


def cut_power(place: Place, host: str) -> None:
    """End a host at once, as a power cut does; it stays off until `start`."""
    _require_on(place, host)
    supervisor.cut_power(place.seat(host))


def start(place: Place, *, say: Say) -> dict[str, str]:
    """Start the hosts that are off; the boot id of each host."""
    return up(place, Wish(), say=say)


def _require_on(place: Place, host: str) -> None:
    found = states(place)
    if host not in found:
        raise LabError(f"no host {host} in this lab", f"its hosts: {', '.join(found)}")
    if found[host] == "off":
        raise LabError(f"{host} is off", "provision lab up")


def _reboot(seat: HostFiles, say: Say) -> None:
    found = settings.require(seat.place)
    address = str(addresses_of(seat.host, found.ranges)[0])
    before = _boot_id(seat)
    if not before:
        # What keeps us out may be its network, which a reboot is to mend.
        say(f"{seat.host}: does not answer by SSH: power off and on")
        supervisor.cut_power(seat)
        start(seat.place, say=say)
        return
    say(f"{seat.host}: rebooting")
    _say_in(seat, "systemctl reboot")
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        # sshd answers for a moment longer: only another boot id means that the host is back.
        ready.until_sshd(seat, address, deadline=deadline)
        if _boot_id(seat) not in ("", before):
            ready.wait(seat, address, docker=not found.bare, timeout_s=90)
            return
        time.sleep(0.3)
    raise LabError(f"{seat.host} did not come back from its reboot", f"look at {seat.console}")


def _boot_id(seat: HostFiles) -> str:
    return _say_in(seat, "cat /proc/sys/kernel/random/boot_id").strip()


def _say_in(seat: HostFiles, command: str) -> str:
    argv = ready.ssh(seat.place, seat.host, command, quick=True)
    return subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
