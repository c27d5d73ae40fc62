"""Random sequences of changes and faults on three booted hosts, with an oracle after each step.

    sudo .venv/bin/python -m tests.bench.faults --sequences 200
    sudo .venv/bin/python -m tests.bench.faults --seed 5 --first 41 --hours 0.5   # a part of them
    sudo .venv/bin/python -m tests.bench.faults --only 1234567 --methods vxlan    # repeat one

A sequence has five steps: apply (variant A or B of an inventory), destroy, heal (apply what is
applied), or a fault, during a change or between changes: the controller or the change is killed,
hosts reboot or lose power, rules are flushed, interfaces deleted, Docker is restarted or stopped, a
disk is full, or somebody changes our objects by hand. After each step, every host must answer SSH,
be old or new (never between), and `status` must agree with the hosts' own records; no change may
stay pending after its deadline. At the end of a sequence, `apply` of A converges, a second one
changes nothing, `verify` passes, and `destroy` restores every host exactly.

A violation ends its sequence, and the next one gets a new lab. The exit status is 1 if there was
any.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from provision.model.errors import LabError
from tests.bench import warm_provision
from tests.bench.fault_changes import PROVISION
from tests.bench.fault_run import Result, SequenceRun
from tests.bench.fault_sequences import KINDS, METHODS, MORE_METHODS, choose, seeds
from tests.bench.temporary_lab import temporary_lab
from tests.lab.hosts import Hosts

BOOTS = 3
"""Attempts to boot a lab; a busy machine may be too slow for one."""


class WarmHosts(Hosts):
    """Hosts on which a command of `provision` needs no start of Python."""

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        server = warm_provision.shared()
        return server.run(arguments, self.lab.folder, self.environment, 600)


@dataclass
class Figures:
    """The figures of a campaign."""

    begin: float = field(default_factory=time.monotonic)
    results: list[tuple[str, Result]] = field(default_factory=list)
    """The method and the result of each sequence."""

    @property
    def violations(self) -> int:
        """The number of sequences with a violation."""
        return sum(bool(result.violations) for _, result in self.results)

    def table(self) -> str:
        """The figures as a Markdown table."""
        kinds, changes = Counter[str](), Counter[str]()
        for _, result in self.results:
            kinds += result.kinds
            changes += result.changes
        methods = Counter(method for method, _ in self.results)
        rows = {
            "sequences": f"{len(self.results)} ({_counts(methods)})",
            "steps": f"{kinds.total()} ({_counts(kinds)})",
            "hosts after a change": _counts(changes),
            "sequences with a violation": str(self.violations),
            "time": f"{(time.monotonic() - self.begin) / 3600:.2f} h",
        }
        lines = [f"| {name} | {text} |" for name, text in rows.items()]
        return "\n".join(["| figure | value |", "|---|---|", *lines])


def main() -> None:
    """Run the sequences on labs of their own, print the figures."""
    options = arguments().parse_args()
    if os.geteuid() != 0:
        sys.exit("the campaign boots hosts: run it as root")
    methods = options.methods.split(",")
    known = (*METHODS, *MORE_METHODS)
    if unknown := set(methods) - set(known):
        sys.exit(f"unknown methods: {', '.join(sorted(unknown))} (known: {', '.join(known)})")
    figures = Figures()
    if not 1 <= options.first <= options.sequences:
        sys.exit(f"--first {options.first} is not one of the {options.sequences} sequences")
    if any(method.startswith("flannel") for method in methods):
        # Beside the sequences the build can outlast the time that a change may take.
        subprocess.run((PROVISION, "fetch", "flanneld"), stdout=subprocess.DEVNULL, check=True)
    folder = Path(tempfile.mkdtemp(prefix="provision-faults-", dir="/var/tmp"))
    print(f"seed {options.seed}, the steps and captures are in {folder}", flush=True)
    try:
        campaign(sequences(options, methods), options.hours, folder, figures)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        print(f"\n{figures.table()}", flush=True)
        following = options.first + len(figures.results)
        if options.only is None and following <= options.sequences:
            part = f"--seed {options.seed} --sequences {options.sequences} --first {following}"
            part += "" if methods == list(METHODS) else f" --methods {options.methods}"
            print(f"\nThe other sequences: python -m tests.bench.faults {part}", flush=True)
    sys.exit(1 if figures.violations else 0)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument(
        "--first", type=int, default=1, metavar="N", help="begin with the Nth of them (from 1)"
    )
    parser.add_argument("--hours", type=float, default=float("inf"), help="begin none after that")
    parser.add_argument("--only", type=int, metavar="SEED", help="seed of one sequence to repeat")
    parser.add_argument("--methods", default=",".join(METHODS), help="take turns [%(default)s]")
    return parser


def sequences(options: argparse.Namespace, methods: list[str]) -> deque[tuple[int, str]]:
    """The seed and the method of each sequence."""
    if options.only is not None:
        return deque((options.only, method) for method in methods)
    chosen = enumerate(seeds(options.seed, options.sequences))
    every = [(seed, methods[number % len(methods)]) for number, seed in chosen]
    return deque(every[options.first - 1 :])


def campaign(pending: deque[tuple[int, str]], hours: float, folder: Path, figures: Figures) -> None:
    """Run the sequences; after a violation the hosts may be damaged, so boot others."""

    def more() -> bool:
        return bool(pending) and time.monotonic() - figures.begin < hours * 3600

    failed_boots = 0
    while more():
        try:
            with temporary_lab(3, "mixed") as booted:
                hosts = WarmHosts(booted.lab)
                failed_boots, broken = 0, False
                while more() and not broken:
                    seed, method = pending.popleft()
                    result = one_sequence(hosts, seed, method, folder)
                    figures.results.append((method, result))
                    broken = bool(result.violations)
        except LabError as error:
            failed_boots += 1
            print(f"the lab does not boot: {error.message}", flush=True)
            if failed_boots == BOOTS:
                raise


def one_sequence(hosts: Hosts, seed: int, method: str, folder: Path) -> Result:
    """Run one sequence and print its line, and what a violation needs to be repeated."""
    steps = choose(seed, method)
    captures = folder / f"{seed}-{method}"
    with (folder / "steps").open("a", buffering=1) as file:
        file.write(f"{seed} {method}\n")
        run = SequenceRun(hosts, method, steps, captures, lambda line: print(line, file=file))
        result = run.run()
    text = "; ".join(map(str, steps))
    outcome = "VIOLATION" if result.violations else "ok"
    print(f"{seed} {method}: {text}: {outcome}, {result.seconds:.0f} s", flush=True)
    if result.violations:
        print(f"  repeat: python -m tests.bench.faults --only {seed} --methods {method}")
        print("".join(f"  step {n}: {step}\n" for n, step in enumerate(result.steps, 1)), end="")
        print("".join(f"  violation: {line}\n" for line in result.violations), end="")
        print(f"  captures: {captures}", flush=True)
    return result


def _counts(counter: Counter[str]) -> str:
    order = {name: number for number, name in enumerate((*METHODS, *MORE_METHODS, *KINDS))}
    names = sorted(counter, key=lambda name: order.get(name, len(order)))
    return ", ".join(f"{counter[name]} {name}" for name in names)


if __name__ == "__main__":
    main()
