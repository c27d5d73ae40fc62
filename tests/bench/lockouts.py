"""Forces failures in the midst of changes, again and again, and measures how hosts come back.

    sudo .venv/bin/python tests/bench/lockouts.py 34 7    # rounds of failures, rounds of reboots

Each round is a failure of all three hosts of a mixed lab, the next kind of failure in the next
round: a wrong route to the controller, a killed controller, a dropped port 22, a killed host.
Printed is for each kind how many hosts came back, how many seconds after their deadline (after the
order to start, for killed and rebooted ones) a new SSH connection was served by a host that had
undone the change, and how many did not come back.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from provision.lab import bringup, power, teardown
from provision.lab.place import Place
from provision.lab.settings import Wish
from tests.lab.conftest import Hosts
from tests.lab.faults import HOSTS, QUICK, Faults, faults
from tests.lab.free import free_ranges

OPERATOR = "10.66.66.1"
"""Where the hosts see us, behind their router: no network of theirs holds it."""
LOCKOUT = """name: lockout
hosts: {{h1: {{address: {0}.11}}, h2: {{address: {0}.12}}, h3: {{address: {0}.13}}}}
networks:
  wrong: {{method: routes, cidr: 10.66.0.0/16,
    subnets: {{h1: 10.66.1.0/24, h2: 10.66.66.0/24, h3: 10.66.3.0/24}}}}
"""
ENDED = "ls -d /var/lib/provision/reverted.* && ! iptables-save | grep -q PROV- && date +%s.%N"
WAIT_S = 150


def main() -> None:
    """Boot a lab, force the failures, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the lab is taken down
    parser.add_argument("failures", type=int, nargs="?", default=34)
    parser.add_argument("reboots", type=int, nargs="?", default=7)
    given = parser.parse_args()
    place = Place(Path(tempfile.mkdtemp(prefix="provision-lockouts-", dir="/var/tmp")))
    try:
        bringup.up(place, Wish(3, "mixed", False, free_ranges(place)), say=lambda _text: None)
        campaign(Hosts(place), given.failures, given.reboots)
    finally:
        teardown.down(place, say=lambda _text: None)
        shutil.rmtree(place.folder)


def campaign(hosts: Hosts, failures: int, reboots: int) -> None:
    """All rounds; a host that does not come back ends it with its name."""
    kinds = [wrong_route, killed_controller, dropped_port, killed_host]
    rounds = [kinds[number % len(kinds)] for number in range(failures)] + [rebooted] * reboots
    took: dict[str, list[float]] = {}
    for number, kind in enumerate(rounds):
        with faults(hosts) as hurt, seen_from_afar(hurt) if kind is wrong_route else hurt_only():
            came = kind(hurt)
            took.setdefault(kind.__name__, []).extend(came)
            print(f"{number + 1}/{len(rounds)} {kind.__name__}: {rounded(came)}", flush=True)
            # The record of the change is all that is left of it.
            hurt.assert_old()
    for name, seconds in took.items():
        print(f"{name}: {len(seconds)} hosts, 0 lost, worst {max(seconds):.1f} s, all back")


def rounded(seconds: list[float]) -> str:
    return ", ".join(f"{each:.1f} s" for each in seconds)


def came_back(hurt: Faults, since: Callable[[str], float]) -> list[float]:
    """Seconds from `since` until each host serves a new connection and has undone the change."""

    def wait(host: str) -> float:
        begin = time.monotonic()
        while time.monotonic() - begin < WAIT_S:
            argv = ("ssh", "-F", str(hurt.hosts.place.ssh_config), "-o", "ConnectTimeout=2")
            # One that began before the lock-out never ends by itself.
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = subprocess.run(
                    (*argv, host, ENDED), capture_output=True, text=True, timeout=4
                )
                if done.returncode == 0:
                    return float(done.stdout.split()[-1]) - since(host)
            time.sleep(0.1)
        raise SystemExit(f"{host} did not come back")

    with ThreadPoolExecutor(len(HOSTS)) as pool:
        return list(pool.map(wait, HOSTS))


def deadline(hurt: Faults, host: str) -> float:
    """Of the change that has just ended, by the host's own record."""
    (record,) = hurt.path(host, "var/lib/provision").glob("reverted.*")
    return float((record / "deadline").read_text())


