"""Time, processor time and memory of the controller for fleets of up to 1,000 hosts, without hosts.

    .venv/bin/python tests/bench/scale.py                        # 50, 200 and 1,000 hosts
    .venv/bin/python tests/bench/scale.py --methods vxlan 50 200

A fake transport answers with snapshots captured on lab hosts (`captured_fleet`). Each method and
number of hosts runs in a process of its own. The phases: `validate` reads the file; `first plan`
and `no-change plan` are `provision plan` before and after an apply, with the reading of the
snapshots; `operations` makes the steps, the waves and the script of each host; `report` prints the
plan as text and as JSON. Prints a Markdown table for each method, and the load at its start.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parents[2]))

SIZES = (50, 200, 1000)
METHODS = ("routes", "vxlan", "flannel")
PHASES = ("validate", "first plan", "operations", "report", "no-change plan")
T = TypeVar("T")


def inventory_text(method: str, hosts: int) -> str:
    """An inventory of hosts in one /16, with a network over all and a container on each."""
    more = ", flanneld: flanneld" if method == "flannel" else ""
    lines = ["name: demo", "hosts:"]
    lines += [f"  h{n}: {{address: 10.78.{n >> 8}.{n & 255}}}" for n in range(1, hosts + 1)]
    lines += [f"networks:\n  blue: {{method: {method}, cidr: 10.128.0.0/9{more}}}", "containers:"]
    lines += [f"  c{n}: {{host: h{n}, network: blue}}" for n in range(1, hosts + 1)]
    return "\n".join(lines) + "\n"


def write_inventory(folder: Path, method: str, hosts: int) -> Path:
    """Write the inventory, and a file that passes for flanneld."""
    (folder / "flanneld").write_bytes(b"\x7fELF")
    path = folder / "inventory.yml"
    path.write_text(inventory_text(method, hosts))
    return path


@dataclass(frozen=True)
class Cost:
    """Seconds and the peak of the resident memory of one phase; `count`: what it has made."""

    wall_s: float
    cpu_s: float
    peak_mib: int
    count: int


class Meter:
    """Measures phases; the peak memory is that of the process while the phase ran."""

    def __init__(self) -> None:
        self.costs: dict[str, Cost] = {}

    def measure(self, phase: str, work: Callable[[], T], size: Callable[[T], int]) -> T:
        """Run one phase; `size` counts what it returns."""
        # proc(5): 5 resets the peak (VmHWM) to the memory in use now.
        Path("/proc/self/clear_refs").write_text("5")
        wall, cpu = time.monotonic(), time.process_time()
        result = work()
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        status = Path("/proc/self/status").read_text()
        peak_kib = int(status.partition("VmHWM:")[2].split()[0])
        self.costs[phase] = Cost(wall, cpu, peak_kib >> 10, size(result))
        return result


def run(hosts: int, folder: Path) -> dict[str, Cost]:
    """Measure every phase; the snapshots are in `folder` already."""
    from provision.engine import apply, report
    from provision.engine.fleet import Session
    from provision.engine.plan_text import plan_lines
    from provision.inventory.load import load
    from tests.bench.captured_fleet import CapturedFleet

    gc.set_threshold(100_000)  # as `provision` does
    meter = Meter()
    inventory = meter.measure("validate", lambda: load(folder / "inventory.yml"), lambda _: hosts)

    def preview(state: str) -> report.Report:
        session = Session(inventory, CapturedFleet(folder / state))
        return apply.preview(session, tuple(inventory.hosts))

    first = meter.measure("first plan", lambda: preview("bare"), lambda r: len(r.results))
    require_planned(first, hosts)
    meter.measure("operations", partial(scripts, first), sum)
    meter.measure("report", partial(printed, first), len)
    del first
    second = meter.measure("no-change plan", lambda: preview("applied"), lambda r: len(r.results))
    if second.results or second.conflicts or second.errors:
        problems = [*map(str, second.errors), *plan_lines(second)]
        sys.exit("an applied fleet differs:\n" + "\n".join(problems[:40]))
    return meter.costs


def require_planned(planned: Any, hosts: int) -> None:
    """Exit unless the first plan changes every host."""
    problems = (*planned.errors, *planned.conflicts)
    if problems:
        sys.exit(f"no plan: {problems[0]}")
    changed = {result.change.ref.host for result in planned.results}
    if len(changed) != hosts:
        sys.exit(f"the first plan changes {len(changed)} of {hosts} hosts")


def scripts(planned: Any) -> list[int]:
    """Make the operations, the waves and the script of each host in each wave; their bytes."""
    from provision.engine.pki import sign
    from provision.engine.plan import Plan, operations, waves
    from provision.resources import script
    from provision.resources.on_hosts import lock_path

    plan = Plan(tuple(result.change for result in planned.results), ())
    steps = operations(plan, txn="0" * 16)
    sizes = []
    for wave in waves(steps):
        for of_host in wave.values():
            # No authority signs here: what needs a signature is left out.
            groups = [sign(op.steps) for op in of_host if op.change.ref.kind != "certificate"]
            lock = lock_path("demo")
            sizes.append(len(script.render(groups, nonce="0" * 16, lock=lock, journal=":")))
    return sizes


def printed(planned: Any) -> str:
    """The plan as text and as JSON."""
    from provision.engine.plan_text import plan_lines
    from provision.engine.report import plan_json

    return "\n".join(plan_lines(planned)) + json.dumps(plan_json(planned), indent=2)


def main() -> None:
    """Measure in one process for each method and size, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES, metavar="HOSTS")
    parser.add_argument("--methods", default=",".join(METHODS), help="separated by commas")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        costs = run(options.sizes[0], options.folder)
        print(json.dumps({phase: vars(cost) for phase, cost in costs.items()}))
        return
    # An exception, so that the folder of the snapshots is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for method in options.methods.split(","):
        load = os.getloadavg()[0]
        costs = {size: measured(method, size) for size in options.sizes}
        print("\n".join(table(method, costs, load)), flush=True)


