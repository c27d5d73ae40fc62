"""Forces failures during changes, again and again, and measures how the hosts come back.

    sudo .venv/bin/python tests/bench/lockouts.py 34 7    # rounds of failures, rounds of reboots

Each round is one failure of all three hosts of a mixed lab. The kinds of failure take turns: a
wrong route to the controller, a killed controller, a dropped port 22, a killed host. For each kind,
the last lines say how many hosts came back, how many seconds later a new SSH connection was served,
and how many seconds later a connection saw the change undone. The seconds count from the host's
deadline, for killed and rebooted hosts from the order to start. If a host does not come back, the
program exits and names it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from provision.lab import power
from tests.bench.temporary_lab import temporary_lab
from tests.lab.faults import (
    QUICK,
    Faults,
    injecting,
    lockout_inventory,
    routed_controller,
    until_checked,
)
from tests.lab.hosts import HOSTS, Hosts

SHOW_UNDONE = (
    "[ ! -d /var/lib/provision/reverted.{0} ] || iptables-save | grep -q PROV- || echo undone"
)
AT_DEADLINE = """now=$(date +%s%3N)
left=$(($(cat /var/lib/provision/txn/deadline) * 1000 - now))
sleep "$((left / 1000)).$(printf %03d $((left % 1000)))"
rm /run/open-port
"""
"""Shell text that waits for the deadline of the pending change, to the millisecond."""
WAIT_S = 150
LOCKED_OUT_S = 3.0
"""Seconds before its deadline at which a host must not answer."""


@dataclass(frozen=True)
class Recovery:
    """Seconds until a host served a new connection, and until one saw the change undone."""

    served: float
    undone: float

    def __str__(self) -> str:
        return f"{self.served:.1f} s ({self.undone:.1f} s)"


def main() -> None:
    """Boot a lab, force the failures, print the results, take the lab down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("failures", type=int, nargs="?", default=34)
    parser.add_argument("reboots", type=int, nargs="?", default=7)
    options = parser.parse_args()
    with temporary_lab(3, "mixed") as hosts:
        campaign(hosts, options.failures, options.reboots)


def campaign(hosts: Hosts, failures: int, reboots: int) -> None:
    """Run all rounds and print the results. Exits at the first host that does not come back."""
    kinds = [wrong_route, killed_controller, dropped_port, killed_host]
    rounds = [kinds[number % len(kinds)] for number in range(failures)] + [rebooted] * reboots
    results: dict[str, list[Recovery]] = {}
    for number, kind in enumerate(rounds):
        with injecting(hosts) as faults:
            recoveries = kind(faults)
            results.setdefault(kind.__name__, []).extend(recoveries)
            text = ", ".join(map(str, recoveries))
            print(f"{number + 1}/{len(rounds)} {kind.__name__}: {text}", flush=True)
            faults.assert_restored()
    print(f"machine: {os.cpu_count()} cores, load {os.getloadavg()[2]:.0f}")
    for name, recoveries in results.items():
        served = spread([recovery.served for recovery in recoveries])
        undone = spread([recovery.undone for recovery in recoveries])
        print(f"{name}: {len(recoveries)} hosts, 0 lost; served {served}; undone {undone}")


def spread(seconds: list[float]) -> str:
    """The smallest, the median and the largest value."""
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    return f"{low:.1f}/{middle:.1f}/{high:.1f} s (smallest, median, largest)"


def change(faults: Faults, host: str) -> tuple[str, float]:
    """The change that has just been armed on a host, and its deadline by the host's own clock."""
    (folder,) = [faults.path(host, "var/lib/provision/txn")]
    until(lambda: (folder / "deadline").exists(), f"{host} is not armed")
    return (folder / "id").read_text().strip(), float((folder / "deadline").read_text())


def until(done: Callable[[], bool], otherwise: str) -> None:
    """Wait for `done`; exit with the message `otherwise` after WAIT_S."""
    begin = time.monotonic()
    while not done():
        if time.monotonic() - begin > WAIT_S:
            raise SystemExit(otherwise)
        time.sleep(0.005)


