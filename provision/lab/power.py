"""Power of single hosts: reboot, power off and on, cut the power. Tests use it, too."""

from __future__ import annotations

import subprocess
import time
from ipaddress import IPv4Address

from provision.lab import kernels, ready, settings, supervisor
from provision.lab.bringup import Say, up
from provision.lab.layout import Lab, LabHost, addresses_of
from provision.lab.parallel import each
from provision.lab.settings import LabSettings, UpOptions
from provision.lab.tools import require_root
from provision.model.errors import LabError


def addresses(lab: Lab) -> dict[str, tuple[IPv4Address, IPv4Address]]:
    """Each host's addresses for SSH and for the containers' traffic."""
    current = settings.require(lab)
    return {name: addresses_of(name, current.ranges) for name in current.hosts}


def states(lab: Lab) -> dict[str, str]:
    """The state of each host: `up` or `off`."""
    machines = supervisor.running(lab).machines
    return {name: "up" if name in machines else "off" for name in settings.require(lab).hosts}


def kernel_names(lab: Lab) -> dict[str, str]:
    """The kernel of each host."""
    machine = kernels.machine_of(lab)
    return {name: machine.kernel(lab.host(name)) for name in settings.require(lab).hosts}


def reboot(lab: Lab, names: tuple[str, ...], *, say: Say) -> None:
    """Reboot hosts and wait until they are back. Raises LabError, also for a host that is off."""
    for name in names:
        require_on(lab, name)
    each(names, lambda name: _reboot(lab.host(name), say))


def poweroff(lab: Lab, name: str) -> None:
    """Shut a host down cleanly; it stays off until `start`."""
    require_on(lab, name)
    _ssh_output(lab.host(name), "systemctl poweroff")
    supervisor.wait_until_off(lab.host(name))


def cut_power(lab: Lab, *names: str) -> None:
    """End hosts at once, like a power cut; they stay off until `start`."""
    require_root("power-cut")
    for name in names:
        require_on(lab, name)
    for name in names:
        supervisor.cut_power(lab.host(name))


def start(lab: Lab, *, say: Say) -> dict[str, str]:
    """Start the hosts that are off; return the boot id of every host."""
    return up(lab, UpOptions(), say=say)


def require_on(lab: Lab, name: str) -> None:
    """Raise LabError for a host that is off, or is not one of this lab."""
    state_by_host = states(lab)
    if name not in state_by_host:
        raise LabError(f"no host {name} in this lab", f"its hosts: {', '.join(state_by_host)}")
    if state_by_host[name] == "off":
        raise LabError(f"{name} is off", "start it: provision lab up")


def _reboot(host: LabHost, say: Say) -> None:
    before = _boot_id(host)
    if before:
        say(f"{host.name}: rebooting")
        _ssh_output(host, "systemctl reboot")
        _wait_for_new_boot(host, settings.require(host.lab), before)
        return
    # Its network may be what the reboot is to repair, so do without SSH.
    say(f"{host.name}: no answer by SSH, powering it off and on")
    supervisor.cut_power(host)
    start(host.lab, say=say)


def _wait_for_new_boot(host: LabHost, current: LabSettings, before: str) -> None:
    address, data = map(str, addresses_of(host.name, current.ranges))
    limit_s = 90 * kernels.machine_of(host.lab).slowness
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        # While the host shuts down, sshd still answers: only a new boot id proves the reboot.
        ready.until_sshd(host, address, deadline=deadline)
        if _boot_id(host) not in ("", before):
            lease = data if host.name in current.leased else ""
            ready.wait(host, address, docker=not current.bare, lease=lease, timeout_s=limit_s)
            return
        time.sleep(0.3)
    raise LabError(
        f"{host.name} did not come back from its reboot", f"see its console in {host.console}"
    )


def _boot_id(host: LabHost) -> str:
    """The host's boot id; empty when SSH fails."""
    return _ssh_output(host, "cat /proc/sys/kernel/random/boot_id").strip()


def _ssh_output(host: LabHost, command: str) -> str:
    argv = ready.ssh(host.lab, host.name, command, quick=True)
    return subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
