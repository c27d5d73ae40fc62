"""Confirmations that arrive at the moment of the deadline."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from provision.engine import guard
from tests.lab.faults import Faults
from tests.lab.hosts import HOSTS

pytestmark = pytest.mark.lab
# Changes one file, and confirms within 0.1 s of the deadline. Prints the status of the
# confirmation, the state of the record, and the file, which must agree.
RACE = r"""
D=/var/lib/provision; mkdir -p -m 700 $D; umask 077
for turn in $(seq TURNS); do
  id=$(head -c 8 /dev/urandom | od -An -tx1 | tr -d ' \n')
  N=/run/provision-arm.$id; rm -f /run/raced; mkdir $N
  echo $id >$N/id; echo '{}' >$N/about; printf word | sha256sum | cut -c1-64 >$N/nonce
  echo /run/provision-race.lock >$N/lock; echo '[ ! -e /run/raced ] || echo raced' >$N/witness
  echo 'case $1 in list) echo 0 ;; 0) rm -f /run/raced ;; esac' >$N/undo.1
  sh $GUARD arm $id 2; touch /run/raced $D/txn/looked; echo 1.0 >$D/txn/journal
  echo "$(cat $D/txn/deadline) $(date +%s.%N)" >/run/times
  sleep $(perl -ane '
    $left = $F[0] - $F[1] - 0.05 + rand(0.15); print $left > 0 ? $left : 0' /run/times)
  sh $GUARD confirm $id word; confirm=$?
  while [ -d $D/txn ] || [ -d $D/reverting.$id ]; do sleep 0.05; done
  echo "race $confirm $(cd $D; ls -d *.$id | sed 's/\..*//' | tr '\n' ' ')$(ls /run/raced 2>&1)"
done
rm -rf $D /run/raced /run/times
"""


@pytest.mark.parametrize("turns", [4, pytest.param(100, marks=pytest.mark.full)])
def test_a_confirmation_at_the_deadline_counts_or_is_refused(faults: Faults, turns: int) -> None:
    """The host keeps the change and reports success, or it rolls back and refuses."""
    _, text = guard.program()
    remove_guard = "remove_guard() {"
    assert remove_guard in text
    text = text.replace(remove_guard, f"{remove_guard} return")  # keep the record for this test
    write = f"cat >/run/guard <<'@end'\n{text}@end\n"
    program = f"{write}GUARD=/run/guard\n{RACE.replace('TURNS', str(turns))}\nrm /run/guard"
    limit_s = 60 + 10 * turns  # a turn takes 3 s on a quiet machine

    def race(host: str) -> str:
        return faults.hosts.ssh(host, program, limit_s=limit_s)

    with ThreadPoolExecutor(len(HOSTS)) as pool:
        outputs = list(pool.map(race, HOSTS))
    races = [line for output in outputs for line in output.splitlines() if line.startswith("race ")]
    print(*races, sep="\n")
    assert len(races) == turns * len(HOSTS)
    for line in races:
        _, status, state, mark = line.split(" ", 3)
        assert (status, state) in {("0", "confirmed"), ("3", "reverted")}, races
        assert (mark == "/run/raced") == (state == "confirmed"), races
    faults.assert_restored()
