"""The seconds of flannel's first apply on three lab hosts, in total and per kind of resource.

    sudo .venv/bin/python tests/bench/flannel.py

Builds flanneld before the measurement if it is missing. Prints a Markdown table: the seconds of
the whole process, and of each kind of resource on the host that took longest for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from provision.methods.flannel import binary
from tests.bench.temporary_lab import temporary_lab

PROVISION = str(Path(sys.executable).with_name("provision"))


def main() -> None:
    """Boot a lab, apply, print the table, take the lab down."""
    binary.built(print)
    with temporary_lab(3, "mixed") as hosts:
        inventory = hosts.inventory("flannel-vxlan.yml")
        begin = time.monotonic()
        process = subprocess.run(
            (PROVISION, "apply", inventory, "--json"),
            cwd=hosts.lab.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        print_table(json.loads(process.stdout), time.monotonic() - begin)


def print_table(result: dict[str, Any], total_s: float) -> None:
    """Print the kinds, the longest first. The rest of the total is reading, sending, connecting."""
    by_host: dict[tuple[str, str], float] = defaultdict(float)
    for change in result["changes"]:
        name = change["name"].removesuffix(".service").rpartition("-")[2]
        kind = f"service {name}" if change["kind"] == "service" else change["kind"]
        by_host[kind, change["host"]] += change["seconds"]
    longest: dict[str, float] = defaultdict(float)
    for (kind, _), seconds in by_host.items():
        longest[kind] = max(longest[kind], seconds)
    print("| kind of resource | seconds |\n|---|---|")
    print(f"| total | {total_s:.1f} |")
    for kind, seconds in sorted(longest.items(), key=lambda item: -item[1]):
        if seconds >= 0.05:
            print(f"| {kind} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
