"""Time and memory of `provision validate` on a generated inventory.

    .venv/bin/python tests/bench/validate.py 2000 2000    # hosts, containers
    .venv/bin/python tests/bench/validate.py --findings   # the largest file with a mistake per line

Prints a Markdown table: KiB of the file, seconds of processor time and of wall time, peak memory,
the exit status.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROVISION = Path(sys.executable).with_name("provision")


def inventory(hosts: int, containers: int) -> Iterator[str]:
    """The lines of an inventory whose containers have seven keys each."""
    yield "name: big\nhosts:"
    for k in range(hosts):
        yield f"  h{k}: {{address: 10.{k >> 16}.{k >> 8 & 255}.{k & 255}}}"
    yield "networks:\n  blue: {method: routes, cidr: 172.16.0.0/12, subnet_size: 26}"
    yield "containers:"
    for k in range(containers):
        yield (
            f"  c{k}: {{host: h{k % hosts}, network: blue, image: 'nginx:1.27', restart: always,"
            f" command: [httpd, -f, -h, /etc], ports: ['{8000 + k // hosts}:80'],"
            " env: {A: b, C: d}}"
        )


def mistakes() -> Iterator[str]:
    """As many misspelt keys as a file may have values."""
    yield "name: big\nhosts:"
    for k in range(49_000):
        yield f"  h{k}: {{adress: x}}"


def main() -> int:
    arguments = sys.argv[1:]
    lines = mistakes() if arguments == ["--findings"] else inventory(*map(int, arguments))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inventory.yml")
        path.write_text("\n".join(lines) + "\n")
        size = path.stat().st_size >> 10
        start = time.monotonic()
        process = subprocess.run((str(PROVISION), "validate", str(path)), capture_output=True)
        wall = time.monotonic() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print("| hosts and containers | KiB | processor s | s | MiB | exit status |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {' '.join(arguments)} | {size} | {usage.ru_utime + usage.ru_stime:.2f} | {wall:.2f}"
        f" | {usage.ru_maxrss >> 10} | {process.returncode} |"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
