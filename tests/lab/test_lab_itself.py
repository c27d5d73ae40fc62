"""The lab itself: its hosts boot, reboot, lose power, and leave nothing on the machine."""

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
from tests.lab.selection import sampled

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="boots machines: needs root"),
]
LAB = "from provision.lab.commands import lab; lab()"
SYSCTLS = ("fs/inotify/max_user_instances", "kernel/keys/maxkeys", "kernel/keys/maxbytes")


def up(
    lab: Lab, count: int | None = None, suite: str | None = None, *, bare: bool = False
) -> dict[str, str]:
    """Bring the lab up on free ranges; the boot id of each host."""
    free = None if lab.state.exists() else free_ranges(lab)
    return bringup.up(lab, UpOptions(count, suite, bare, free), say=print)


def ssh(lab: Lab, host: str, command: str) -> str:
    """Run a shell line on a host; its stdout."""
    argv = ready.ssh(lab, host, command, quick=True)
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def machine_state(lab: Lab) -> dict[str, object]:
    """All that a lab could leave on the machine, without the traces of other labs."""
    other_lab = re.compile(rf"\b(?!{lab.tag})[0-9a-f]{{6}}(-h\d+)?\b|/\.provision/lab/")
    lines = {
        "mounts": Path("/proc/self/mounts").read_text().splitlines(),
        "links": [path.name for path in Path("/sys/class/net").iterdir()],
        "namespaces": [path.name for path in Path("/run/netns").glob("*")],
        "nspawn": [str(path) for path in Path("/run/systemd/nspawn").glob("[!l]*/*")],
        "groups": [str(path) for path in Path("/sys/fs/cgroup").glob("**/provision-lab*")],
    }
    folder = str(lab.folder)
    return {
        **{
            key: {line for line in values if folder in line or not other_lab.search(line)}
            for key, values in lines.items()
        },
        "processes": [
            argv
            for _, argv in supervisor._processes()
            if any(folder in argument or lab.tag in argument for argument in argv)
        ],
        "sysctls": [Path("/proc/sys", name).read_text() for name in SYSCTLS],
        "files": sorted(lab.folder.rglob("*")),
    }


def assert_nothing_left(before: dict[str, object], after: dict[str, object]) -> None:
    """The lab has added nothing to the machine."""
    for name, entries in after.items():
        if isinstance(entries, set):
            # Subsets, because other programs may have removed their own entries meanwhile.
            assert entries <= before[name], f"{name} were left"
        else:
            assert entries == before[name], f"{name} differ"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab that is not up yet; afterwards it is taken down and may leave nothing."""
    lab = Lab(tmp_path.resolve())
    before = machine_state(lab)
    yield lab
    teardown.down(lab, say=print)
    assert_nothing_left(before, machine_state(lab))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One host of each suite, with Docker."""
    lab = Lab(tmp_path_factory.mktemp("mixed").resolve())
    before = machine_state(lab)
    up(lab, 3, "mixed")
    yield lab
    teardown.down(lab, say=print)
    assert_nothing_left(before, machine_state(lab))


def macs(lab: Lab, host: str) -> str:
    """The MAC addresses of a host's two NICs."""
    return ssh(lab, host, "cat /sys/class/net/host0/address /sys/class/net/eth1/address")


def test_a_second_up_changes_nothing_and_is_quick(mixed: Lab) -> None:
    """No host boots again, no file is written, and `up` ends within 5 s."""
    files = {path: path.stat().st_mtime_ns for path in mixed.dot.iterdir() if path.is_file()}
    first, begin = up(mixed), time.monotonic()
    assert up(mixed) == first
    assert time.monotonic() - begin < 5
    assert files == {path: path.stat().st_mtime_ns for path in files}


def test_containers_run_on_every_suite(mixed: Lab) -> None:
    """Each host runs its own Debian release, a container, and no failed unit."""
    assert [ssh(mixed, host, "cat /etc/debian_version")[:2] for host in ("h1", "h2")] == [
        "13",
        "12",
    ]
    for host in ("h1", "h2", "h3"):
        assert ssh(mixed, host, "docker run --rm busybox echo works") == "works\n"
        assert ssh(mixed, host, "systemctl is-system-running") == "running\n"


