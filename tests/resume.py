"""`--resume`: a run of the tests goes on where an earlier run of the same code was cut off.

Each test that passes is recorded below `.pytest_cache`, by the digest of the code. A change of any
file of `CODE` begins anew. Tests of `tests/house` read the pages, too, and always run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDERS = ("provision", "templates", "inventories", "tests", "scripts")
CODE = (*FOLDERS, "Vagrantfile", "pyproject.toml")
"""What a result depends on, below the root of the project."""
ALWAYS = "tests/house/"


class Resume:
    """The plug-in of one run, in each of its processes."""

    def __init__(self, config: pytest.Config) -> None:
        digest = code_digest(config.rootpath)
        self.record = config.cache.mkdir("resume") / digest if config.cache else None
        """A line for each test that passed; None with `-p no:cacheprovider`."""
        self.is_worker = hasattr(config, "workerinput")
        # All workers of pytest-xdist have to collect the same tests, also one that starts late.
        self.passed = frozenset(
            config.workerinput["passed"] if self.is_worker else _lines(self.record)  # type: ignore[attr-defined]
        )
        self.phases: dict[str, list[str]] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker what has passed."""
        node.workerinput["passed"] = sorted(self.passed)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave out the tests that have passed."""
        done = [item for item in items if item.nodeid in self.passed]
        if done:
            config.hook.pytest_deselected(items=done)
            items[:] = [item for item in items if item.nodeid not in self.passed]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record a test all of whose phases passed."""
        if self.is_worker or self.record is None or report.nodeid.startswith(ALWAYS):
            return
        self.phases.setdefault(report.nodeid, []).append(report.outcome)
        if report.when == "teardown" and self.phases.pop(report.nodeid) == ["passed"] * 3:
            with self.record.open("a") as record:
                record.write(f"{report.nodeid}\n")


def code_digest(root: Path) -> str:
    """Return the digest of the names and bytes of all files of `CODE`, without compiled ones."""
    digest = hashlib.sha256()
    for path in _files(root):
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _files(root: Path) -> Iterator[Path]:
    for name in CODE:
        top = root / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and path.suffix != ".pyc":
                yield path


def _lines(record: Path | None) -> list[str]:
    return record.read_text().splitlines() if record and record.exists() else []
