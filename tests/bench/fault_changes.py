"""The steps of a sequence on booted hosts: changes, and the faults during or between them."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from provision.lab import power
from provision.model.errors import LabError
from tests.bench import fault_variants
from tests.bench.fault_oracle import NOTHING, Run
from tests.bench.fault_sequences import Step
from tests.bench.fault_site import Site
from tests.bench.fault_variants import FILE
from tests.lab.faults import KILL_ACT, KILL_MIDWAY
from tests.lab.hosts import HOSTS

PROVISION = str(Path(sys.executable).with_name("provision"))
RUN_S = 900
"""Seconds after which a change must have ended by itself."""
SHORT = ("--confirm-window", "15", "--timeout")
TIMEOUT_S = {
    "flannel-vxlan": "60",
    "ovs-gre": "60",
    "ovs-vxlan": "60",
    "wireguard": "60",
    "bgp": "60",
}
"""`--timeout` of changes that are disturbed, by method; 30 for the others."""
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM}
PHASE_FILES = {"armed": "txn/id", "acting": "txn/journal", "checked": "txn/looked"}
"""The file below /var/lib/provision that appears on a host when a phase begins."""

# The disk of /var/lib/provision becomes a small one. Its files move there and back.
_SMALL_DISK = """mkdir -p -m 700 /var/lib/provision; rm -rf /run/kept
cp -a /var/lib/provision /run/kept; size=$(($(du -sk /run/kept | cut -f1) + 300))
mount -t tmpfs -o size=${size}k,mode=700 none /var/lib/provision
cp -a /run/kept/. /var/lib/provision/; rm -rf /run/kept"""
_FILL = "dd if=/dev/zero of=/var/lib/provision/fill bs=1k 2>/dev/null; :"
_FREE_DISK = """mountpoint -q /var/lib/provision || exit 0
rm -f /var/lib/provision/fill; rm -rf /run/kept; cp -a /var/lib/provision /run/kept
umount -l /var/lib/provision
find /var/lib/provision -mindepth 1 -delete
cp -a /run/kept/. /var/lib/provision/; rm -rf /run/kept
rmdir /var/lib/provision 2>/dev/null; :"""
_OURS = "ip -o -4 address show | awk '{print $2, $4}' | grep -E '^(%s) '"
_OUR_ROUTE = re.compile(r"(\S+) .*\bproto (240|186)\b")
"""A line of `ip -N route`: ours, or of BGP, which the kernel numbers 186."""
_NETWORK_OF = (
    "docker inspect -f '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}'"
)
_STOP = {
    "docker": "systemctl stop docker.socket docker",
    "follower": "systemctl stop 'provision-*-follow.service'",
}
_DOCKER = {"restart": "systemctl restart docker", "SIGKILL": "kill -9 $(cat /run/docker.pid)"}


def make_change(site: Site, step: Step, target: str, *, restart_docker: bool) -> tuple[Run, str]:
    """Make the change of a step, with its fault; the second part of the result is its output."""
    _prepare(site, step)
    records, boots = _confirmed(site), site.boot_ids()
    verb = "destroy" if target == NOTHING else "apply"
    options: tuple[str, ...] = ("--yes", "--json")
    if target != NOTHING:
        fault_variants.write(site.hosts, site.method, target)
        options += ("--restart-docker",) if restart_docker else ()
    if step.fault:
        options += (*SHORT, TIMEOUT_S.get(site.method, "30"))
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        with _started(site, (verb, FILE, *options), stdout, stderr) as process:
            _wait_for_phase(site, step, process, records)
            _fault_during(site, step, process)
            process.wait(timeout=RUN_S)
        stdout.seek(0)
        stderr.seek(0)
        output, errors = stdout.read(), stderr.read()
    _end(site, step, boots)
    text = f"provision {verb}: exit status {process.returncode}\n{output}\n{errors}"
    return _result(step, target, process.returncode, output), text


@contextlib.contextmanager
def _started(
    site: Site, arguments: tuple[str, ...], stdout: IO[str], stderr: IO[str]
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        (PROVISION, *arguments),
        cwd=site.hosts.lab.folder,
        env=site.hosts.environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        # A shell starts background jobs with SIGINT ignored, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _result(step: Step, target: str, status: int, output: str) -> Run:
    """What a change reported; a controller that was killed reports nothing."""
    told: dict[str, str] = {}
    messages = ""
    with contextlib.suppress(json.JSONDecodeError):
        report = json.loads(output)
        told = report.get("hosts", {})
        errors = report.get("errors", [])
        messages = "; ".join(f"{error.get('host')}: {error['message']}" for error in errors)
    # At the start, Python has no handler yet, and a signal ends the process at once.
    ended = status == -signal.SIGKILL or (step.phase == "start" and status < 0)
    return Run(
        target,
        None if ended else status,
        told,
        faulted=bool(step.fault),
        # Both may come between the confirmations of two hosts.
        may_differ=step.kills_controller or step.kind == "reboot",
        errors=messages[:800],
    )


def _prepare(site: Site, step: Step) -> None:
    """Faults that wait for the change on its hosts."""
    for host in step.hosts:
        if step.kind == "disk":
            site.hosts.ssh(host, _SMALL_DISK)
            if not step.operation:
                site.hosts.ssh(host, _FILL)
        if step.operation:
            midway = KILL_MIDWAY if "within" in step.fault else KILL_ACT
            site.faults.at_step(host, step.operation, _FILL if step.kind == "disk" else midway)


def _end(site: Site, step: Step, boots: dict[str, str]) -> None:
    """Undo the fault of a step that must not outlast it; wait for hosts that reboot."""
    if step.kind == "disk":
        for host in step.hosts:
            site.inside(host, _FREE_DISK)
    if step.operation:
        site.faults.heal()
    if step.kind == "reboot":
        site.wait_until_up({host: boots[host] for host in step.hosts})
    if step.ending == "recover":
        site.hosts.provision("recover", FILE, status=None)


def _confirmed(site: Site) -> set[Path]:
    folders = (site.faults.path(host, "var/lib/provision") for host in HOSTS)
    found: set[Path] = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            found.update(folder.glob("confirmed.*"))
    return found


def _wait_for_phase(
    site: Site, step: Step, process: subprocess.Popen[str], confirmed: set[Path]
) -> None:
    """Wait until a phase of the change has begun on any host, and then for the delay."""
    while step.phase and process.poll() is None and not _has_begun(site, step.phase, confirmed):
        time.sleep(0.002)
    until = time.monotonic() + step.delay_s
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)


def _has_begun(site: Site, phase: str, confirmed: set[Path]) -> bool:
    if phase == "start":
        return True
    if phase == "confirming":
        return bool(_confirmed(site) - confirmed)
    name = PHASE_FILES[phase]
    return any(site.faults.path(host, f"var/lib/provision/{name}").exists() for host in HOSTS)


def _fault_during(site: Site, step: Step, process: subprocess.Popen[str]) -> None:
    if step.kills_controller and process.poll() is None:
        process.send_signal(SIGNALS[step.fault.split()[0]])
    elif step.kind in ("reboot", "docker"):
        make_fault(site, step)


def make_fault(site: Site, step: Step) -> dict[str, str]:
    """Make a fault on the hosts of a step; what was done on each, "" for nothing."""
    with ThreadPoolExecutor() as pool:
        done = pool.map(lambda host: _make_fault(site, step, host), step.hosts)
        return dict(zip(step.hosts, done, strict=True))


def _make_fault(site: Site, step: Step, host: str) -> str:
    if step.kind == "reboot":
        return _reboot(site, step, host)
    command = _command(site, step, host)
    if command:
        site.inside(host, command)
    return command


def _reboot(site: Site, step: Step, host: str) -> str:
    if step.fault == "power cut":
        with contextlib.suppress(LabError):  # it may be off at this moment
            power.cut_power(site.hosts.lab, host)
        return "power cut"
    command = "systemctl --no-block reboot"
    site.inside(host, command)
    return command


def _command(site: Site, step: Step, host: str) -> str:
    """The shell line of a fault on a host; "" if there is nothing that it could hit."""
    match step.kind:
        case "docker":
            return _DOCKER[step.fault]
        case "stop":
            return _STOP[step.fault]
        case "flush":
            return f"iptables -t {step.fault} -F"
        case "link":
            name = _name_at(_devices(site, host, step.fault), step.choice)
            return name and f"ip link delete {name}"
    return _drift(site, step, host)


def _drift(site: Site, step: Step, host: str) -> str:
    match step.fault:
        case "route":
            lines = site.inside(host, "ip -N -o route show").splitlines()
            routes = [
                match.expand(r"\1 proto \2") for match in map(_OUR_ROUTE.match, lines) if match
            ]
            route = _name_at(routes, step.choice)
            return route and f"ip route delete {route}"
        case "address":
            names = "|".join(_devices(site, host, "device")) or "-"
            lines = site.inside(host, _OURS % names).splitlines()
            device, _, address = _name_at(lines, step.choice).partition(" ")
            return address and f"ip address delete {address} dev {device}"
    name = _name_at(site.inside(host, "docker ps --format '{{.Names}}'").split(), step.choice)
    if step.fault == "disconnect":
        networks = site.inside(host, f"{_NETWORK_OF} {name}").split() if name else []
        network = _name_at([n for n in networks if n not in ("host", "none")], step.choice)
        return network and f"docker network disconnect {network} {name}"
    command = "docker rm -f" if step.fault == "container" else "docker stop -t 0"
    return name and f"{command} {name}"


def _devices(site: Site, host: str, fault: str) -> list[str]:
    """The interfaces of a host that were not there before the sequence."""
    names = sorted(set(site.inside(host, "ls /sys/class/net").split()) - set(site.links[host]))
    return [name for name in names if name.startswith("veth") == (fault == "veth")]


def _name_at(names: list[str], choice: float) -> str:
    """The name at `choice` (from 0 to 1) of a list; "" for an empty one."""
    return names[min(int(choice * len(names)), len(names) - 1)] if names else ""
