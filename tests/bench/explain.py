"""Times `provision explain` on lab hosts, in an inventory of three hosts and in one of all hosts.

    sudo .venv/bin/python tests/bench/explain.py                # 50 hosts, 5 runs
    sudo .venv/bin/python tests/bench/explain.py --lab FOLDER   # on the hosts of a lab that is up

Each run explains a pair that is reached and the same pair with a rule that drops the packet, in
both inventories in turn. Prints a Markdown table with the seconds of the whole process, and fails
where an answer is not the one that was planted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from provision.lab.layout import Lab
from tests.bench.routes_network import BROKEN, dropping, write_inventory
from tests.bench.temporary_lab import temporary_lab
from tests.lab.hosts import Hosts

FEW = 3


def main() -> None:
    """Measure on a lab of its own, or on that of --lab."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--suite", default="trixie")
    parser.add_argument("--lab", type=Path, help="the folder of a lab that is up")
    options = parser.parse_args()
    booted = nullcontext(Hosts(Lab(options.lab))) if options.lab else None
    with booted or temporary_lab(options.hosts, options.suite) as hosts:
        files = {
            write_inventory(hosts, "few", FEW, prefix="few"): FEW,
            write_inventory(
                hosts, "all", options.hosts, prefix="all", cidr="172.21.0.0/16"
            ): options.hosts,
        }
        try:
            for file in files:
                hosts.provision("apply", file)
            print_table(files, measured(hosts, list(files), options.runs))
        finally:
            for file in files:
                hosts.provision("destroy", file, "--yes", status=None)


def measured(hosts: Hosts, files: list[str], runs: int) -> dict[tuple[str, str], list[float]]:
    """Seconds of each explanation by inventory and by what it has to find."""
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(runs):
        for file in files:
            seconds[file, "reached"].append(explained(hosts, file, reached=True))
            with dropping(hosts, "-p icmp"):
                seconds[file, "dropped by a rule"].append(explained(hosts, file, reached=False))
    return seconds


def explained(hosts: Hosts, file: str, *, reached: bool) -> float:
    """Seconds of one explanation; its answer is checked against what was planted."""
    name = Path(file).stem
    program = str(Path(sys.executable).with_name("provision"))
    begin = time.monotonic()
    process = subprocess.run(
        (program, "explain", file, f"{name}1", f"{name}2", "--json"),
        cwd=hosts.lab.folder,
        env=hosts.environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - begin
    answer = json.loads(process.stdout)
    cause = answer["cause"]
    if answer["reached"] != reached or (cause is None) != reached:
        raise SystemExit(f"{file}: a wrong answer: {answer}")
    if cause and (cause["host"], cause["kind"]) != (BROKEN, "firewall_rule"):
        raise SystemExit(f"{file}: a wrong cause: {cause}")
    return seconds


def print_table(files: dict[str, int], seconds: dict[tuple[str, str], list[float]]) -> None:
    """Median and longest of each kind of explanation."""
    print(f"\nload {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print("| hosts in the inventory | the packet is | median s | longest s |\n|---|---|---|---|")
    for (file, kind), runs in seconds.items():
        print(f"| {files[file]} | {kind} | {statistics.median(runs):.2f} | {max(runs):.2f} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
