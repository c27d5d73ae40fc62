"""Forces failures in the midst of changes, again and again, and measures how hosts come back.

    sudo .venv/bin/python tests/bench/lockouts.py 34 7    # rounds of failures, rounds of reboots

Each round is a failure of all three hosts of a mixed lab, the next kind of failure in the next
round: a wrong route to the controller, a killed controller, a dropped port 22, a killed host.
Printed is for each kind how many hosts came back, and how many seconds after their deadline (after
the order to start, for killed and rebooted ones) a new SSH connection was served, and one saw the
change undone. A host that does not come back ends it with its name.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from provision.lab import bringup, power, teardown
from provision.lab.layout import Lab
from provision.lab.settings import UpOptions
from tests.lab.conftest import Hosts
from tests.lab.faults import (
    HOSTS,
    QUICK,
    Faults,
    faults,
    seen_from_afar,
    towards,
    until_looked,
)
from tests.lab.free import free_ranges

SEEN = "[ ! -d /var/lib/provision/reverted.{0} ] || iptables-save | grep -q PROV- || echo undone"
LEFT = """now=$(date +%s%3N)
left=$(($(cat /var/lib/provision/txn/deadline) * 1000 - now))
sleep "$((left / 1000)).$(printf %03d $((left % 1000)))"
rm /run/opens
"""
"""Waits for the deadline of the change under way, to the millisecond."""
WAIT_S = 150
LOCKED_OUT_S = 3.0
"""How long before its deadline a host is shown to be out of reach."""


@dataclass(frozen=True)
class Came:
    """Seconds until a host served a new connection, and until one saw the change undone."""

    served: float
    undone: float

    def __str__(self) -> str:
        return f"{self.served:.1f} s ({self.undone:.1f} s)"


def main() -> None:
    """Boot a lab, force the failures, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the lab is taken down
    parser.add_argument("failures", type=int, nargs="?", default=34)
    parser.add_argument("reboots", type=int, nargs="?", default=7)
    given = parser.parse_args()
    place = Lab(Path(tempfile.mkdtemp(prefix="provision-lockouts-", dir="/var/tmp")))
    try:
        bringup.up(place, UpOptions(3, "mixed", False, free_ranges(place)), say=lambda _text: None)
        campaign(Hosts(place), given.failures, given.reboots)
    finally:
        teardown.down(place, say=lambda _text: None)
        shutil.rmtree(place.folder)


def campaign(hosts: Hosts, failures: int, reboots: int) -> None:
    """All rounds; a host that does not come back ends it with its name."""
    kinds = [wrong_route, killed_controller, dropped_port, killed_host]
    rounds = [kinds[number % len(kinds)] for number in range(failures)] + [rebooted] * reboots
    took: dict[str, list[Came]] = {}
    for number, kind in enumerate(rounds):
        with faults(hosts) as hurt:
            came = kind(hurt)
            took.setdefault(kind.__name__, []).extend(came)
            said = ", ".join(map(str, came))
            print(f"{number + 1}/{len(rounds)} {kind.__name__}: {said}", flush=True)
            # The record of the change is all that is left of it.
            hurt.assert_old()
    print(f"machine: {os.cpu_count()} cores, load {os.getloadavg()[2]:.0f}")
    for name, every in took.items():
        served, undone = ([getattr(each, what) for each in every] for what in ("served", "undone"))
        print(
            f"{name}: {len(every)} hosts, 0 lost; served {spread(served)}; undone {spread(undone)}"
        )


def spread(seconds: list[float]) -> str:
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    return f"{low:.1f}/{middle:.1f}/{high:.1f} s (least, median, most)"


def change(hurt: Faults, host: str) -> tuple[str, float]:
    """The change that has just been armed on a host, and its deadline by the host's own clock."""
    (folder,) = [hurt.path(host, "var/lib/provision/txn")]
    until(lambda: (folder / "deadline").exists(), f"{host} is not armed")
    return (folder / "id").read_text().strip(), float((folder / "deadline").read_text())


def until(done: Callable[[], bool], otherwise: str) -> None:
    begin = time.monotonic()
    while not done():
        if time.monotonic() - begin > WAIT_S:
            raise SystemExit(otherwise)
        time.sleep(0.005)


