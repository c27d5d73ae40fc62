"""`provision compare` with its defaults on three fresh hosts of a mixed lab.

    sudo .venv/bin/python tests/bench/compare.py --write -- --rounds 7
    sudo .venv/bin/python tests/bench/compare.py --write --link 1gbit -- --methods routes,pipework

Options after `--` are those of compare. `--link RATE` limits the sending rate of each host's NIC
(tc, tbf), as a physical NIC has a limit; without it, only the processors limit the rate. Prints
Markdown: the command, the machines, and the medians with the smallest and largest ratio to the
host-to-host baseline; `--write` puts them into docs/compare.md. Exits with 1 if compare fails, or
if it leaves anything behind on the hosts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from provision.compare.text import number_text, ratio_text
from tests.bench.figures import write
from tests.bench.temporary_lab import temporary_lab
from tests.lab.hosts import Hosts

DOCS = Path(__file__).parents[2] / "docs/compare.md"
COLUMNS = ("tcp_1", "tcp_8", "requests", "rtt_p50", "rtt_p99", "cpu")
TIMES = ("apply", "switch", "destroy")


def main() -> None:
    """Boot a lab, compare, print the result, take the lab down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--link", metavar="RATE", help="sending rate of each host's NIC, for example 1gbit"
    )
    parser.add_argument("--write", action="store_true", help="put the result into docs/compare.md")
    parser.add_argument("arguments", nargs="*", help="arguments of `provision compare`")
    options = parser.parse_args()
    with temporary_lab(3, "mixed") as hosts:
        result, clean = compare(hosts, options.link, options.arguments)
    text = "\n".join(lines(result, options.link, options.arguments))
    print(text)
    if not clean:
        sys.exit("compare left changes on the hosts")
    if not result["ok"]:
        sys.exit(json.dumps(result.get("errors", []), indent=1))
    if options.write:
        write(DOCS, f"result: {'link' if options.link else 'lab'}", text)


def compare(hosts: Hosts, link: str | None, arguments: list[str]) -> tuple[dict[str, Any], bool]:
    """The JSON result, and True if compare left nothing behind on the hosts."""
    members = "".join(f"  h{n}: {{address: {hosts.networks[1]}.{10 + n}}}\n" for n in (1, 2, 3))
    (hosts.lab.folder / "bench.yml").write_text(f"name: bench\nhosts:\n{members}")
    if link:
        # The burst has room for several of the largest packets (64 KiB with segmentation offload).
        hosts.everywhere(f"tc qdisc replace dev eth1 root tbf rate {link} burst 1mb latency 20ms")
    before = hosts.capture()
    program = str(Path(sys.executable).with_name("provision"))
    process = subprocess.run(
        (program, "compare", "bench.yml", "--json", *arguments),
        cwd=hosts.lab.folder,
        env=hosts.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    if not process.stdout:
        sys.exit(f"compare exited with {process.returncode}")
    return json.loads(process.stdout), before == hosts.capture()


def lines(result: dict[str, Any], link: str | None, arguments: list[str]) -> Iterator[str]:
    """The result as Markdown."""
    first, second = result["hosts"]
    limit = f", its NICs limited to {link}" if link else ""
    command = " ".join(("provision compare", *arguments))
    processors = f"{first['processors']} × {first['processor']}"
    settings = result["terms"]
    rounds = f"{settings['rounds']} rounds of {settings['seconds']} s"
    yield (
        f"`{command}`: {rounds}, {result['seconds'] / 60:.0f} minutes in all, on a machine of "
        f"{processors} with Linux {first['kernel']}, load {first['load']:g} at the start{limit}."
    )
    for host in (first, second):
        software = f"{host['system']}, Docker {host['docker']}, iperf3 {host['iperf3']}"
        yield f"{host['host']}: {software}." + ("\n" if host is second else "")
    units = [
        f"{result['figures'][key]['title']} ({result['figures'][key]['unit']})" for key in COLUMNS
    ]
    yield "| method | MTU | " + " | ".join(units) + " | UDP loss | apply, switch, destroy (s) |"
    yield "|---|---|" + "---|" * (len(COLUMNS) + 2)
    for method in result["methods"]:
        cells = [_cell(method, key) for key in COLUMNS]
        loss = method["figures"]["udp_loss"]["median"]
        times = [method["seconds"][step] for step in TIMES]
        cells += ["–" if loss is None else f"{number_text(loss)} %"]
        cells += [", ".join("–" if seconds is None else f"{seconds:.0f}" for seconds in times)]
        yield f"| `{method['method']}` | {method['mtu'] or '–'} | " + " | ".join(cells) + " |"


def _cell(method: dict[str, Any], key: str) -> str:
    """A median and its ratio to the baseline, such as `17.4, ×0.97 (0.95–0.99)`."""
    value, ratios = method["figures"][key]["median"], method["ratios"].get(key, {})
    if value is None:
        return "–"
    if ratios.get("median") is None:
        return number_text(value)
    low, middle, high = (ratio_text(ratios[key]) for key in ("min", "median", "max"))
    return f"{number_text(value)}, **×{middle}** ({low}–{high})"


if __name__ == "__main__":
    main()
