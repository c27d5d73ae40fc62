"""Every benchmark of the docs at its smallest size runs to its end and prints its table."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.bench.figures import BENCHMARKS

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_prints_its_table(name: str) -> None:
    """The exit status is 0, and each table has rows with figures."""
    benchmark = BENCHMARKS[name]
    process = subprocess.run(
        benchmark.command(benchmark.small), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-2000:]
    tables = re.findall(r"(?:^\|.*\n)+", process.stdout, flags=re.MULTILINE)
    assert tables, process.stdout
    for table in tables:
        _, rule, *rows = table.splitlines()
        assert re.fullmatch(r"\|(-+\|)+", rule), table
        assert rows and all(re.search(r"\d", row) for row in rows), table
    assert f"<!-- figures: {name} -->" in benchmark.page.read_text()
