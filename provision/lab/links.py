"""`link`: makes the lines to lab hosts bad, and good again.

Loss and rate are given to the outer ends of the NICs, so the host is not changed. A delay needs
netem: of this machine's kernel, or of the host's own.
"""

from __future__ import annotations

import shlex
import subprocess

from provision.lab import kernels, power, ready
from provision.lab.layout import NICS, Lab, LabHost
from provision.lab.line import Command, Line, commands, delay, netem, undo
from provision.lab.lock import locked
from provision.lab.parallel import each
from provision.lab.tools import require_root, run, succeeds
from provision.model.errors import LabError

# Deletes no queue that somebody else made.
_NO_DELAY = "if tc qdisc show dev {nic} root | grep -q ' netem '; then {delete}; fi"


def change(lab: Lab, names: tuple[str, ...], line: Line, nics: tuple[str, ...] = NICS) -> None:
    """Give the NICs of running hosts this line, instead of the one they have. Raises LabError."""
    require_root("link")
    with locked(lab):
        for name in names:
            power.require_on(lab, name)
        each(names, lambda name: _change(lab.host(name), line, nics))


def _change(host: LabHost, line: Line, nics: tuple[str, ...]) -> None:
    for nic in nics:
        clear(host, nic)
    in_lab = _lab_has_netem(host)
    if not in_lab and kernels.machine_of(host.lab).own_kernel:
        # Before the line is bad: the host is asked over it.
        _delay_on_host(host, line, nics)
    elif not in_lab and line.delay_ms:
        raise LabError(
            "the kernel of this machine has no netem, which --delay needs",
            "boot hosts with a kernel of their own: provision lab up --kernel uml",
        )
    for nic in nics if line != Line() else ():
        for command in commands(host.outer(nic), host.ifb(nic), line):
            run(_inside(host.lab, command))
        if in_lab and line.delay_ms:
            run(_inside(host.lab, delay(host.ifb(nic), line)))


def clear(host: LabHost, nic: str) -> None:
    """Remove loss, rate and a delay by this machine's kernel from a NIC."""
    for command in undo(host.outer(nic), host.ifb(nic)):
        succeeds(_inside(host.lab, command))


def _lab_has_netem(host: LabHost) -> bool:
    """True if this machine's kernel can delay packets."""
    probe, ifb = host.ifb("host0"), ("type", "ifb")
    run(_inside(host.lab, ("ip", "link", "add", "name", probe, *ifb)))
    try:
        return succeeds(_inside(host.lab, delay(probe, Line(delay_ms=1))))
    finally:
        run(_inside(host.lab, ("ip", "link", "delete", "dev", probe)))


def _delay_on_host(host: LabHost, line: Line, nics: tuple[str, ...]) -> None:
    """Let the host's own kernel delay what it sends by its NICs."""
    steps = ["set -e"]
    for nic in nics:
        target = ("dev", nic, "root")
        if line.delay_ms:
            steps.append("modprobe sch_netem")
            steps.append(shlex.join(("tc", "qdisc", "replace", *target, *netem(line))))
        else:
            delete = shlex.join(("tc", "qdisc", "delete", *target))
            steps.append(_NO_DELAY.format(nic=nic, delete=delete))
    argv = ready.ssh(host.lab, host.name, "\n".join(steps), quick=True)
    process = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if process.returncode:
        reason = process.stderr.strip()[-300:]
        raise LabError(f"{host.name}: its delay could not be changed: {reason}")


def _inside(lab: Lab, command: Command) -> Command:
    """The command line for the lab's namespace."""
    return (command[0], "-n", lab.namespace, *command[1:])