def test_openssh_refuses_hosts_without_their_known_keys(mixed: Lab) -> None:
    """The lab's ssh_config checks host keys strictly."""
    config = subprocess.run(
        ready.ssh(mixed, "-G", "h1"), capture_output=True, text=True, check=True
    ).stdout
    assert "stricthostkeychecking true" in config
    empty = mixed.folder / "known"
    empty.write_text("")
    argv = ("ssh", "-o", f"UserKnownHostsFile={empty}", "-F", str(mixed.ssh_config), "h1", "true")
    assert subprocess.run(argv, capture_output=True).returncode == 255
    empty.unlink()


def test_hosts_reach_each_other_by_both_nics(mixed: Lab) -> None:
    """Each host pings both addresses of each other host."""
    for first, second in itertools.permutations(power.addresses(mixed), 2):
        for address in power.addresses(mixed)[second]:
            ssh(mixed, first, f"ping -c1 -W2 {address}")


def test_networkd_manages_both_nics(mixed: Lab) -> None:
    """A reload and a reconfigure of systemd-networkd leave the addresses as they are."""
    for host in ("h1", "h2", "h3"):
        before = ssh(mixed, host, "ip -br -4 address show to 10.0.0.0/8; ip -br link")
        ssh(mixed, host, "networkctl reload && networkctl reconfigure eth1 && sleep 2")
        assert ssh(mixed, host, "ip -br -4 address show to 10.0.0.0/8; ip -br link") == before
        # `configuring` lasts for some seconds on a busy machine.
        count = "networkctl --no-legend | grep -c 'configured *$'"
        wait = f'for k in $(seq 40); do [ "$({count})" = 2 ] && break; sleep 0.5; done; {count}'
        assert ssh(mixed, host, wait).strip() == "2"


def test_a_rebooted_host_keeps_its_nics_keys_and_files(mixed: Lab) -> None:
    """Only that host boots, with the same MAC addresses, host keys and disk."""
    before, nics = up(mixed), macs(mixed, "h1")
    ssh(mixed, "h1", "touch /root/kept")
    known = mixed.known_hosts.read_text()
    power.reboot(mixed, ("h1",), say=print)
    after = up(mixed)
    assert [host for host in before if before[host] != after[host]] == ["h1"]
    assert (macs(mixed, "h1"), mixed.known_hosts.read_text()) == (nics, known)
    assert ssh(mixed, "h1", "ls /root/kept && docker run --rm busybox echo works").endswith(
        "works\n"
    )


def test_hosts_without_power_stay_off_until_up(mixed: Lab) -> None:
    """Neither poweroff nor a power cut restarts a host, and `reboot` refuses it."""
    before = up(mixed)
    power.poweroff(mixed, "h2")
    power.cut_power(mixed, "h3")
    time.sleep(3)
    assert power.states(mixed) == {"h1": "up", "h2": "off", "h3": "off"}
    with pytest.raises(LabError, match="h2 is off"):
        power.reboot(mixed, ("h2",), say=print)
    after = power.start(mixed, say=print)
    assert [host for host in before if before[host] != after[host]] == ["h2", "h3"]
    assert ssh(mixed, "h3", "docker run --rm busybox echo works") == "works\n"


def test_another_suite_or_range_is_refused(mixed: Lab) -> None:
    """The error says what the lab runs."""
    with pytest.raises(LabError, match="this lab runs mixed, not sid"):
        bringup.up(mixed, UpOptions(suite="sid"), say=print)
    with pytest.raises(LabError, match="this lab has the ranges"):
        bringup.up(mixed, UpOptions(ranges=ranges("10.1.0.0/24,10.2.0.0/24")), say=print)


def test_a_range_in_use_is_refused(mixed: Lab, tmp_path: Path) -> None:
    """The error names the interface that has the range, and no file is written."""
    free = free_ranges(Lab(tmp_path))
    used = power.addresses(mixed)["h1"][0]
    options = UpOptions(
        ranges=Ranges(
            ranges(f"{used.exploded.rsplit('.', 1)[0]}.0/24,10.1.0.0/24").management, free.data
        )
    )
    with pytest.raises(LabError, match=rf"is in use on this machine: .*{mixed.links[0]}"):
        bringup.up(Lab(tmp_path), options, say=print)
    assert not list(tmp_path.iterdir())


