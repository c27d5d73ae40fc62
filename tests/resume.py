"""`--resume`: a run of the tests goes on where an earlier run of the same code was cut off.

Each run records the tests that pass below `.pytest_cache`, by the digest of the code. A change of
any file of `CODE` begins anew. Tests of `tests/house` read all pages and always run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDERS = ("provision", "templates", "inventories", "tests", "scripts", "docs")
CODE = (*FOLDERS, "Vagrantfile", "pyproject.toml", "README.md")
"""What a result depends on, below the root of the project."""
ALWAYS = "tests/house/"


class Workers:
    """The plug-in of each process that runs tests: leaves out those that have passed."""

    def __init__(self, passed: frozenset[str]) -> None:
        self.passed = passed

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Deselect the tests that have passed."""
        done = [item for item in items if item.nodeid in self.passed]
        if done:
            config.hook.pytest_deselected(items=done)
            items[:] = [item for item in items if item.nodeid not in self.passed]


class Record:
    """The plug-in of the process that reports: knows the tests that passed in all runs."""

    def __init__(self, cache: pytest.Cache, root: Path, *, resume: bool) -> None:
        self.root, self.digest = root, code_digest(root)
        self.file = cache.mkdir("resume") / self.digest
        lines = self.file.read_text().splitlines() if resume and self.file.exists() else []
        self.passed = frozenset(lines)
        self.outcomes: dict[str, list[str]] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist what has passed: all have to collect the same tests."""
        node.workerinput["passed"] = sorted(self.passed)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record a test all of whose phases passed."""
        if report.nodeid.startswith(ALWAYS):
            return
        self.outcomes.setdefault(report.nodeid, []).append(report.outcome)
        if report.when == "teardown" and self.outcomes.pop(report.nodeid) == ["passed"] * 3:
            with self.file.open("a") as record:
                record.write(f"{report.nodeid}\n")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Forget a run during which the code changed; it is no error if nothing is left to run."""
        if code_digest(self.root) != self.digest:
            self.file.unlink(missing_ok=True)
        if self.passed and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK


def register(config: pytest.Config) -> None:
    """Register the plug-ins of this process. Without pytest's cache, nothing is recorded."""
    resume = config.getoption("--resume")
    if (given := getattr(config, "workerinput", None)) is not None:
        passed = frozenset(given.get("passed", ()))
    elif cache := getattr(config, "cache", None):
        record = Record(cache, config.rootpath, resume=resume)
        config.pluginmanager.register(record)
        passed = record.passed
    elif resume:
        raise pytest.UsageError("--resume needs pytest's cache: leave out -p no:cacheprovider")
    else:
        return
    if resume:
        config.pluginmanager.register(Workers(passed))


def code_digest(root: Path) -> str:
    """Return the digest of the names and bytes of all files of `CODE`, without compiled ones."""
    digest = hashlib.sha256()
    for path in _files(root):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _files(root: Path) -> Iterator[Path]:
    for name in CODE:
        top = root / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if "__pycache__" not in path.parts and path.is_file():
                yield path
