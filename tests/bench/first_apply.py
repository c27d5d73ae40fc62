"""The first apply and the destroy of a network of routes, beside a bare script, on lab hosts.

    sudo .venv/bin/python tests/bench/first_apply.py 3 13 50

The bare script makes the same objects in the same order, in one shell a host over one paramiko
connection: forwarding, Docker's network, a chain with its two rules, the routes, a unit that makes
them again at boot, the container. It looks at nothing, records nothing, proves nothing, and cannot
be undone. The commands take turns, so that a machine that slows down slows down both. Prints a
Markdown table for each size: median seconds of the whole process, and the ratio to the script.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.routes_network import bare_loop, write_inventory
from tests.bench.temporary_lab import temporary_lab
from tests.lab.hosts import Hosts

BENCH = Path(__file__).parent
PROVISION = str(Path(sys.executable).with_name("provision"))
END = "the script ran to its end"
IMAGE = "bench:1"
FILE = "first.yml"
KEYS = f"image: '{IMAGE}', command: [/bin/busybox, sleep, '2147483647']"


def main() -> None:
    """Boot a lab for each size, and measure on it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--suite", default="trixie")
    parser.add_argument("sizes", type=int, nargs="*", default=[3, 13, 50], metavar="HOSTS")
    options = parser.parse_args()
    for size in options.sizes:
        with temporary_lab(size, options.suite) as hosts:
            # Both find the image there: a registry or a transfer would only add to both.
            hosts.everywhere(f"tar -C / -ch bin/busybox | docker import - {IMAGE}")
            write_inventory(hosts, "first", size, keys=KEYS)
            commands = bare_commands(hosts, size)
            commands["apply"] = (PROVISION, "apply", FILE)
            commands["destroy"] = (PROVISION, "destroy", FILE, "--yes")
            print_table(size, measured(hosts, commands, options.runs))


def bare_commands(hosts: Hosts, size: int) -> dict[str, tuple[str, ...]]:
    """The commands that run the bare scripts on all hosts at the same time."""
    data, commands = hosts.networks[1], {}
    for verb in ("apply", "destroy"):
        folder = hosts.lab.folder / f"bare-{verb}"
        folder.mkdir()
        body = (BENCH / "peers" / f"bare_{verb}.sh").read_text()
        for n in range(1, size + 1):
            head = f"number={n} size={size} data={data} image={IMAGE}\n"
            (folder / f"h{n}.sh").write_text(f"{head}{body}echo '{END}'\n")
        commands[f"bare {verb}"] = bare_loop(hosts, size, folder, END)
    return commands


def measured(
    hosts: Hosts, commands: dict[str, tuple[str, ...]], runs: int
) -> dict[str, list[float]]:
    """Seconds of each command; what one makes is removed before the other makes its own."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name in ("bare apply", "bare destroy", "apply", "destroy"):
            seconds[name].append(timed(hosts, commands[name]))
    return seconds


def timed(hosts: Hosts, command: tuple[str, ...]) -> float:
    """Run a whole process, which must succeed; its wall time in seconds."""
    begin = time.monotonic()
    process = subprocess.run(
        command,
        cwd=hosts.lab.folder,
        env=hosts.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - begin
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:2])}: {process.stdout[-2000:]}")
    return seconds


def print_table(size: int, seconds: dict[str, list[float]]) -> None:
    """The table of one size."""
    print(f"\n{size} hosts, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print("| | bare script, s | `provision`, s | min–max | ratio |\n|---|---|---|---|---|")
    for verb in ("apply", "destroy"):
        bare, ours = (statistics.median(seconds[name]) for name in (f"bare {verb}", verb))
        span = f"{min(seconds[verb]):.2f}–{max(seconds[verb]):.2f}"
        print(f"| {verb} | {bare:.2f} | {ours:.2f} | {span} | {ours / bare:.2f} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
