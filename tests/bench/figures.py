"""Runs the benchmarks of docs/speed.md and docs/scale.md, and writes their tables there.

    sudo .venv/bin/python tests/bench/figures.py                  # all of them, up to 50 hosts
    sudo .venv/bin/python tests/bench/figures.py explain verify   # these
    sudo .venv/bin/python tests/bench/figures.py no-change --peers /var/tmp/peers/bin

What a benchmark prints is Markdown. In its page it stands between `<!-- figures: NAME -->` and
`<!-- end -->`, below its command, the day, and the load at its start. A benchmark that fails leaves
its table as it is; the others still run, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

BENCH = Path(__file__).parent
SPEED = BENCH.parents[1] / "docs/speed.md"
SCALE = BENCH.parents[1] / "docs/scale.md"


@dataclass(frozen=True)
class Benchmark:
    """A program of this folder, with its arguments for the page and for a test of the program."""

    program: str
    arguments: tuple[str, ...] = ()
    small: tuple[str, ...] = ()
    lab: bool = True
    """True if it boots lab hosts, or makes namespaces, for which it must be root."""
    page: Path = SPEED

    def command(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """The command that runs it with these arguments."""
        return (sys.executable, str(BENCH / self.program), *arguments)

    def pasted(self, arguments: Sequence[str]) -> str:
        """The command as a reader types it in the project's folder."""
        sudo = ("sudo",) if self.lab else ()
        program = f"tests/bench/{self.program}"
        return " ".join((*sudo, ".venv/bin/python", program, *arguments))


BENCHMARKS = {
    "no-change": Benchmark("run.py", ("3", "13", "50"), ("--runs", "2", "3")),
    "first": Benchmark("first_apply.py", ("3", "13", "50"), ("--runs", "1", "3")),
    "verify": Benchmark("verify.py", (), ("--hosts=3", "--containers=3", "--runs=1")),
    "explain": Benchmark("explain.py", (), ("--hosts", "3", "--runs", "1")),
    "flannel": Benchmark("flannel.py"),
    "judging": Benchmark("judging.py", ("20", "50", "100"), ("5",), lab=False),
    "scale": Benchmark(
        "scale.py",
        ("--methods", "routes,vxlan", "50", "200", "1000"),
        ("--methods", "routes", "3", "6"),
        lab=False,
    ),
    "scale-flannel": Benchmark(
        "scale.py",
        ("--methods", "flannel", "50", "200"),
        ("--methods", "flannel", "3", "6"),
        lab=False,
    ),
    "validate": Benchmark("validate.py", ("500", "500"), ("3", "3"), lab=False),
    "bgp-speakers": Benchmark("bgp_speakers.py", (), ("5",), page=SCALE),
}


def main() -> int:
    """Run the benchmarks that are asked for, and write the tables of those that succeed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="folder of pyinfra and ansible-playbook, for no-change")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {min(unknown)}; there are {', '.join(BENCHMARKS)}")
    failed = []
    for name in options.names or BENCHMARKS:
        peers = ("--peers", options.peers) if options.peers and name == "no-change" else ()
        if not refreshed(name, (*peers, *BENCHMARKS[name].arguments)):
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}; their tables are as before")
    return 1 if failed else 0


def refreshed(name: str, arguments: Sequence[str]) -> bool:
    """Run one benchmark and write its table; False if it failed."""
    benchmark, load = BENCHMARKS[name], os.getloadavg()[0]
    print(f"{name}: {benchmark.pasted(arguments)}", flush=True)
    process = subprocess.run(benchmark.command(arguments), stdout=subprocess.PIPE, text=True)
    print(process.stdout, flush=True)
    if process.returncode:
        return False
    today = date.today()
    head = (
        f"`{benchmark.pasted(arguments)}` on {today.day} {today:%B %Y}, on {os.cpu_count()}"
        f" processors with a load of {load:.1f} at its start:"
    )
    write(benchmark.page, f"figures: {name}", f"{head}\n\n{process.stdout.strip()}")
    return True


def write(page: Path, mark: str, text: str) -> None:
    """Replace what stands in a page between the comments `<!-- mark -->` and `<!-- end -->`."""
    head, begin, rest = page.read_text().partition(f"<!-- {mark} -->\n")
    _, end, tail = rest.partition("<!-- end -->")
    if not begin or not end:
        sys.exit(f"{page} has no comments <!-- {mark} --> and <!-- end -->")
    page.write_text(f"{head}{begin}\n{text}\n\n{end}{tail}")


if __name__ == "__main__":
    sys.exit(main())
