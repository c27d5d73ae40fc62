"""The DHCP server of a lab: dnsmasq in the lab's namespace, with a fixed lease for each data NIC.

It runs as long as the lab, and ends with it: `supervisor` finds it among the lab's processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from provision.lab import namespace, supervisor
from provision.lab.layout import Lab, addresses_of, mac
from provision.lab.settings import LabSettings
from provision.lab.tools import run, succeeds
from provision.resources.render import render

PACKAGES = {"dnsmasq": "dnsmasq-base"}
"""The program of the server, and the Debian package that contains it."""
LEASE_S = 120
"""Clients renew their leases after half of this time; dnsmasq allows no shorter one."""
_SERVER = 253
"""The last byte of the server's address."""


def configuration(lab: Lab, target: LabSettings) -> str:
    """The text of dnsmasq.conf. Pure."""
    leases = [
        (mac(lab.host(name), "eth1"), addresses_of(name, target.ranges)[1], name)
        for name in target.leased
    ]
    return render(
        "lab/dnsmasq.conf.j2",
        folder=lab.dhcp,
        range=target.ranges.data[0],
        lease_s=LEASE_S,
        leases=leases,
    )


def ensure(lab: Lab, target: LabSettings) -> None:
    """Start the server of a lab with leased addresses; it reads its file again if that changed."""
    if not target.leased:
        return
    lab.dhcp.mkdir(parents=True, exist_ok=True)
    path, text = lab.dhcp / "dnsmasq.conf", configuration(lab, target)
    pids = supervisor.running(lab).dhcp
    if pids and path.exists() and path.read_text() == text:
        return
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    path.write_text(text)
    address = f"{target.ranges.data[_SERVER]}/24"
    namespace.add_address(lab, namespace.BRIDGES[1], address)
    _start(lab, path)


def _start(lab: Lab, path: Path) -> None:
    argv = namespace.inside(lab, "dnsmasq", f"--conf-file={path}")
    if supervisor.by_systemd():
        # A process of this login would end with it where logind has KillUserProcesses=yes.
        unit = f"provision-lab-{lab.tag}-dhcp.service"
        succeeds(("systemctl", "stop", unit))
        run(("systemd-run", "--collect", f"--unit={unit}", *argv))
        return
    null = subprocess.DEVNULL
    subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, start_new_session=True, cwd="/")