def test_a_lab_grows_beside_another_lab(mixed: Lab, lab: Lab) -> None:
    """No host of either lab boots again when one grows, or when one is taken down."""
    boot_ids = up(mixed)
    first = up(lab, 1, bare=True)
    more = up(lab, 2)
    assert (len(more), more["h1"]) == (2, first["h1"])
    teardown.down(lab, say=print)
    assert up(mixed) == boot_ids


def start(lab: Lab, *arguments: str) -> subprocess.Popen[str]:
    """Start `provision lab …` in the lab's folder."""
    argv = (sys.executable, "-c", LAB, *arguments)
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(argv, cwd=lab.folder, env={**os.environ, "PYTHONPATH": root}, text=True)


@pytest.mark.parametrize("after_s", sampled((0.3, 0.6, 1.0, 1.5, 2.5), 1.0))
def test_down_removes_what_a_killed_up_left(lab: Lab, after_s: float) -> None:
    """The folder is empty then, at whatever moment `up` was killed."""
    process = start(lab, "up", "3", "--bare", "--ranges", str(free_ranges(lab)))
    time.sleep(after_s)
    process.kill()
    process.wait()
    teardown.down(lab, say=print)
    assert not list(lab.folder.iterdir())


def test_up_completes_what_a_killed_up_began(lab: Lab) -> None:
    """The next `up` boots all three hosts."""
    process = start(lab, "up", "3", "--bare", "--ranges", str(free_ranges(lab)))
    time.sleep(0.8)
    process.kill()
    process.wait()
    assert len(up(lab, 3)) == 3


def test_of_two_labs_that_want_one_range_at_once_one_is_refused(lab: Lab, tmp_path: Path) -> None:
    """Never both: a host of one lab would answer for a host of the other."""
    folders = (lab.folder, tmp_path)
    wanted = str(free_ranges(lab))
    argv = ("up", "1", "--bare", "--ranges", wanted)
    try:
        processes = [start(Lab(folder), *argv) for folder in folders]
        assert sorted(process.wait() for process in processes) == [0, 1]
    finally:
        teardown.down(Lab(tmp_path), say=print)


def kill(lab: Lab, host: str, victim: str) -> None:
    """Kill a host's machine, or the processes that watch it."""
    processes = supervisor.running(lab)
    watchers, machine = processes.watchers, processes.machines
    for pid in watchers[host] if victim == "watchers" else [machine[host]]:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", sampled(("watchers", "machines"), "machines"))
def test_a_killed_process_is_a_power_cut(lab: Lab, victim: str) -> None:
    """The host is off until `up`, and no other host is affected."""
    before = up(lab, 2, bare=True)
    kill(lab, "h2", victim)
    time.sleep(2)
    assert power.states(lab) == {"h1": "up", "h2": "off"}
    after = up(lab)
    assert (after["h1"] == before["h1"], after["h2"] == before["h2"]) == (True, False)
    kill(lab, "h1", victim)


def test_a_host_that_cannot_boot_is_named_with_its_console(lab: Lab) -> None:
    """The error of `up` has the end of the host's console."""
    up(lab, 1, bare=True)
    power.poweroff(lab, "h1")
    (lab.host("h1").merged / "usr/lib/systemd/systemd").unlink()
    with pytest.raises(LabError, match=r"(?s)h1 did not come up: its machine ended\n.*status 1"):
        up(lab)


@pytest.mark.full
def test_a_lab_of_fifty_hosts_works(lab: Lab) -> None:
    """All fifty hosts boot, and three of them run a container and no failed unit."""
    begin = time.monotonic()
    assert len(up(lab, 50)) == 50
    print(f"50 hosts in {time.monotonic() - begin:.1f} s")
    for host in ("h1", "h25", "h50"):
        assert ssh(lab, host, "docker run --rm busybox echo works") == "works\n"
        assert ssh(lab, host, "systemctl is-system-running") == "running\n"
