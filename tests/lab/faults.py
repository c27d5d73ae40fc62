"""Faults for booted hosts, put in from outside, and the oracle that every one of them ends with."""

from __future__ import annotations

import difflib
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
from tests.lab.conftest import Hosts

HOSTS = ("h1", "h2", "h3")
QUICK = ("--timeout", "20", "--confirm-window", "15")
"""A host of which nothing is heard undoes the change at the latest after 35 s."""
_TOWARDS = """name: lockout
hosts: {{h1: {{address: {0}.11}}, h2: {{address: {0}.12}}, h3: {{address: {0}.13}}}}
networks:
  wrong: {{method: routes, cidr: 10.66.0.0/16,
    subnets: {{h1: 10.66.1.0/24, h2: {1}, h3: 10.66.3.0/24}}}}
"""
LEFT = r"""
ls -d /var/lib/provision/txn /var/lib/provision/new.* /var/lib/provision/reverting.* \
  /var/lib/provision/confirmed.*/discard.* /run/provision-undo* \
  /etc/systemd/system/provision-boot* /etc/systemd/system/*/provision-boot* 2>/dev/null
systemctl list-units --plain --no-legend 'provision-act-*' 'provision-revert-*' 'provision-undo-*'
docker ps -a --format '{{.Names}}' | grep 'provision-'
"""
# Every command of a change goes through one of these, on the path before the real ones. The sync
# of the journal comes before each step; `next` ends the change after the first command of it.
_SYNC = r"""#!/bin/sh
/usr/bin/sync "$@"; status=$?
case $1 in */journal)
  grep -c . "$1" >/run/fault/begun
  [ "$(cat /run/fault/begun)" != "$(cat /run/fault/step)" ] || {
    mv /run/fault/step /run/fault/done; . /run/fault/what; } ;;
esac
exit $status
"""
_NEXT = r"""#!/bin/sh
real=$(PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v ${0##*/})
"$real" "$@"; status=$?
[ ! -e /run/fault/next ] || { rm /run/fault/next; systemctl kill -s KILL 'provision-act-*'; }
exit $status
"""
WRAPPED = ("docker", "ip", "iptables", "iptables-restore", "systemctl", "mv")
KILL_ACT = "/usr/bin/systemctl kill -s KILL 'provision-act-*'"
KILL_MIDST = "touch /run/fault/next"


