"""The lab itself: real hosts that live, reboot, die, and leave nothing behind."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.lab import bringup, power, ready, supervisor, teardown
from provision.lab.layout import Lab
from provision.lab.ranges import Ranges, ranges
from provision.lab.settings import UpOptions
from provision.model.errors import LabError
from tests.lab.free import free_ranges

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="boots machines: needs root"),
]
LAB = "from provision.lab.commands import lab; lab()"
SYSCTLS = ("fs/inotify/max_user_instances", "kernel/keys/maxkeys", "kernel/keys/maxbytes")


def up(
    place: Lab, count: int | None = None, suite: str | None = None, *, bare: bool = False
) -> dict[str, str]:
    wanted = None if place.state.exists() else free_ranges(place)
    return bringup.up(place, UpOptions(count, suite, bare, wanted), say=print)


def on(place: Lab, host: str, command: str) -> str:
    argv = ready.ssh(place, host, command, quick=True)
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def machine_state(place: Lab) -> dict[str, object]:
    """What a lab could leave, without what other labs on this machine have or had."""
    other = re.compile(rf"\b(?!{place.tag})[0-9a-f]{{6}}(-h\d+)?\b|/\.provision/lab/")
    lines = {
        "mounts": Path("/proc/self/mounts").read_text().splitlines(),
        "links": [path.name for path in Path("/sys/class/net").iterdir()],
        "namespaces": [path.name for path in Path("/run/netns").glob("*")],
        "nspawn": [str(path) for path in Path("/run/systemd/nspawn").glob("[!l]*/*")],
        "groups": [str(path) for path in Path("/sys/fs/cgroup").glob("**/provision-lab*")],
    }
    ours = str(place.folder)
    return {
        **{
            key: {x for x in found if ours in x or not other.search(x)}
            for key, found in lines.items()
        },
        "processes": [
            words
            for _, words in supervisor._processes()
            if any(ours in w or place.tag in w for w in words)
        ],
        "sysctls": [Path("/proc/sys", name).read_text() for name in SYSCTLS],
        "files": sorted(place.folder.rglob("*")),
    }


def refuse_left_overs(before: dict[str, object], after: dict[str, object]) -> None:
    for name, found in after.items():
        if isinstance(found, set):
            # Others on this machine may take away what is theirs meanwhile.
            assert found <= before[name], f"{name} were left"
        else:
            assert found == before[name], f"{name} differ"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Lab]:
    """A lab's place; what is in it is taken down, and nothing may be left."""
    here = Lab(tmp_path.resolve())
    before = machine_state(here)
    yield here
    teardown.down(here, say=print)
    refuse_left_overs(before, machine_state(here))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One host of each suite, with Docker."""
    here = Lab(tmp_path_factory.mktemp("mixed").resolve())
    before = machine_state(here)
    up(here, 3, "mixed")
    yield here
    teardown.down(here, say=print)
    refuse_left_overs(before, machine_state(here))


def macs(place: Lab, host: str) -> str:
    return on(place, host, "cat /sys/class/net/host0/address /sys/class/net/eth1/address")


def test_second_up_changes_nothing_and_is_quick(mixed: Lab) -> None:
    files = {path: path.stat().st_mtime_ns for path in mixed.dot.iterdir() if path.is_file()}
    first, began = up(mixed), time.monotonic()
    assert up(mixed) == first
    assert time.monotonic() - began < 5
    assert files == {path: path.stat().st_mtime_ns for path in files}


def test_containers_run_on_every_suite(mixed: Lab) -> None:
    assert [on(mixed, host, "cat /etc/debian_version")[:2] for host in ("h1", "h2")] == ["13", "12"]
    for host in ("h1", "h2", "h3"):
        assert on(mixed, host, "docker run --rm busybox echo works") == "works\n"
        assert on(mixed, host, "systemctl is-system-running") == "running\n"


def test_plain_ssh_is_strict_and_knows_the_keys(mixed: Lab) -> None:
    config = subprocess.run(
        ready.ssh(mixed, "-G", "h1"), capture_output=True, text=True, check=True
    ).stdout
    assert "stricthostkeychecking true" in config
    wrong = mixed.folder / "known"
    wrong.write_text("")
    argv = ("ssh", "-o", f"UserKnownHostsFile={wrong}", "-F", str(mixed.ssh_config), "h1", "true")
    assert subprocess.run(argv, capture_output=True).returncode == 255
    wrong.unlink()


def test_hosts_reach_each_other_by_both_nics(mixed: Lab) -> None:
    for first, second in itertools.permutations(power.addresses(mixed), 2):
        for address in power.addresses(mixed)[second]:
            on(mixed, first, f"ping -c1 -W2 {address}")


def test_networkd_owns_both_nics(mixed: Lab) -> None:
    for host in ("h1", "h2", "h3"):
        before = on(mixed, host, "ip -br -4 address show to 10.0.0.0/8; ip -br link")
        on(mixed, host, "networkctl reload && networkctl reconfigure eth1 && sleep 2")
        assert on(mixed, host, "ip -br -4 address show to 10.0.0.0/8; ip -br link") == before
        # `configuring` lasts for some seconds on a busy machine.
        count = "networkctl --no-legend | grep -c 'configured *$'"
        wait = f'for k in $(seq 40); do [ "$({count})" = 2 ] && break; sleep 0.5; done; {count}'
        assert on(mixed, host, wait).strip() == "2"


def test_reboot_returns_with_the_same_nics_and_keys(mixed: Lab) -> None:
    before, nics = up(mixed), macs(mixed, "h1")
    on(mixed, "h1", "touch /root/kept")
    known = mixed.known_hosts.read_text()
    power.reboot(mixed, ("h1",), say=print)
    after = up(mixed)
    assert [host for host in before if before[host] != after[host]] == ["h1"]
    assert (macs(mixed, "h1"), mixed.known_hosts.read_text()) == (nics, known)
    assert on(mixed, "h1", "ls /root/kept && docker run --rm busybox echo works").endswith(
        "works\n"
    )


def test_poweroff_and_power_cut_stay_off_until_up(mixed: Lab) -> None:
    before = up(mixed)
    power.poweroff(mixed, "h2")
    power.cut_power(mixed, "h3")
    time.sleep(3)
    assert power.states(mixed) == {"h1": "up", "h2": "off", "h3": "off"}
    with pytest.raises(LabError, match="h2 is off"):
        power.reboot(mixed, ("h2",), say=print)
    after = power.start(mixed, say=print)
    assert [host for host in before if before[host] != after[host]] == ["h2", "h3"]
    assert on(mixed, "h3", "docker run --rm busybox echo works") == "works\n"


def test_another_suite_or_range_is_refused(mixed: Lab) -> None:
    with pytest.raises(LabError, match="this lab runs mixed, not sid"):
        bringup.up(mixed, UpOptions(suite="sid"), say=print)
    with pytest.raises(LabError, match="this lab has the ranges"):
        bringup.up(mixed, UpOptions(ranges=ranges("10.1.0.0/24,10.2.0.0/24")), say=print)


def test_a_taken_range_is_named(mixed: Lab, tmp_path: Path) -> None:
    taken = free_ranges(Lab(tmp_path))
    used = power.addresses(mixed)["h1"][0]
    wish = UpOptions(
        ranges=Ranges(
            ranges(f"{used.exploded.rsplit('.', 1)[0]}.0/24,10.1.0.0/24").management, taken.data
        )
    )
    with pytest.raises(LabError, match=rf"is in use on this machine: .*{mixed.links[0]}"):
        bringup.up(Lab(tmp_path), wish, say=print)
    assert not list(tmp_path.iterdir())


def test_more_hosts_are_added_and_two_labs_live_side_by_side(mixed: Lab, place: Lab) -> None:
    others = up(mixed)
    first = up(place, 1, bare=True)
    more = up(place, 2)
    assert (len(more), more["h1"]) == (2, first["h1"])
    teardown.down(place, say=print)
    assert up(mixed) == others


def command(place: Lab, *words: str) -> subprocess.Popen[str]:
    argv = (sys.executable, "-c", LAB, *words)
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        argv, cwd=place.folder, env={**os.environ, "PYTHONPATH": root}, text=True
    )


@pytest.mark.parametrize("after_s", [0.3, 0.6, 1.0, 1.5, 2.5])
def test_down_after_up_was_killed(place: Lab, after_s: float) -> None:
    process = command(place, "up", "3", "--bare", "--ranges", str(free_ranges(place)))
    time.sleep(after_s)
    process.kill()
    process.wait()
    teardown.down(place, say=print)
    assert not list(place.folder.iterdir())


def test_up_goes_on_after_up_was_killed(place: Lab) -> None:
    process = command(place, "up", "3", "--bare", "--ranges", str(free_ranges(place)))
    time.sleep(0.8)
    process.kill()
    process.wait()
    assert len(up(place, 3)) == 3


def kill(place: Lab, host: str, who: str) -> None:
    now = supervisor.running(place)
    for pid in now.watchers[host] if who == "watchers" else [now.machines[host]]:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("who", ["watchers", "machines"])
def test_a_killed_process_is_a_power_cut(place: Lab, who: str) -> None:
    before = up(place, 2, bare=True)
    kill(place, "h2", who)
    time.sleep(2)
    assert power.states(place) == {"h1": "up", "h2": "off"}
    after = up(place)
    assert (after["h1"] == before["h1"], after["h2"] == before["h2"]) == (True, False)
    kill(place, "h1", who)


def test_a_host_that_cannot_boot_is_named_with_its_console(place: Lab) -> None:
    up(place, 1, bare=True)
    power.poweroff(place, "h1")
    (place.host("h1").merged / "usr/lib/systemd/systemd").unlink()
    with pytest.raises(LabError, match=r"(?s)h1 did not come up: its machine ended\n.*status 1"):
        up(place)


@pytest.mark.full
def test_fifty_hosts(place: Lab) -> None:
    began = time.monotonic()
    assert len(up(place, 50)) == 50
    print(f"50 hosts in {time.monotonic() - began:.1f} s")
    for host in ("h1", "h25", "h50"):
        assert on(place, host, "docker run --rm busybox echo works") == "works\n"
        assert on(place, host, "systemctl is-system-running") == "running\n"
