"""Faults that tests inject into booted hosts, and the checks that end every such test."""

from __future__ import annotations

import difflib
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from zlib import crc32

from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts

QUICK = ("--timeout", "20", "--confirm-window", "15")
"""With these options, a host that is cut off rolls back after 35 s at the latest."""
_LOCKOUT = """name: lockout
hosts: {{h1: {{address: {0}.11}}, h2: {{address: {0}.12}}, h3: {{address: {0}.13}}}}
networks:
  wrong: {{method: routes, cidr: 10.66.0.0/16,
    subnets: {{h1: 10.66.1.0/24, h2: {1}, h3: 10.66.3.0/24}}}}
"""
_LEFTOVERS = r"""
ls -d /var/lib/provision/txn /var/lib/provision/new.* /var/lib/provision/reverting.* \
  /var/lib/provision/confirmed.*/discard.* /run/provision-undo* /run/provision-arm.* \
  /etc/systemd/system/provision-boot* /etc/systemd/system/*/provision-boot* 2>/dev/null
systemctl list-units --plain --no-legend 'provision-act-*' 'provision-revert-*' 'provision-undo-*'
docker ps -a --format '{{.Names}}' | grep 'provision-'
"""
# Wrappers in /usr/local/sbin, which comes before the real programs in PATH. A change syncs its
# journal before each step, so this `sync` can run a fault when a given step begins.
_SYNC = r"""#!/bin/sh
/usr/bin/sync "$@"; status=$?
case $1 in */journal)
  grep -c . "$1" >/run/fault/begun
  [ "$(cat /run/fault/begun)" != "$(cat /run/fault/step)" ] || {
    mv /run/fault/step /run/fault/done; . /run/fault/script; } ;;
esac
exit $status
"""
# The others end the change after the first command of a step, if /run/fault/next exists.
_NEXT = r"""#!/bin/sh
real=$(PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v ${0##*/})
"$real" "$@"; status=$?
[ ! -e /run/fault/next ] || { rm /run/fault/next; systemctl kill -s KILL 'provision-act-*'; }
exit $status
"""
# Not while a follower runs: a shell that begins to read a wrapper when it is removed fails, and an
# `iptables -C` that fails makes the follower add its rule once more.
_REMOVE = """
for lock in /run/provision-*.lock; do
  [ ! -e "$lock" ] || { exec 9<"$lock"; flock -w 30 9; }
done
rm -f"""
_WRAPPED = ("docker", "ip", "iptables", "iptables-restore", "systemctl", "mv")
_SHARP = "--timer-property=AccuracySec=100ms"
KILL_ACT = "/usr/bin/systemctl kill -s KILL 'provision-act-*'"
"""Ends the change before the first command of a step."""
KILL_MIDWAY = "touch /run/fault/next"
"""Ends the change after the first command of a step."""


@dataclass(frozen=True)
class Faults:
    """The hosts of one lab, the faults to inject, and the capture from before the change."""

    hosts: Hosts
    before: dict[str, str]
    ignored: tuple[str, ...] = ()
    """Texts that mark lines of a capture which may differ."""

    def at_step(self, host: str, step: int, script: str) -> None:
        """Have `host` run `script` (shell text) when step `step` (from 1) of a change begins."""
        lines = ["mkdir -p /run/fault /usr/local/sbin; rm -f /run/fault/*"]
        files = {
            "/usr/local/sbin/sync": _SYNC,
            "/run/fault/script": script,
            "/run/fault/step": str(step),
        }
        files |= {f"/usr/local/sbin/{name}": _NEXT for name in _WRAPPED}
        for path, text in files.items():
            # By a rename, since a follower may run the wrapper at this moment.
            lines.append(f"printf %s {shlex.quote(text)} >{path}.new; chmod +x {path}.new")
            lines.append(f"/usr/bin/mv -f {path}.new {path}")
        self.hosts.ssh(host, "; ".join(lines))

    def heal(self) -> None:
        """Remove every fault, without SSH."""
        names = " ".join(f"/usr/local/sbin/{name}" for name in ("sync", *_WRAPPED))
        rules = "iptables -S INPUT | sed -n '/ fault/s/^-A/iptables -D/p' | sh"
        for host in HOSTS:
            self.inside(host, f"rm -rf /run/fault; {rules}; ip link set host0 up")
            self.inside(host, f"{_REMOVE} {names}; umount -q /var/lib/provision; :")

    def inside(self, host: str, script: str) -> str:
        """Run shell text in a host without its network; its stdout."""
        return self.hosts.inside(host, script)

    def path(self, host: str, name: str) -> Path:
        """The path on this machine of a file `name` (without the first /) of a host."""
        return self.hosts.lab.host(host).merged / name

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `provision` with stderr in its stdout, and do not wait for it."""
        program = str(Path(sys.executable).with_name("provision"))
        return subprocess.Popen(
            (program, *arguments),
            cwd=self.hosts.lab.folder,
            env=self.hosts.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A shell starts background jobs with SIGINT ignored, and its children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def states(self, inventory: str) -> dict[str, str]:
        """The state of each host as `status` prints it."""
        states: dict[str, str] = self.hosts.json("status", inventory, status=None)["hosts"]
        return states

    def until(self, inventory: str, done: Callable[[dict[str, str]], bool], within_s: float) -> Any:
        """Repeat `status` until `done` accepts the states; the seconds that this took."""
        begin = time.monotonic()
        while True:
            states = self.states(inventory)
            if done(states):
                return time.monotonic() - begin
            assert time.monotonic() - begin < within_s, states
            time.sleep(0.5)

    def assert_restored(self) -> None:
        """Each host answers a new connection, is as before, and keeps nothing of the change."""
        for host, lines in self.differences().items():
            assert not lines, f"{host}:\n" + "\n".join(lines)
        self.assert_nothing_left()

    def differences(self) -> dict[str, list[str]]:
        """The lines in which each host differs from the capture before the change."""
        after = self.hosts.capture()
        return {
            host: list(difflib.unified_diff(self._lasting(text), self._lasting(after[host]), n=0))
            for host, text in self.before.items()
        }

    def assert_nothing_left(self) -> None:
        """No host has a pending change, a timer or unit of it, or a stashed container."""
        leftovers = self.leftovers()
        assert not any(leftovers.values()), leftovers

    def leftovers(self) -> dict[str, str]:
        """The lines of each host about a change that is pending or has not been cleaned up."""
        return self.hosts.everywhere(_LEFTOVERS, check=False)

    def assert_converges(self, inventory: str) -> None:
        """Another apply makes all changes, and destroy then restores every host."""
        self.hosts.provision("apply", inventory)
        assert self.hosts.json("plan", inventory)["changes"] == []
        assert set(self.states(inventory).values()) <= {"confirmed", "unchanged"}
        self.assert_nothing_left()
        self.hosts.provision("destroy", inventory, "--yes")
        self.assert_restored()

    def _lasting(self, captured: str) -> list[str]:
        """The lines without records of earlier changes and without the containers' mounts."""
        passing = ("/var/lib/provision/confirmed.", "/etc/mtab", *self.ignored)
        return [line for line in captured.splitlines() if not any(text in line for text in passing)]


