"""Two route reflectors of method `bgp` with up to 950 simulated speakers, on this machine alone.

    sudo .venv/bin/python tests/bench/bgp_speakers.py             # 50, 200 and 950 speakers
    sudo .venv/bin/python tests/bench/bgp_speakers.py --suite bookworm 50

FRR's bgpd comes from the lab's base tree, which is built if it is missing. See bgp_namespaces.py
for what a speaker is. For each size, all speakers but one run before the two reflectors start, and
call them; then the last one starts; then it falls silent, as a host does that loses its power.
Each time is that until the last speaker has the right routes. Needs about 15 MiB for a speaker.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from provision.lab import base
from tests.bench.bgp_namespaces import REFLECTORS, Daemons, Place, until, vty

SIZES = (50, 200, 950)
IDLE_S = 20.0
COLUMNS = {
    "start_s": "both reflectors start, s",
    "join_s": "one more, s",
    "loss_s": "one dies, s",
    "start_cpu_s": "CPU s of a reflector at the start",
    "idle_cpu_s": "CPU s in a quiet minute",
    "bgpd_mib": "bgpd MiB",
    "zebra_mib": "zebra MiB",
    "speaker_mib": "a speaker's MiB",
    "load": "load",
}


def main() -> None:
    """Measure each size in namespaces of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="trixie")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES, metavar="SPEAKERS")
    options = parser.parse_args()
    recipe = base.recipe(options.suite, bare=False)
    if options.one:
        print(json.dumps(measured(recipe.tree, options.sizes[0])))
        return
    signal.signal(signal.SIGTERM, terminate)
    base.ensure(recipe, None, lambda line: print(line, file=sys.stderr))
    print("| speakers | " + " | ".join(COLUMNS.values()) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|", flush=True)
    for size in options.sizes:
        figures = in_namespaces(options.suite, size)
        cells = (f"{figures[key]:.1f}" for key in COLUMNS)
        print(f"| {size} | " + " | ".join(cells) + " |", flush=True)


def terminate(_signal: int, _frame: object) -> None:
    """End by an exception, so that the processes of a size are ended, and by no second one."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def in_namespaces(suite: str, size: int) -> dict[str, float]:
    """Measure a size in new namespaces; their processes, mounts and links end with this call."""
    argv = (
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork"),
        *("--kill-child=KILL", "--mount-proc"),
        *(sys.executable, __file__, "--one", "--suite", suite, str(size)),
    )
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            output, _ = process.communicate()
        finally:
            process.kill()
    if process.returncode:
        sys.exit(process.returncode)
    figures: dict[str, float] = json.loads(output)
    return figures


def measured(tree: Path, size: int) -> dict[str, float]:
    """The figures of one size; those of a reflector are of the one that needs more."""
    place = Place(tree, size)
    *early, late = place.speakers
    speakers = [start(place, host) for host in early]
    load = os.getloadavg()[0]
    begin = time.monotonic()
    for speaker in speakers:
        speaker.process.send_signal(signal.SIGCONT)
    reflectors = [place.start_reflector(host) for host in REFLECTORS]
    known = size + len(REFLECTORS)
    start_s = await_prefixes(reflectors, speakers, known - 1, begin)
    costs = {"start_s": start_s, "load": load}
    costs["start_cpu_s"] = max(map(cpu_s, reflectors))
    costs["idle_cpu_s"] = idle_cpu_s(reflectors)
    begin = time.monotonic()
    last = place.start_speaker(late)
    costs["join_s"] = await_prefixes(reflectors, [*speakers, last], known, begin)
    for name in ("bgpd", "zebra"):
        costs[f"{name}_mib"] = max(mib(each.pids()[name], "Rss") for each in reflectors)
    costs["speaker_mib"] = sum(mib(each.process.pid, "Pss") for each in speakers) / len(speakers)
    bfdd = place.start_bfdd(late)
    sessions = [each.folder for each in reflectors]
    address = str(place.inventory.hosts[late].address)
    until(lambda: all(has_bfd(folder, address) for folder in sessions), f"no BFD with {late}")
    begin = time.monotonic()
    place.silence(late, last.process, bfdd)
    costs["loss_s"] = await_prefixes(reflectors, speakers, known - 1, begin)
    return costs


def has_bfd(folder: Path, address: str) -> bool:
    """True if a reflector has a BFD session with an address."""
    peers = vty(folder, "show bfd peers json", "bfdd")
    return any(peer["peer"] == address and peer["status"] == "up" for peer in peers)


def start(place: Place, host: str) -> Daemons:
    """Start a speaker, and stop it until all have started: its calls would slow down the others."""
    speaker = place.start_speaker(host)
    until((speaker.folder / "bgpd.vty").exists, f"bgpd of {host} does not start")
    speaker.process.send_signal(signal.SIGSTOP)
    return speaker


def await_prefixes(
    reflectors: Sequence[Daemons], speakers: Iterable[Daemons], count: int, begin: float
) -> float:
    """Wait until each has routes to `count` subnets; return the seconds since `begin`.

    The speakers are asked once the reflectors have the right routes, so that the questions cost
    little while the daemons work. All are asked at least once, which is part of the time.
    """

    def wait(each: Daemons) -> None:
        problem = f"{each.folder.name} does not have {count} subnets"
        until(lambda: each.prefixes() == count, problem, pause_s=0.2)

    for each in reflectors:
        wait(each)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(wait, speakers))
    return time.monotonic() - begin


def cpu_s(daemons: Daemons) -> float:
    """The seconds of processor time of the daemons of one host since their start."""
    ticks = 0
    for pid in daemons.pids().values():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime, proc_pid_stat(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def idle_cpu_s(reflectors: list[Daemons]) -> float:
    """The processor time that a reflector takes in a minute in which nothing changes."""
    before = [cpu_s(each) for each in reflectors]
    time.sleep(IDLE_S)
    used = (cpu_s(each) - then for each, then in zip(reflectors, before, strict=True))
    return max(used) * 60 / IDLE_S


def mib(pid: int, kind: str) -> float:
    """The memory of a process: `Rss`, or `Pss`, which divides what processes share."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition(f"\n{kind}:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
