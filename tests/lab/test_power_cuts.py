"""Power cuts of hosts with a kernel of their own, which lose what is not on their disk yet."""

from __future__ import annotations

import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from provision.lab import power, ready
from tests.lab.faults import Faults
from tests.lab.hosts import Hosts
from tests.lab.own_kernels import SLOW, faults

pytestmark = [pytest.mark.lab, pytest.mark.kernel, pytest.mark.full, pytest.mark.timeout(14_400)]
__all__ = ["faults"]

ROUNDS = 15
"""In each, the power of both hosts is cut: 30 times in all."""
PHASES = ("arming", "acting", "checked", "confirmed", "undoing")
SETTLE_S = 900
# Waits on the host until a change has come to a phase, and for a part of that then. One process,
# since a fork takes long on such a kernel, and the change needs the host's only processor.
_WATCH = r"""exec perl -e '
my ($phase, $step, $pause) = @ARGV; my $s = "/var/lib/provision";
sub nap { select undef, undef, undef, $_[0] }
sub begun { open my $f, "<", "$s/txn/journal" or return 0; my @lines = <$f>; scalar @lines }
sub any { my @names = glob "$s/$_[0]"; scalar @names }
if ($phase eq "arming") { nap 0.01 until any "new.*" }
elsif ($phase eq "acting") { nap 0.01 until begun() >= $step }
elsif ($phase eq "undoing") { nap 0.01 until any "reverting.*" }
else { nap 0.01 until -e "$s/txn/looked"; nap 0.01 while $phase eq "confirmed" && -e "$s/txn" }
nap $pause; $| = 1; print "now\n"; sleep 1 while 1' """


def test_hosts_are_old_or_new_after_power_cuts(faults: Faults) -> None:
    """Thirty cuts at random moments of each phase, of apply and destroy: never locked out or half.

    A host undoes by itself what was not confirmed; nobody runs `recover`.
    """
    chance = random.Random(25)
    inventory = faults.hosts.inventory("routes.yml")
    for number in range(ROUNDS):
        phase = PHASES[number % len(PHASES)]
        fired = cut_during(faults.hosts, inventory, phase, chance)
        power.start(faults.hosts.lab, say=print)
        print(f"{number}: {phase}: {fired}: {settled(faults, inventory)}", flush=True)
    faults.hosts.provision("apply", inventory, *SLOW)
    faults.hosts.verified(inventory, within_s=300)
    faults.hosts.provision("destroy", inventory, "--yes", *SLOW)
    faults.assert_restored()


def cut_during(hosts: Hosts, inventory: str, phase: str, chance: random.Random) -> dict[str, bool]:
    """Cut the power of each host once a change has come to `phase` there.

    A change that ends before is cut at its end. Returns for each host if it came to the phase.
    """
    changes = hosts.json("plan", inventory)["changes"]
    verb = ("apply", inventory) if changes else ("destroy", inventory, "--yes")
    steps = min(sum(c["host"] == name for c in changes) for name in hosts.names) or 8
    moments = {name: (chance.randint(1, steps), 2 * chance.random()) for name in hosts.names}
    watches = {name: _watch(hosts, name, phase, *moments[name]) for name in hosts.names}
    stop = _watch(hosts, "h1", "acting", chance.randint(1, steps), 0)
    run = Faults(hosts, {}).start(*verb, *SLOW)
    with ThreadPoolExecutor() as pool:
        cuts = {name: pool.submit(_cut, hosts, name, watch) for name, watch in watches.items()}
        if phase == "undoing":
            pool.submit(_fires, stop).add_done_callback(lambda _: run.terminate())
        while not all(cut.done() for cut in cuts.values()):
            if run.poll() is not None:
                for watch in (stop, *watches.values()):
                    watch.kill()
            time.sleep(0.1)
        stop.kill()
    # All hosts are off: the controller would only wait for them.
    run.kill()
    run.communicate()
    return {name: cut.result() for name, cut in cuts.items()}


def settled(faults: Faults, inventory: str) -> dict[str, str]:
    """The state of each host once no change is pending: `clean` or `applied`; any other fails."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        told = faults.states(inventory)
        final = all(
            state.startswith(("confirmed", "reverted", "unchanged")) for state in told.values()
        )
        states = old_or_new(faults, inventory) if final else {}
        if final and "half" not in states.values() and not any(faults.leftovers().values()):
            return states
        if time.monotonic() > deadline:
            raise AssertionError((told, states, faults.leftovers(), faults.differences()))
        time.sleep(1)


def old_or_new(faults: Faults, inventory: str) -> dict[str, str]:
    """Each host: `clean` as before all changes, `applied` if nothing is to change, or `half`."""
    changes = faults.hosts.json("plan", inventory, status=None).get("changes")
    pending = None if changes is None else {change["host"] for change in changes}
    return {
        name: "clean"
        if not differences
        else "applied"
        if pending is not None and name not in pending
        else "half"
        for name, differences in faults.differences().items()
    }


def _watch(hosts: Hosts, name: str, phase: str, step: int, pause: float) -> subprocess.Popen[str]:
    argv = ready.ssh(hosts.lab, name, f"{_WATCH} {phase} {step} {pause:.2f}")
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _fires(watch: subprocess.Popen[str]) -> bool:
    """Wait until a watch has seen its moment, or was ended."""
    assert watch.stdout is not None
    return watch.stdout.readline() == "now\n"


def _cut(hosts: Hosts, name: str, watch: subprocess.Popen[str]) -> bool:
    fired = _fires(watch)
    power.cut_power(hosts.lab, name)
    watch.kill()
    watch.wait()
    return fired
