"""Seconds in which `verify` judges and prints what the hosts told, without hosts.

    .venv/bin/python tests/bench/judging.py               # 20, 50 and 100 containers
    .venv/bin/python tests/bench/judging.py --junit 50

Makes the evidence of a verify in which every pair answers and every sniffer has counted its
packets, and prints a Markdown table: processor seconds of judging with pytest, and of printing the
tables, the JSON and the page; the peak memory; the load at the start.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import time
from contextlib import redirect_stdout
from ipaddress import IPv4Address
from itertools import permutations
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

SIZES = (20, 50, 100)


def gathered(containers: int, folder: Path) -> Any:
    """Evidence of `routes` between as many hosts, with a container on each."""
    from provision.checks.gather import Drift, Evidence
    from provision.checks.probe import Answer, Endpoint, Listener
    from provision.checks.wire import Capture, FrameCount
    from provision.inventory.load import load
    from tests.bench.scale import write_inventory

    inventory = load(write_inventory(folder, "routes", containers))
    hosts, subnets = tuple(inventory.hosts), inventory.networks["blue"].subnets
    ends = {
        c.name: Endpoint(c.name, c.host, c.network, 100, next(subnets[c.host].hosts()) + 1, 1500)
        for c in inventory.containers.values()
    }
    answers = {
        (check, source, target): Answer(0, f"same {ends[source].address}")
        for source, target in permutations(ends, 2)
        for check in ("ping", "mtu", "tcp", "udp")
    }

    def frame(source: IPv4Address | None, target: IPv4Address | None, *, out: bool) -> FrameCount:
        assert source is not None and target is not None
        return FrameCount("eth1", out, "plain", 0, (source, target), (source, target), 9)

    addresses = {end.host: end.address for end in ends.values()}
    captures = {
        host: Capture(
            tuple(
                frame(*((own, peer) if out else (peer, own)), out=out)
                for peer in addresses.values()
                if peer != own
                for out in (True, False)
            ),
            0,
            "",
        )
        for host, own in addresses.items()
    }
    return Evidence(
        inventory=inventory,
        hosts=hosts,
        containers=tuple(inventory.containers.values()),
        drift={host: Drift((), ()) for host in hosts},
        facts={},
        endpoints=ends,
        listeners={name: Listener(40000, 200, ()) for name in ends},
        before={},
        after={},
        answers=answers,
        captures=captures,
        statuses={},
        missing_tools={},
        errors={},
    )


def measure(containers: int, folder: Path, *, junit: bool) -> None:
    """Judge in this process, and print one row of the table."""
    from provision.checks import gather
    from provision.checks.page import page
    from provision.checks.run import run_checks
    from provision.checks.text import as_json, show
    from provision.engine.fleet import Session
    from tests.fakes import Hosts

    evidence = gathered(containers, folder)
    gather.evidence = lambda *_, **__: evidence
    # The hosts that a diagnosis asks do not answer: what is measured is the judgement.
    session = Session(evidence.inventory, Hosts())
    begin = time.process_time()
    result = run_checks(session, evidence.hosts, junit=junit, expression=None)
    judged = time.process_time()
    with redirect_stdout(io.StringIO()):
        show(result)
    as_json(result)
    page(result, "benchmark")
    printed = time.process_time()
    modes = sum(check.check == "mode" for check in result.checks)
    if sum(check.ok for check in result.checks) != len(result.checks) - modes:
        sys.exit("a check failed: the evidence is incomplete")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    cells = f"{judged - begin:.2f} | {printed - judged:.2f} | {peak}"
    print(f"| {containers} | {len(result.checks):,} | {cells} |", flush=True)


def main() -> None:
    """Measure each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES, metavar="CONTAINERS")
    parser.add_argument("--junit", action="store_true", help="also make JUnit XML")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        measure(options.sizes[0], options.folder, junit=options.junit)
        return
    load = os.getloadavg()[0]
    print(f"load {load:.1f} on {os.cpu_count()} processors\n")
    print("| containers | checks | judging, CPU s | printing, CPU s | MiB |\n|---|---|---|---|---|")
    sys.stdout.flush()
    from tempfile import TemporaryDirectory

    for size in options.sizes:
        with TemporaryDirectory() as folder:
            more = ("--junit",) if options.junit else ()
            argv = (sys.executable, __file__, str(size), "--folder", folder, *more)
            if status := subprocess.run(argv).returncode:
                sys.exit(status)


if __name__ == "__main__":
    main()
