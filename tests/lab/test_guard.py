"""The guard on booted hosts: whatever fails, each is reachable, and as it was or shall be."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from provision.engine import guard
from provision.lab import power
from tests.lab.conftest import Hosts
from tests.lab.faults import (
    HOSTS,
    KILL_ACT,
    QUICK,
    Faults,
    faults,
    seen_from_afar,
    towards,
)

pytestmark = pytest.mark.lab
BLACKHOLE = "iptables -I INPUT -m comment --comment fault -m length --length 1200:65535 -j DROP"
DROP = "iptables -I INPUT -p tcp --dport 22 -m comment --comment fault"
SHARP = "--timer-property=AccuracySec=100ms"


@pytest.fixture
def hurt(mixed: Hosts) -> Iterator[Faults]:
    with faults(mixed) as found:
        yield found


@pytest.fixture
def inventory(mixed: Hosts) -> str:
    return mixed.inventory("routes.yml")


def reverted(states: dict[str, str]) -> bool:
    return all(re.fullmatch(r"reverted \(\w+\)", state) for state in states.values())


def heal_in(seconds: int, command: str) -> str:
    """Shell text: the fault, which goes by itself."""
    undo = command.replace("-I INPUT", "-D INPUT").replace("host0 down", "host0 up")
    # By the clock: a reload of the units begins --on-active anew.
    at = f'--on-calendar="@$(($(date +%s) + {seconds}))"'
    return f"{command}; systemd-run -q --collect {at} {SHARP} {undo}"


def test_a_failed_step_is_undone_everywhere(hurt: Faults, inventory: str) -> None:
    """Status 5, every host as before; then it converges."""
    hurt.at_step("h2", 5, KILL_ACT)
    done = hurt.hosts.json("apply", inventory, status=5)
    assert set(done["hosts"].values()) == {"reverted (failed)"}
    assert set(hurt.states(inventory).values()) == {"reverted (failed)"}
    hurt.assert_old()
    hurt.assert_converges(inventory)


@pytest.mark.parametrize("step", [2, pytest.param(5, marks=pytest.mark.full)])
def test_a_crash_of_destroy_gives_back_the_very_containers(
    hurt: Faults, inventory: str, step: int
) -> None:
    """With their files: they were only put aside."""
    hurt.hosts.provision("apply", inventory)
    ids = [hurt.hosts.ssh(host, "docker ps -q --no-trunc") for host in HOSTS]
    for number, host in enumerate(HOSTS, start=1):
        hurt.hosts.ssh(host, f"docker exec c{number} sh -c 'echo kept >/file'")
        hurt.at_step(host, step + 1, KILL_ACT)
    before = hurt.hosts.capture()
    done = hurt.hosts.json("destroy", inventory, "--yes", status=5)
    assert set(done["hosts"].values()) == {"reverted (failed)"}
    hurt.heal()
    assert [hurt.hosts.ssh(host, "docker ps -q --no-trunc") for host in HOSTS] == ids
    assert "kept" in hurt.hosts.ssh("h2", "docker exec c2 cat /file")
    Faults(hurt.hosts, before).assert_old()
    assert hurt.hosts.json("plan", inventory)["changes"] == []
    assert hurt.hosts.json("verify", inventory)["ok"]


def test_a_canary_fails_alone(hurt: Faults, inventory: str) -> None:
    """Nobody else is touched; when it is well, the others follow."""
    hurt.at_step("h1", 5, KILL_ACT)
    done = hurt.hosts.json("apply", inventory, "--strategy", "canary=h1", status=5)
    assert done["hosts"] == {"h1": "reverted (failed)", "h2": "unchanged", "h3": "unchanged"}
    hurt.heal()
    assert set(hurt.states(inventory).values()) == {"reverted (failed)", "unchanged"}
    hurt.assert_old()
    done = hurt.hosts.json("apply", inventory, "--strategy", "canary=h1")
    assert done["hosts"] == dict.fromkeys(HOSTS, "confirmed")
    hurt.assert_converges(inventory)


def test_per_host_the_others_keep_theirs(hurt: Faults, inventory: str) -> None:
    """Status 6, as hosts differ then; the next apply changes that host alone."""
    hurt.at_step("h2", 5, KILL_ACT)
    done = hurt.hosts.json("apply", inventory, "--strategy", "per-host", status=6)
    assert done["hosts"] == {"h1": "confirmed", "h2": "reverted (failed)", "h3": "confirmed"}
    hurt.heal()
    hurt.assert_nothing_left()
    left = hurt.hosts.json("plan", inventory)["changes"]
    assert {change["host"] for change in left} == {"h2"}
    hurt.assert_converges(inventory)


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(False, id="it stays", marks=pytest.mark.full),
        pytest.param(True, id="it goes between the looks"),
    ],
)
def test_a_change_of_the_way_of_ssh_is_looked_at_twice(hurt: Faults, cut: bool) -> None:
    """After 10 s again; a host that is lost meanwhile undoes it by itself, the others at once."""
    with seen_from_afar(hurt, kept=True) as us:
        inventory = towards(hurt.hosts, us)
        run = hurt.start("apply", inventory, "-v", *QUICK)
        assert run.stdout is not None
        shown = iter(run.stdout.readline, "")
        assert any("Waiting 10 s before checking h1, h2, h3 again" in line for line in shown)
        first = time.monotonic()
        if cut:
            hurt.inside("h2", heal_in(30, f"{DROP} -j DROP"))
        said, _ = run.communicate(timeout=120)
        if cut:
            assert run.returncode in (5, 6), said
            hurt.until(inventory, reverted, 60)
            hurt.assert_old()
        else:
            assert run.returncode == 0 and time.monotonic() - first > 9, said
        hurt.hosts.provision("destroy", inventory, "--yes")
        hurt.assert_old()


def test_f1_a_host_that_cannot_be_reached_stops_all(hurt: Faults, inventory: str) -> None:
    """Status 4 in time, nothing changed elsewhere."""
    hurt.hosts.ssh("h2", heal_in(25, f"{DROP} -j DROP"))
    begin = time.monotonic()
    done = hurt.hosts.json("apply", inventory, status=4)
    assert time.monotonic() - begin < 20
    assert done["hosts"] == {"h1": "unchanged", "h2": "unreachable", "h3": "unchanged"}
    hurt.heal()
    hurt.assert_old()


@pytest.mark.parametrize(
    "cuts",
    [
        # F2: the link goes; F3: nothing comes in any more.
        {"h2": "ip link set host0 down", "h3": f"{DROP} -j DROP"},
        # F4: old connections live, new ones do not; F7: large packets vanish.
        {
            "h2": f"{DROP} -m conntrack --ctstate NEW -j DROP",
            "h3": BLACKHOLE,
        },
    ],
    ids=["F2 and F3", "F4 and F7"],
)
def test_hosts_that_are_cut_off_undo_it_alone(
    hurt: Faults, inventory: str, cuts: dict[str, str]
) -> None:
    """The others are told at once; what was cut off has undone it at its deadline."""
    for host, cut in cuts.items():
        hurt.at_step(host, 6, heal_in(40, cut))
    done = hurt.hosts.json("apply", inventory, *QUICK, status=None)
    assert done["hosts"]["h1"] == "reverted (failed)"
    for host in cuts:
        assert done["hosts"][host] in ("reverted (deadline)", "reverted (failed)"), done["hosts"]
    hurt.heal()
    hurt.assert_old()
    hurt.assert_converges(inventory)


def test_f9_a_controller_that_is_killed_before_it_confirms(hurt: Faults, inventory: str) -> None:
    """All hosts are as before, at the latest 5 s after their deadlines; any machine can tell."""
    run = hurt.start("apply", inventory, *QUICK)
    looked = [hurt.path(host, "var/lib/provision/txn/looked") for host in HOSTS]
    while not any(path.exists() for path in looked) and run.poll() is None:
        time.sleep(0.001)
    run.kill()
    run.wait()
    assert any(not path.exists() or path.parent.exists() for path in looked)
    hurt.until(inventory, reverted, 45)
    assert set(hurt.states(inventory).values()) == {"reverted (deadline)"}
    hurt.assert_old()
    hurt.assert_converges(inventory)


def test_a_killed_apply_is_simply_run_again(hurt: Faults, inventory: str) -> None:
    """From the same machine nobody waits for deadlines. F12: what was begun goes on meanwhile."""
    hurt.at_step("h2", 4, "sleep 3")
    run = hurt.start("apply", inventory)
    while not hurt.path("h2", "var/lib/provision/txn/journal").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    run.kill()
    run.wait()
    hurt.assert_converges(inventory)


def test_f10_a_controller_that_is_killed_while_it_confirms(hurt: Faults, inventory: str) -> None:
    """Each host says what it did; never is one thing called another."""
    run = hurt.start("apply", inventory, *QUICK)
    folder = [hurt.path(host, "var/lib/provision") for host in HOSTS]
    while run.poll() is None and not any(
        list(at.glob("confirmed.*")) for at in folder if at.exists()
    ):
        time.sleep(0.001)
    run.kill()
    run.wait()
    hurt.until(inventory, lambda found: not any("pending" in each for each in found.values()), 60)
    states = hurt.states(inventory)
    assert set(states.values()) <= {"confirmed", "reverted (deadline)"}
    for host, state in states.items():
        there = "PROV-" in hurt.hosts.ssh(host, "iptables-save")
        assert there == (state == "confirmed"), (host, state)
    hurt.assert_converges(inventory)


def test_f11_ctrl_c_undoes_it_now(hurt: Faults, inventory: str) -> None:
    """Once: all hosts at once, status 130."""
    hurt.at_step("h2", 4, "sleep 30")
    run = hurt.start("apply", inventory)
    while not hurt.inside("h2", "ls /run/fault/done 2>/dev/null"):
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=40)
    assert run.returncode == 130, said
    assert said.count("reverted (operator)") >= 3, said
    hurt.heal()
    hurt.assert_old()


def test_f11_ctrl_c_twice_leaves_it_to_the_hosts(hurt: Faults, inventory: str) -> None:
    """And says so; F19: what hangs at the deadline is stopped."""
    hurt.at_step("h2", 4, "sleep 1000")
    run = hurt.start("apply", inventory, *QUICK)
    while not hurt.inside("h2", "ls /run/fault/done 2>/dev/null"):
        time.sleep(0.1)
    for _ in range(2):
        run.send_signal(signal.SIGINT)
        time.sleep(0.3)
    said, _ = run.communicate(timeout=40)
    assert run.returncode == 130, said
    assert "Left to the hosts" in said or said.count("reverted (operator)") >= 3, said
    hurt.until(inventory, reverted, 45)
    hurt.heal()
    hurt.assert_old()


def test_f13_and_f14_a_host_that_restarts_before_the_confirmation(
    hurt: Faults, inventory: str
) -> None:
    """A reboot and a power cut: reachable and as before within 20 s; the rest is recovered."""
    hurt.hosts.provision("apply", inventory, "--manual", "--confirm-window", "600")
    begin = time.monotonic()
    power.reboot(hurt.hosts.place, ("h2",), say=print)
    power.cut_power(hurt.hosts.place, "h3")
    power.start(hurt.hosts.place, say=print)
    hurt.until(inventory, lambda found: found["h2"] == found["h3"] == "reverted (boot)", 40)
    assert time.monotonic() - begin < 60
    hurt.hosts.provision("confirm", inventory, status=2)
    hurt.hosts.provision("recover", inventory)
    hurt.assert_old()
    hurt.assert_converges(inventory)


def test_f14_power_goes_in_the_midst_of_the_undo(hurt: Faults, inventory: str) -> None:
    """The next boot finishes it."""
    hurt.hosts.provision("apply", inventory, "--manual", "--confirm-window", "15")
    folder = hurt.path("h1", "var/lib/provision")
    while not list(folder.glob("reverting.*")):
        time.sleep(0.01)
    power.cut_power(hurt.hosts.place, "h1")
    power.start(hurt.hosts.place, say=print)
    hurt.until(inventory, reverted, 40)
    hurt.assert_old()


def test_f17_two_controllers_at_once(hurt: Faults, inventory: str) -> None:
    """Exactly one goes on; the other names it."""
    runs = [hurt.start("apply", inventory) for _ in range(2)]
    said = [run.communicate(timeout=120)[0] for run in runs]
    statuses = sorted(run.returncode for run in runs)
    assert statuses == [0, 8], said
    loser = next(text for run, text in zip(runs, said, strict=True) if run.returncode == 8)
    assert "is changing it since" in loser and "pending until" in loser, loser
    assert hurt.hosts.json("plan", inventory)["changes"] == []
    hurt.assert_nothing_left()


def test_a_person_has_the_last_word(hurt: Faults, inventory: str) -> None:
    """--manual and confirm; a stranger needs to say that it is one, and keeps what a host keeps."""
    hurt.hosts.provision("apply", inventory, "--manual")
    (hurt.hosts.place.folder / "state").rename(hurt.hosts.place.folder / "elsewhere")
    try:
        hurt.hosts.provision("confirm", inventory, status=2)
        hurt.hosts.provision("confirm", inventory, "--force", "--limit", "h1")
        assert hurt.hosts.provision("recover", inventory).count("confirmed") == 3
    finally:
        (hurt.hosts.place.folder / "elsewhere").rename(hurt.hosts.place.folder / "state")
    assert hurt.hosts.json("plan", inventory)["changes"] == []
    hurt.hosts.provision("confirm", inventory, status=2)
    hurt.hosts.provision("destroy", inventory, "--yes", "--manual")
    assert hurt.hosts.provision("confirm", inventory).count("confirmed") == 3
    hurt.assert_old()


SMALL = "mkdir -p /var/lib/provision; mount -t tmpfs -o size=300k,mode=700 none /var/lib/provision"
FILL = "dd if=/dev/zero of=/var/lib/provision/fill bs=1k 2>/dev/null"


def test_f21_no_room_to_record_a_change(hurt: Faults, inventory: str) -> None:
    """Refused, and nothing is changed on any host."""
    hurt.hosts.ssh("h2", f"{SMALL}; {FILL}; :")
    done = hurt.hosts.json("apply", inventory, status=4)
    assert "no room" in str(done["errors"]) or "cannot be written" in str(done["errors"])
    hurt.hosts.ssh("h2", "umount /var/lib/provision; rmdir /var/lib/provision")
    hurt.assert_old()


def test_f22_the_disk_is_full_when_it_is_confirmed(hurt: Faults, inventory: str) -> None:
    """A rename needs no room."""
    hurt.hosts.ssh("h2", SMALL)
    hurt.hosts.provision("apply", inventory, "--manual")
    hurt.hosts.ssh("h2", f"{FILL}; :")
    assert hurt.hosts.provision("confirm", inventory).count("confirmed") == 3
    hurt.inside("h2", "rm -f /var/lib/provision/fill")
    hurt.hosts.provision("destroy", inventory, "--yes")
    hurt.inside("h2", "umount /var/lib/provision; rmdir /var/lib/provision")
    hurt.assert_old()


def test_f22_the_disk_is_full_when_it_is_undone(hurt: Faults, inventory: str) -> None:
    """The undo has kept some room for itself."""
    hurt.hosts.ssh("h2", SMALL)
    hurt.at_step("h2", 9, f"{FILL}; {KILL_ACT}")
    done = hurt.hosts.json("apply", inventory, status=None)
    assert set(done["hosts"].values()) == {"reverted (failed)"}, done["hosts"]
    hurt.inside("h2", "umount /var/lib/provision; rmdir /var/lib/provision")
    hurt.heal()
    hurt.assert_old()


def test_f23_the_records_cannot_be_written(hurt: Faults, inventory: str) -> None:
    """Nothing is confirmed there, and what runs is undone, once for all."""
    hurt.hosts.ssh("h2", SMALL)
    hurt.hosts.provision("apply", inventory, "--manual", "--confirm-window", "15")
    hurt.hosts.ssh("h2", "mount -o remount,ro /var/lib/provision")
    said = hurt.hosts.json("confirm", inventory, status=None)["hosts"]
    assert (said["h1"], said["h3"]) == ("confirmed", "confirmed")
    assert re.fullmatch(r"pending until \d\d:\d\d:\d\d", said["h2"])
    begin = time.monotonic()
    while "PROV-" in hurt.hosts.ssh("h2", "iptables-save"):
        assert time.monotonic() - begin < 30
        time.sleep(0.5)
    hurt.inside("h2", "mount -o remount,rw /var/lib/provision")
    hurt.hosts.provision("recover", inventory)
    assert re.fullmatch(r"reverted \(\w+\)", hurt.states(inventory)["h2"])
    hurt.inside("h2", "umount /var/lib/provision; rmdir /var/lib/provision")
    hurt.assert_nothing_left()
    hurt.assert_converges(inventory)


def test_f27_dockerd_dies_in_the_midst(hurt: Faults, inventory: str) -> None:
    """Whatever comes of it, it is one or the other."""
    hurt.at_step("h3", 7, "kill -9 $(cat /run/docker.pid)")
    done = hurt.hosts.json("apply", inventory, status=None)
    assert set(done["hosts"].values()) in ({"confirmed"}, {"reverted (failed)"}), done
    hurt.heal()
    # Docker 28 forgets rules of its own that it made just before it died, until it starts again.
    hurt.hosts.ssh("h3", "systemctl restart docker")
    if "confirmed" not in done["hosts"].values():
        hurt.assert_old()
    hurt.assert_converges(inventory)


def test_f28_docker_does_not_start_with_it(hurt: Faults) -> None:
    """Docker and the containers that ran are back."""
    inventory = hurt.hosts.inventory("routes-docker0.yml")
    refuse = '[Service]\nExecStartPre=/bin/sh -c "! grep -q 172.2 /etc/docker/daemon.json"\n'
    folder = "/run/systemd/system/docker.service.d"
    hurt.hosts.ssh(
        "h2",
        f"mkdir -p {folder}; printf '%s' '{refuse}' >{folder}/fault.conf; systemctl daemon-reload; "
        "docker run -d --restart no --name own busybox sleep 1000",
    )
    before = hurt.hosts.capture()
    try:
        done = hurt.hosts.json("apply", inventory, status=5)
        assert set(done["hosts"].values()) == {"reverted (failed)"}, done
        Faults(hurt.hosts, before).assert_old()
    finally:
        hurt.hosts.ssh("h2", f"docker rm -f own; rm -r {folder}; systemctl daemon-reload")
    hurt.assert_converges(inventory)


# One change of one file, confirmed within 0.1 s of its deadline; its end must be one end.
RACE = r"""
D=/var/lib/provision; mkdir -p -m 700 $D; umask 077
for turn in $(seq TURNS); do
  id=$(head -c 8 /dev/urandom | od -An -tx1 | tr -d ' \n') N=$D/new.$id; rm -f /run/raced; mkdir $N
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
def test_f20_a_confirmation_at_the_deadline(hurt: Faults, turns: int) -> None:
    """It is kept, and the host was told so, or it is undone, and the confirmation was refused."""
    _, text = guard.program()
    text = text.replace("clean() {", "clean() { return")  # the record is what is asked for here
    put = f"cat >/run/guard <<'@end'\n{text}@end\n"
    program = f"{put}GUARD=/run/guard\n{RACE.replace('TURNS', str(turns))}\nrm /run/guard"
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        said = list(pool.map(lambda host: hurt.hosts.ssh(host, program), HOSTS))
    races = [line for text in said for line in text.splitlines() if line.startswith("race ")]
    print(*races, sep="\n")
    assert len(races) == turns * len(HOSTS)
    for race in races:
        _, status, state, there = race.split(" ", 3)
        assert (status, state) in {("0", "confirmed"), ("3", "reverted")}, races
        assert (there == "/run/raced") == (state == "confirmed"), races
    hurt.assert_old()