def measured(method: str, hosts: int) -> dict[str, Cost]:
    """The costs of one size, measured in a process that has done nothing else."""
    from provision.inventory.load import load
    from tests.bench import captured_fleet

    with tempfile.TemporaryDirectory(prefix="provision-scale-", dir="/var/tmp") as name:
        folder = Path(name)
        inventory = load(write_inventory(folder, method, hosts))
        captured_fleet.write(inventory, folder / "bare", applied=False)
        captured_fleet.write(inventory, folder / "applied", applied=True)
        arguments = ("--one", "--methods", method, "--folder", name, str(hosts))
        argv = (sys.executable, __file__, *arguments)
        process = subprocess.run(argv, stdout=subprocess.PIPE, text=True)
    if process.returncode:
        sys.exit(process.returncode)
    return {phase: Cost(**cost) for phase, cost in json.loads(process.stdout).items()}


def table(method: str, costs: dict[int, dict[str, Cost]], load: float) -> Iterator[str]:
    """A Markdown table: a row for each phase, and its growth from the size before."""
    sizes = sorted(costs)
    yield f"\n`{method}`; load {load:.1f} on {os.cpu_count()} processors\n"
    heads = [f"{size:,} hosts: s, CPU s, MiB, made" for size in sizes]
    growths = [f"CPU × from {a:,} to {b:,}" for a, b in pairwise(sizes)]
    yield "| phase | " + " | ".join((*heads, *growths)) + " |"
    yield "|---" * (len(heads) + len(growths) + 1) + "|"
    for phase in PHASES:
        cells = [_cell(costs[size][phase]) for size in sizes]
        seconds = [costs[size][phase].cpu_s for size in sizes]
        cells += [f"{b / a:.1f}" for a, b in pairwise(seconds)]
        yield f"| {phase} | " + " | ".join(cells) + " |"


def _cell(cost: Cost) -> str:
    return f"{cost.wall_s:.2f}, {cost.cpu_s:.2f}, {cost.peak_mib}, {cost.count:,}"


if __name__ == "__main__":
    main()