@contextmanager
def injecting(hosts: Hosts, example: str = "routes.yml") -> Iterator[Faults]:
    """Faults for changes of an example; in the end, heal the hosts and destroy what is left."""
    faults = Faults(hosts, hosts.capture())
    faults.assert_nothing_left()
    try:
        yield faults
    finally:
        power.start(hosts.lab, say=print)
        faults.heal()
        try:
            faults.assert_restored()
        except AssertionError:
            inventory = hosts.inventory(example)
            hosts.provision("recover", inventory, status=None)
            hosts.provision("destroy", inventory, "--yes", status=None)


def reverted(states: dict[str, str]) -> bool:
    """True if every host has rolled its change back."""
    return all(re.fullmatch(r"reverted \(\w+\)", state) for state in states.values())


def heal_in(seconds: int, command: str) -> str:
    """Shell text that makes a fault, and undoes it after `seconds` without the network."""
    undo = command.replace("-I INPUT", "-D INPUT").replace("host0 down", "host0 up")
    # By the wall clock: a daemon-reload restarts the countdown of --on-active.
    at = f'--on-calendar="@$(($(date +%s) + {seconds}))"'
    return f"{command}; systemd-run -q --collect {at} {_SHARP} {undo}"


def until_checked(faults: Faults, run: subprocess.Popen[str]) -> None:
    """Wait until the controller has checked all hosts over new connections, or has exited."""
    files = [faults.path(host, "var/lib/provision/txn/looked") for host in HOSTS]
    while run.poll() is None and not all(file.exists() for file in files):
        time.sleep(0.005)


@contextmanager
def routed_controller(faults: Faults, *, pinned: bool = False) -> Iterator[IPv4Address]:
    """The controller's address while the hosts reach it only through their router.

    No network of the hosts contains the address. `pinned`: each host has a rule for its answers to
    SSH, so that no route of its main table can lead them elsewhere. A rule for all packets would be
    refused: it would take those of the network, too.
    """
    management = faults.hosts.networks[0]
    # One address per lab, as several may run on this machine; .1 would be a gateway of Docker.
    controller = IPv4Address(f"10.66.{16 + crc32(management.encode()) % 200}.77")
    route = _ip("-o", "route", "get", f"{management}.11").split()
    device = route[route.index("dev") + 1]
    ssh = f"to {controller} ipproto tcp sport 22"
    rule = f"rule add {ssh} lookup 66" if pinned else "rule show"
    undo_rule = rule.replace(" add ", " del ")
    for host in HOSTS:
        for table in ("66", "main"):
            faults.inside(host, f"ip route replace default via {management}.254 table {table}")
        faults.inside(host, f"ip {rule}")
    _ip("address", "add", f"{controller}/32", "dev", "lo")
    _ip("route", "replace", f"{management}.0/24", "dev", device, "src", str(controller))
    faults.before.update(faults.hosts.capture())
    try:
        yield controller
    finally:
        _ip("route", "replace", f"{management}.0/24", "dev", device, "src", f"{management}.254")
        _ip("address", "del", f"{controller}/32", "dev", "lo")
        for host in HOSTS:
            faults.inside(host, f"ip route del default; ip route flush table 66; ip {undo_rule}")
        faults.before.update(faults.hosts.capture())


def lockout_inventory(hosts: Hosts, controller: IPv4Address) -> str:
    """An inventory that gives the controller's range to h2, so answers to it go there."""
    target = hosts.lab.folder / "lockout.yml"
    network = IPv4Network(f"{controller}/24", strict=False)
    target.write_text(_LOCKOUT.format(hosts.networks[1], network))
    return target.name


def _ip(*arguments: str) -> str:
    return subprocess.run(("ip", *arguments), check=True, capture_output=True, text=True).stdout
