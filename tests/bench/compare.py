"""`provision compare` with nothing but its defaults on three fresh hosts of a mixed lab.

    sudo .venv/bin/python tests/bench/compare.py --write -- --rounds 7
    sudo .venv/bin/python tests/bench/compare.py --write --link 1gbit -- --methods routes,pipework

Words after `--` are compare's own. `--link RATE` limits what each host's NIC sends (tc, tbf), as
that of a machine does; else nothing but the processors is the limit. Prints Markdown: the command,
the machines, and medians with the smallest and largest ratio to host to host; `--write` puts that
into docs/compare.md. Ends with 1 where compare failed, or the hosts are not as they were.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from provision.compare.text import number, ratio
from provision.lab import bringup, teardown
from provision.lab.layout import Lab
from provision.lab.settings import UpOptions
from tests.lab.conftest import Hosts
from tests.lab.free import free_ranges

DOCS = Path(__file__).parents[2] / "docs/compare.md"
COLUMNS = ("tcp_1", "tcp_8", "requests", "rtt_p50", "rtt_p99", "cpu")
TIMES = ("apply", "switch", "destroy")


def main() -> None:
    """Boot, compare, print, take down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--link", metavar="RATE", help="what each host's NIC sends, in tc's words")
    parser.add_argument("--write", action="store_true", help="into docs/compare.md")
    parser.add_argument("words", nargs="*", help="words of `provision compare`")
    asked = parser.parse_args()
    place = Lab(Path(tempfile.mkdtemp(prefix="provision-bench-", dir="/var/tmp")))
    try:
        bringup.up(place, UpOptions(3, "mixed", False, free_ranges(place)), say=lambda _text: None)
        found, clean = compared(Hosts(place), asked.link, asked.words)
    finally:
        teardown.down(place, say=lambda _text: None)
        shutil.rmtree(place.folder)
    text = "\n".join(lines(found, asked.link, asked.words))
    print(text)
    if not clean:
        sys.exit("the hosts are not as they were")
    if not found["ok"]:
        sys.exit(json.dumps(found.get("errors", []), indent=1))
    if asked.write:
        write("link" if asked.link else "lab", text)


def compared(hosts: Hosts, link: str | None, words: list[str]) -> tuple[dict[str, Any], bool]:
    """What it found, and whether the hosts are as they were."""
    members = "".join(f"  h{n}: {{address: {hosts.networks[1]}.{10 + n}}}\n" for n in (1, 2, 3))
    (hosts.place.folder / "bench.yml").write_text(f"name: bench\nhosts:\n{members}")
    if link:
        # The burst holds several of the largest packets whole, as a NIC takes them.
        hosts.everywhere(f"tc qdisc replace dev eth1 root tbf rate {link} burst 1mb latency 20ms")
    before = hosts.capture()
    program = str(Path(sys.executable).with_name("provision"))
    done = subprocess.run(
        (program, "compare", "bench.yml", "--json", *words),
        cwd=hosts.place.folder,
        env=hosts.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    if not done.stdout:
        sys.exit(f"compare ended with {done.returncode}")
    return json.loads(done.stdout), before == hosts.capture()


def lines(found: dict[str, Any], link: str | None, words: list[str]) -> Iterator[str]:
    """The result as Markdown."""
    first, second = found["hosts"]
    limit = f", its NICs limited to {link}" if link else ""
    command = " ".join(("provision compare", *words))
    processors = f"{first['processors']} × {first['processor']}"
    terms = found["terms"]
    rounds = f"{terms['rounds']} rounds of {terms['seconds']} s"
    yield (
        f"`{command}`: {rounds}, {found['seconds'] / 60:.0f} minutes in all, on a machine of "
        f"{processors} with Linux {first['kernel']}, load {first['load']:g} at the start{limit}."
    )
    for host in (first, second):
        told = f"{host['system']}, Docker {host['docker']}, iperf3 {host['iperf3']}"
        yield f"{host['host']}: {told}." + ("\n" if host is second else "")
    units = [
        f"{found['figures'][key]['title']} ({found['figures'][key]['unit']})" for key in COLUMNS
    ]
    yield "| method | MTU | " + " | ".join(units) + " | UDP loss | apply, switch, destroy (s) |"
    yield "|---|---|" + "---|" * (len(COLUMNS) + 2)
    for course in found["methods"]:
        cells = [_cell(course, key) for key in COLUMNS]
        loss = course["figures"]["udp_loss"]["median"]
        took = [course["seconds"][step] for step in TIMES]
        cells += ["–" if loss is None else f"{number(loss)} %"]
        cells += [", ".join("–" if one is None else f"{one:.0f}" for one in took)]
        yield f"| `{course['method']}` | {course['mtu'] or '–'} | " + " | ".join(cells) + " |"


def _cell(course: dict[str, Any], key: str) -> str:
    """`17.4, ×0.97 (0.95–0.99)`."""
    value, ratios = course["figures"][key]["median"], course["ratios"].get(key, {})
    if value is None:
        return "–"
    if ratios.get("median") is None:
        return number(value)
    low, middle, high = (ratio(ratios[word]) for word in ("min", "median", "max"))
    return f"{number(value)}, **×{middle}** ({low}–{high})"


def write(name: str, text: str) -> None:
    """Put it between the marks of docs/compare.md."""
    whole = DOCS.read_text()
    head, begin, rest = whole.partition(f"<!-- result: {name} -->\n")
    _, end, tail = rest.partition("<!-- end -->")
    if not begin or not end:
        sys.exit(f"{DOCS} has no place for the result")
    DOCS.write_text(f"{head}{begin}\n{text}\n\n{end}{tail}")


if __name__ == "__main__":
    main()