@dataclass(frozen=True)
class Faults:
    """One lab whose hosts are hurt, and how they were before."""

    hosts: Hosts
    before: dict[str, str]
    ignored: tuple[str, ...] = ()
    """What lines of a capture may hold that differ in any case."""

    def at_step(self, host: str, step: int, what: str) -> None:
        """Have `what` (shell text) happen on `host` when step `step` (from 1) begins."""
        lines = ["mkdir -p /run/fault /usr/local/sbin; rm -f /run/fault/*"]
        files = {
            "/usr/local/sbin/sync": _SYNC,
            "/run/fault/what": what,
            "/run/fault/step": str(step),
        }
        files |= {f"/usr/local/sbin/{name}": _NEXT for name in WRAPPED}
        lines += [f"printf %s {shlex.quote(text)} >{path}" for path, text in files.items()]
        self.hosts.ssh(host, "; ".join([*lines, "chmod +x /usr/local/sbin/*"]))

    def heal(self) -> None:
        """Take every fault away, past SSH."""
        names = " ".join(f"/usr/local/sbin/{name}" for name in ("sync", *WRAPPED))
        rules = "iptables -S INPUT | sed -n '/ fault/s/^-A/iptables -D/p' | sh"
        for host in HOSTS:
            self.inside(host, f"rm -rf /run/fault {names}; {rules}; ip link set host0 up")
            self.inside(host, "umount -q /var/lib/provision; :")

    def inside(self, host: str, text: str) -> str:
        """Run shell text in a host without its network."""
        return self.hosts.inside(host, text)

    def path(self, host: str, name: str) -> Path:
        """What lies on a host's disk, seen from the machine."""
        return self.hosts.place.host(host).merged / name

    def start(self, *words: str) -> subprocess.Popen[str]:
        """`provision` with these words, not waited for."""
        program = str(Path(sys.executable).with_name("provision"))
        return subprocess.Popen(
            (program, *words),
            cwd=self.hosts.place.folder,
            env=self.hosts.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Where the tests run in a shell's background, the signal is ignored from birth.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def states(self, inventory: str) -> dict[str, str]:
        """What `status` says of each host."""
        found: dict[str, str] = self.hosts.json("status", inventory, status=None)["hosts"]
        return found

    def until(self, inventory: str, done: Callable[[dict[str, str]], bool], within_s: float) -> Any:
        """Ask for the states until they are as wanted; how long that took."""
        begin = time.monotonic()
        while True:
            states = self.states(inventory)
            if done(states):
                return time.monotonic() - begin
            assert time.monotonic() - begin < within_s, states
            time.sleep(0.5)

    def assert_old(self) -> None:
        """Every host answers a new connection, is as it was, and keeps nothing of the change."""
        after = self.hosts.capture()
        for host in self.before:
            diff = difflib.unified_diff(
                self._lasting(self.before[host]), self._lasting(after[host]), n=0
            )
            assert not (lines := list(diff)), f"{host}:\n" + "\n".join(lines)
        self.assert_nothing_left()

    def assert_nothing_left(self) -> None:
        """No change under way, no timer, no unit, nothing put aside."""
        left = {host: self.hosts.ssh(host, LEFT, check=False) for host in HOSTS}
        assert not any(left.values()), left

    def assert_converges(self, inventory: str) -> None:
        """Another apply reaches the goal; what destroy leaves is how it was before."""
        self.hosts.provision("apply", inventory)
        assert self.hosts.json("plan", inventory)["changes"] == []
        assert set(self.states(inventory).values()) <= {"confirmed", "unchanged"}
        self.assert_nothing_left()
        self.hosts.provision("destroy", inventory, "--yes")
        self.assert_old()

    def _lasting(self, captured: str) -> list[str]:
        """Without what a record says of an earlier change, and the mounts of each container."""
        passing = ("/var/lib/provision/confirmed.", "/etc/mtab", *self.ignored)
        return [line for line in captured.splitlines() if not any(word in line for word in passing)]


@contextmanager
def faults(hosts: Hosts, example: str = "routes.yml") -> Iterator[Faults]:
    """Hosts to hurt by changes of an example; healed and given back as they were afterwards."""
    found = Faults(hosts, hosts.capture())
    found.assert_nothing_left()
    try:
        yield found
    finally:
        power.start(hosts.place, say=print)
        found.heal()
        try:
            found.assert_old()
        except AssertionError:
            inventory = hosts.inventory(example)
            hosts.provision("recover", inventory, status=None)
            hosts.provision("destroy", inventory, "--yes", status=None)


def until_looked(hurt: Faults, run: subprocess.Popen[str]) -> None:
    """Wait until all hosts have been looked at over new connections, or a run has ended."""
    files = [hurt.path(host, "var/lib/provision/txn/looked") for host in HOSTS]
    while run.poll() is None and not all(file.exists() for file in files):
        time.sleep(0.005)


@contextmanager
def seen_from_afar(hurt: Faults, *, kept: bool = False) -> Iterator[IPv4Address]:
    """The hosts reach us by their router only, at an address that no network of theirs holds.

    `kept`: by a rule of their own, so that no route of the main table can lead away from us.
    """
    management = hurt.hosts.networks[0]
    # Each lab has its own, as several may run on this machine; .1 would be a gateway of Docker.
    us = IPv4Address(f"10.66.{16 + crc32(management.encode()) % 200}.77")
    way = _ip("-o", "route", "get", f"{management}.11").split()
    device = way[way.index("dev") + 1]
    rule = f"rule add to {us} lookup 66" if kept else "rule show"
    gone = rule.replace(" add ", " del ")
    for host in HOSTS:
        for table in ("66", "main"):
            hurt.inside(host, f"ip route replace default via {management}.254 table {table}")
        hurt.inside(host, f"ip {rule}")
    _ip("address", "add", f"{us}/32", "dev", "lo")
    _ip("route", "replace", f"{management}.0/24", "dev", device, "src", str(us))
    hurt.before.update(hurt.hosts.capture())
    try:
        yield us
    finally:
        _ip("route", "replace", f"{management}.0/24", "dev", device, "src", f"{management}.254")
        _ip("address", "del", f"{us}/32", "dev", "lo")
        for host in HOSTS:
            hurt.inside(host, f"ip route del default; ip route flush table 66; ip {gone}")
        hurt.before.update(hurt.hosts.capture())


def towards(hosts: Hosts, us: IPv4Address) -> str:
    """An inventory by which h2 has the range in which we are, so that answers to us go there."""
    target = hosts.place.folder / "lockout.yml"
    target.write_text(_TOWARDS.format(hosts.networks[1], IPv4Network(f"{us}/24", strict=False)))
    return target.name


def _ip(*words: str) -> str:
    return subprocess.run(("ip", *words), check=True, capture_output=True, text=True).stdout
