"""The first apply of flannel on three hosts of the lab, and where its time goes.

    sudo .venv/bin/python tests/bench/flannel.py

flanneld is built before the clock starts, if it was not. Prints a Markdown table: seconds of the
whole process, and of each kind of change on the host that took longest for it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from provision.lab import bringup, teardown
from provision.lab.layout import Lab
from provision.lab.ranges import ranges
from provision.lab.settings import UpOptions
from provision.methods.flannel import binary

ROOT = Path(__file__).parents[2]
MANAGEMENT, DATA = "10.119.0", "10.120.0"
PROVISION = str(Path(sys.executable).with_name("provision"))


def main() -> None:
    """Boot, apply, print, take down."""
    binary.built(print)
    place = Lab(Path(tempfile.mkdtemp(prefix="provision-bench-", dir="/var/tmp")))
    try:
        wish = UpOptions(3, "mixed", False, ranges(f"{MANAGEMENT}.0/24,{DATA}.0/24"))
        bringup.up(place, wish, say=lambda _text: None)
        text = (ROOT / "inventories" / "flannel-vxlan.yml").read_text()
        (place.folder / "flannel.yml").write_text(text.replace("10.78.0.", f"{DATA}."))
        begin = time.monotonic()
        done = subprocess.run(
            (PROVISION, "apply", "flannel.yml", "--json"),
            cwd=place.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        show(json.loads(done.stdout), time.monotonic() - begin)
    finally:
        teardown.down(place, say=lambda _text: None)
        shutil.rmtree(place.folder)


def show(done: dict, whole_s: float) -> None:
    """The table, longest first; what is not in a step is looking, sending and connecting."""
    by_host: dict[tuple[str, str], float] = defaultdict(float)
    for change in done["changes"]:
        name = change["name"].removesuffix(".service").rpartition("-")[2]
        kind = f"service {name}" if change["kind"] == "service" else change["kind"]
        by_host[kind, change["host"]] += change["seconds"]
    longest: dict[str, float] = defaultdict(float)
    for (kind, _), seconds in by_host.items():
        longest[kind] = max(longest[kind], seconds)
    print("| what | seconds |\n|---|---|")
    print(f"| all | {whole_s:.1f} |")
    for kind, seconds in sorted(longest.items(), key=lambda item: -item[1]):
        if seconds >= 0.05:
            print(f"| {kind} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