def until_looked(hurt: Faults, run: subprocess.Popen[str]) -> None:
    files = [hurt.path(host, "var/lib/provision/txn/looked") for host in HOSTS]
    while run.poll() is None and not all(file.exists() for file in files):
        time.sleep(0.005)


def wrong_route(hurt: Faults) -> list[float]:
    """A network takes the range in which we are: answers to us go to another host."""
    inventory = hurt.hosts.place.folder / "lockout.yml"
    inventory.write_text(LOCKOUT.format(hurt.hosts.networks[1]))
    run = hurt.start("apply", inventory.name, *QUICK)
    came = came_back(hurt, lambda host: deadline(hurt, host))
    said, _ = run.communicate(timeout=WAIT_S)
    assert "confirmed" not in said, said
    return came


def killed_controller(hurt: Faults) -> list[float]:
    """Made everywhere and looked at, and nobody comes back to confirm."""
    inventory = hurt.hosts.inventory("routes.yml")
    run = hurt.start("apply", inventory, "--manual", *QUICK)
    until_looked(hurt, run)
    run.send_signal(signal.SIGKILL)
    run.wait()
    return came_back(hurt, lambda host: deadline(hurt, host))


def dropped_port(hurt: Faults) -> list[float]:
    """Port 22 is dropped while the change is made; it opens again when the deadline comes."""
    inventory = hurt.hosts.inventory("routes.yml")
    for host in HOSTS:
        rule = "INPUT -p tcp --dport 22 -m comment --comment fault -j DROP"
        opens = (
            f"sleep $(($(cat /var/lib/provision/txn/deadline) - $(date +%s))); iptables -D {rule}"
        )
        run = f"systemd-run -q --collect sh -c '{opens}'"
        hurt.at_step(host, 8, f"iptables -I {rule}; {run}")
    process = hurt.start("apply", inventory, *QUICK)
    came = came_back(hurt, lambda host: deadline(hurt, host))
    process.communicate(timeout=WAIT_S)
    return came


def killed_host(hurt: Faults) -> list[float]:
    """The power goes before the confirmation, and comes back."""
    return _restarted(hurt, lambda host: power.cut_power(hurt.hosts.place, host))


def rebooted(hurt: Faults) -> list[float]:
    """A reboot before the confirmation."""
    return _restarted(hurt, lambda host: hurt.inside(host, "systemctl --no-block reboot"))


def _restarted(hurt: Faults, end: Callable[[str], object]) -> list[float]:
    inventory = hurt.hosts.inventory("routes.yml")
    hurt.hosts.provision("apply", inventory, "--manual", "--confirm-window", "3600")
    begin = time.time()
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        list(pool.map(end, HOSTS))
    if end.__qualname__.startswith("killed_host"):
        begin = time.time()
        power.start(hurt.hosts.place, say=lambda _text: None)
    return came_back(hurt, lambda _host: begin)


@contextlib.contextmanager
def hurt_only() -> Iterator[None]:
    """Seen from where the lab has us."""
    yield


@contextlib.contextmanager
def seen_from_afar(hurt: Faults) -> Iterator[None]:
    """The hosts reach us by their router only, at an address that no network of theirs holds."""
    management = hurt.hosts.networks[0]
    way = subprocess.run(
        ("ip", "-o", "route", "get", f"{management}.11"), capture_output=True, text=True, check=True
    ).stdout.split()
    device = way[way.index("dev") + 1]
    for host in HOSTS:
        hurt.inside(host, f"ip route replace default via {management}.254")
    ip("address", "add", f"{OPERATOR}/32", "dev", "lo")
    ip("route", "replace", f"{management}.0/24", "dev", device, "src", OPERATOR)
    hurt.before.update(hurt.hosts.capture())
    try:
        yield
    finally:
        ip("route", "replace", f"{management}.0/24", "dev", device, "src", f"{management}.254")
        ip("address", "del", f"{OPERATOR}/32", "dev", "lo")
        for host in HOSTS:
            hurt.inside(host, "ip route del default")


def ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True)


if __name__ == "__main__":
    main()
