"""Times `provision verify` on lab hosts, healthy and with one rule that drops what a host forwards.

    sudo .venv/bin/python tests/bench/verify.py                # 12 hosts, 30 containers, 3 runs
    sudo .venv/bin/python tests/bench/verify.py --lab FOLDER   # on the hosts of a lab that is up

The runs take turns, so that a machine that slows down slows down both. Prints the seconds of the
whole process, a Markdown table of its phases, the last lines of a red verify, and the ratio of the
medians. A phase is a round on all hosts, up to the answer of the last one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from provision.lab.layout import Lab
from tests.bench.routes_network import dropping, write_inventory
from tests.bench.temporary_lab import temporary_lab
from tests.lab.hosts import Hosts

FILE = "bench.yml"


def main() -> None:
    """Measure on a lab of its own, or on that of --lab."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=12)
    parser.add_argument("--containers", type=int, default=30)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--suite", default="trixie")
    parser.add_argument("--lab", type=Path, help="the folder of a lab that is up")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one_run(Path(FILE))))
        return
    booted = nullcontext(Hosts(Lab(options.lab))) if options.lab else None
    with booted or temporary_lab(options.hosts, options.suite) as hosts:
        write_inventory(hosts, "bench", options.hosts, containers=options.containers)
        hosts.provision("apply", FILE)
        try:
            print_table(measured(hosts, options.runs))
        finally:
            hosts.provision("destroy", FILE, "--yes")


def measured(hosts: Hosts, runs: int) -> dict[str, list[dict[str, Any]]]:
    """The runs without and with the rule, after one that fills the caches."""
    answers: dict[str, list[dict[str, Any]]] = {"green": [], "red": []}
    run(hosts)
    for _ in range(runs):
        answers["green"].append(run(hosts))
        with dropping(hosts):
            answers["red"].append(run(hosts))
    if not all(answer["ok"] for answer in answers["green"]):
        raise SystemExit(f"a verify without the rule fails: {answers['green']}")
    if any(answer["ok"] for answer in answers["red"]):
        raise SystemExit("a verify with the rule passes")
    return answers


def run(hosts: Hosts) -> dict[str, Any]:
    """One verify in a process of its own: its seconds, phases, and the end of its report."""
    begin = time.monotonic()
    process = subprocess.run(
        (sys.executable, str(Path(__file__).resolve()), "--one"),
        cwd=hosts.lab.folder,
        env=hosts.environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = time.monotonic() - begin
    return {**json.loads(process.stdout), "seconds": seconds}


def one_run(path: Path) -> dict[str, Any]:
    """Verify as the command does, and note when each round begins and ends."""
    from dataclasses import replace

    from provision.checks.run import run_checks
    from provision.cli.invocation import Invocation

    begun: list[tuple[str, float]] = []
    ended: dict[int, float] = {}

    def note(label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not done:
            begun.append((label, now))
        if done >= total:
            last = max(k for k, (text, _) in enumerate(begun) if text == label)
            ended[last] = now

    arguments = {"as_json": False, "jobs": 64, "timeout": 600.0, "yes": True, "verbose": False}
    invocation = Invocation(inventory=path, limit=None, ssh_config=None, **arguments)
    begin = time.monotonic()
    with invocation.session() as (session, hosts):
        session = replace(session, progress=note)
        result = run_checks(session, hosts, junit=False, expression=None, follow=True)
    phases = [
        (label, start - begin, ended.get(number, start) - start)
        for number, (label, start) in enumerate(begun)
    ]
    failed = sum(not (check.ok or check.skipped) for check in result.checks)
    end = list(result.diagnosis.lines(path.name))
    return {"ok": result.ok, "failed": failed, "phases": phases, "end": end}


def print_table(answers: dict[str, list[dict[str, Any]]]) -> None:
    """The seconds of each kind of run, the ratio, the phases, and the end of a red report."""
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print("| verify | median s | each run, s | checks that fail |\n|---|---|---|---|")
    medians = {}
    for kind, runs in answers.items():
        seconds = [answer["seconds"] for answer in runs]
        medians[kind] = statistics.median(seconds)
        each = ", ".join(f"{run_s:.2f}" for run_s in seconds)
        print(f"| {kind} | {medians[kind]:.2f} | {each} | {runs[-1]['failed']} |")
    print(f"\nred/green: {medians['red'] / medians['green']:.2f}")
    for kind, runs in answers.items():
        print(f"\n| phase of the last {kind} run | begins at, s | takes, s |\n|---|---|---|")
        for label, start, length in runs[-1]["phases"]:
            print(f"| {label} | {start:.2f} | {length:.2f} |")
    print("\n```text\n" + "\n".join(answers["red"][-1]["end"]) + "\n```", flush=True)


if __name__ == "__main__":
    main()