def after_deadlines(faults: Faults, *, locked_out: bool) -> list[Recovery]:
    """Wait for every host to come back after its deadline of the pending change.

    With `locked_out`, exit if a host answers shortly before its deadline: then the failure did
    not happen, and the round would measure nothing.
    """

    def wait(host: str) -> Recovery:
        change_id, deadline = change(faults, host)
        if locked_out:
            time.sleep(max(0.0, deadline - LOCKED_OUT_S - time.time()))
            if answers(faults, host):
                raise SystemExit(f"{host} was never locked out")
        time.sleep(max(0.0, deadline - time.time()))
        return came_back(faults, host, change_id, deadline)

    with ThreadPoolExecutor(len(HOSTS)) as pool:
        return list(pool.map(wait, HOSTS))


def came_back(faults: Faults, host: str, change_id: str, since: float) -> Recovery:
    """Open new connections until one sees the change undone; each attempt has its own limit."""
    config = str(faults.hosts.lab.ssh_config)
    argv = ("ssh", "-F", config, host, f"date +%s.%N; {SHOW_UNDONE.format(change_id)}")
    served: float | None = None
    begin = time.monotonic()
    while time.monotonic() - begin < WAIT_S:
        if answers(faults, host):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process = subprocess.run(argv, capture_output=True, text=True, timeout=20)
                lines = process.stdout.split()
                if process.returncode == 0 and lines:
                    # The time at the end of the connection: its user has the output by then.
                    served = served or time.time() - since
                    if "undone" in lines:
                        return Recovery(served, time.time() - since)
        time.sleep(0.1)
    raise SystemExit(f"{host} did not come back")


def answers(faults: Faults, host: str) -> bool:
    """True if the host's sshd greets a new connection."""
    address = f"{faults.hosts.networks[0]}.{10 + int(host[1:])}"
    try:
        with socket.create_connection((address, 22), timeout=0.5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wrong_route(faults: Faults) -> list[Recovery]:
    """A network takes the controller's range, so answers to the controller go to another host."""
    with routed_controller(faults) as controller:
        run = faults.start("apply", lockout_inventory(faults.hosts, controller), *QUICK)
        recoveries = after_deadlines(faults, locked_out=True)
        output, _ = run.communicate(timeout=WAIT_S)
        assert "confirmed" not in output, output
        faults.assert_restored()
    return recoveries


def killed_controller(faults: Faults) -> list[Recovery]:
    """The controller is killed after it changed and checked all hosts, before it confirms."""
    inventory = faults.hosts.inventory("routes.yml")
    run = faults.start("apply", inventory, "--manual", *QUICK)
    until_checked(faults, run)
    run.send_signal(signal.SIGKILL)
    run.wait()
    return after_deadlines(faults, locked_out=False)


def dropped_port(faults: Faults) -> list[Recovery]:
    """A rule drops port 22 during the change; the rule goes away at the deadline."""
    inventory = faults.hosts.inventory("routes.yml")
    for host in HOSTS:
        rule = "INPUT -p tcp --dport 22 -m comment --comment fault -j DROP"
        faults.hosts.ssh(
            host, f"cat >/run/open-port <<'@end'\n{AT_DEADLINE}iptables -D {rule}\n@end"
        )
        open_port = "systemd-run -q --collect sh /run/open-port"
        faults.at_step(host, 8, f"iptables -I {rule}; {open_port}")
    run = faults.start("apply", inventory, *QUICK)
    recoveries = after_deadlines(faults, locked_out=True)
    run.communicate(timeout=WAIT_S)
    return recoveries


def killed_host(faults: Faults) -> list[Recovery]:
    """Each host loses its power before the confirmation, and gets it back."""
    return _restarted(faults, lambda host: power.cut_power(faults.hosts.lab, host))


def rebooted(faults: Faults) -> list[Recovery]:
    """Each host reboots before the confirmation."""
    return _restarted(faults, lambda host: faults.inside(host, "systemctl --no-block reboot"))


def _restarted(faults: Faults, end: Callable[[str], object]) -> list[Recovery]:
    inventory = faults.hosts.inventory("routes.yml")
    faults.hosts.provision("apply", inventory, "--manual", "--confirm-window", "3600")
    ids = {host: change(faults, host)[0] for host in HOSTS}
    begin = time.time()
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        list(pool.map(end, HOSTS))
    if end.__qualname__.startswith("killed_host"):
        begin = time.time()
        power.start(faults.hosts.lab, say=lambda _text: None)
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        return list(pool.map(lambda host: came_back(faults, host, ids[host], begin), HOSTS))


if __name__ == "__main__":
    main()