def after_deadlines(hurt: Faults, *, locked_out: bool) -> list[Came]:
    """How the hosts come back after the deadlines of the change that is under way."""

    def wait(host: str) -> Came:
        change_id, deadline = change(hurt, host)
        if locked_out:
            time.sleep(max(0.0, deadline - LOCKED_OUT_S - time.time()))
            if answers(hurt, host):
                raise SystemExit(f"{host} was never locked out")
        time.sleep(max(0.0, deadline - time.time()))
        return came_back(hurt, host, change_id, deadline)

    with ThreadPoolExecutor(len(HOSTS)) as pool:
        return list(pool.map(wait, HOSTS))


def came_back(hurt: Faults, host: str, change_id: str, since: float) -> Came:
    """Connect anew, again and again; a try that gets no answer does not hold up the next one."""
    config = str(hurt.hosts.place.ssh_config)
    argv = ("ssh", "-F", config, host, f"date +%s.%N; {SEEN.format(change_id)}")
    served: float | None = None
    begin = time.monotonic()
    while time.monotonic() - begin < WAIT_S:
        if answers(hurt, host):
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
                said = done.stdout.split()
                if done.returncode == 0 and said:
                    # Both by the end of a connection, as its user has it.
                    served = served or time.time() - since
                    if "undone" in said:
                        return Came(served, time.time() - since)
        time.sleep(0.1)
    raise SystemExit(f"{host} did not come back")


def answers(hurt: Faults, host: str) -> bool:
    """Whether its sshd says anything to a new connection."""
    address = f"{hurt.hosts.networks[0]}.{10 + int(host[1:])}"
    try:
        with socket.create_connection((address, 22), timeout=0.5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wrong_route(hurt: Faults) -> list[Came]:
    """A network takes the range in which we are: answers to us go to another host."""
    with seen_from_afar(hurt) as us:
        run = hurt.start("apply", towards(hurt.hosts, us), *QUICK)
        came = after_deadlines(hurt, locked_out=True)
        said, _ = run.communicate(timeout=WAIT_S)
        assert "confirmed" not in said, said
        hurt.assert_old()
    return came


def killed_controller(hurt: Faults) -> list[Came]:
    """Made everywhere and looked at, and nobody comes back to confirm."""
    inventory = hurt.hosts.inventory("routes.yml")
    run = hurt.start("apply", inventory, "--manual", *QUICK)
    until_looked(hurt, run)
    run.send_signal(signal.SIGKILL)
    run.wait()
    return after_deadlines(hurt, locked_out=False)


def dropped_port(hurt: Faults) -> list[Came]:
    """Port 22 is dropped while the change is made; it opens again when the deadline comes."""
    inventory = hurt.hosts.inventory("routes.yml")
    for host in HOSTS:
        rule = "INPUT -p tcp --dport 22 -m comment --comment fault -j DROP"
        hurt.hosts.ssh(host, f"cat >/run/opens <<'@end'\n{LEFT}iptables -D {rule}\n@end")
        run = "systemd-run -q --collect sh /run/opens"
        hurt.at_step(host, 8, f"iptables -I {rule}; {run}")
    process = hurt.start("apply", inventory, *QUICK)
    came = after_deadlines(hurt, locked_out=True)
    process.communicate(timeout=WAIT_S)
    return came


def killed_host(hurt: Faults) -> list[Came]:
    """The power goes before the confirmation, and comes back."""
    return _restarted(hurt, lambda host: power.cut_power(hurt.hosts.place, host))


def rebooted(hurt: Faults) -> list[Came]:
    """A reboot before the confirmation."""
    return _restarted(hurt, lambda host: hurt.inside(host, "systemctl --no-block reboot"))


def _restarted(hurt: Faults, end: Callable[[str], object]) -> list[Came]:
    inventory = hurt.hosts.inventory("routes.yml")
    hurt.hosts.provision("apply", inventory, "--manual", "--confirm-window", "3600")
    ids = {host: change(hurt, host)[0] for host in HOSTS}
    begin = time.time()
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        list(pool.map(end, HOSTS))
    if end.__qualname__.startswith("killed_host"):
        begin = time.time()
        power.start(hurt.hosts.place, say=lambda _text: None)
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        return list(pool.map(lambda host: came_back(hurt, host, ids[host], begin), HOSTS))


if __name__ == "__main__":
    main()
