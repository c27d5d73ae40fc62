"""Runs the checks by pytest in this process, and keeps what each of them said."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from provision.checks import test_lan, test_network
from provision.checks.gather import Evidence, evidence
from provision.checks.subjects import Check, about, subjects
from provision.engine.fleet import Session
from provision.engine.plan import Change
from provision.model.errors import ExitStatus, HostError, UsageError
from provision.model.inventory import Container, Inventory


@dataclass(frozen=True, slots=True)
class Verification:
    """What verify found."""

    inventory: Inventory
    containers: tuple[Container, ...]
    drift: tuple[Change, ...]
    checks: tuple[Check, ...]
    errors: tuple[HostError, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Nothing failed; what was skipped is neither passed nor failed."""
        return not self.errors and not self.drift and all(c.ok or c.skipped for c in self.checks)

    @property
    def exit_status(self) -> ExitStatus:
        """0, 7 for a finding, 4 for a host that could not be asked."""
        if self.errors:
            return ExitStatus.HOST
        return ExitStatus.OK if self.ok else ExitStatus.VERIFY


def verified(
    session: Session, hosts: tuple[str, ...], *, junit: Path | None, expression: str | None
) -> Verification:
    """Gather evidence on the hosts, judge it. Raises UsageError for a bad `expression`."""
    begin = time.monotonic()
    seen = evidence(session, hosts)
    judge = _Judge(seen)
    rooms = (test_network, test_lan) if seen.questions else (test_network,)
    arguments = [*(str(room.__file__) for room in rooms), *_QUIET]
    arguments += (
        ["--junitxml", str(junit.resolve()), "-o", "junit_suite_name=provision"] if junit else []
    )
    arguments += ["-k", expression] if expression else []
    # Other plug-ins that happen to be installed have no business here.
    earlier = os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        status = pytest.main(arguments, plugins=[judge])
    finally:
        os.environ.pop("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
        if earlier is not None:
            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = earlier
    if status == pytest.ExitCode.USAGE_ERROR:
        raise UsageError(f"-k {expression}: pytest cannot read this expression")
    if status == pytest.ExitCode.NO_TESTS_COLLECTED and expression:
        known = [
            name.removeprefix("test_")
            for room in rooms
            for name in vars(room)
            if name[:5] == "test_"
        ]
        raise UsageError(f"-k {expression} leaves no check", f"checks: {', '.join(known)}")
    drift = tuple(change for each in seen.drift.values() for change in each.changes)
    return Verification(
        session.inventory,
        seen.containers,
        drift,
        tuple(judge.checks),
        tuple(seen.errors.values()),
        time.monotonic() - begin,
    )


_QUIET = (
    "-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:logging",
    "-c", os.devnull, "--rootdir", str(Path(__file__).parent),
)  # fmt: skip


class _Judge:
    """A pytest plug-in: gives the checks their evidence and subjects, and notes their verdicts."""

    def __init__(self, seen: Evidence) -> None:
        self._evidence, self._subjects = seen, subjects(seen)
        self.checks: list[Check] = []

    @pytest.fixture(scope="session")
    def seen(self) -> Evidence:
        return self._evidence

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        for subject, (values, ids) in self._subjects.items():
            if subject in metafunc.fixturenames:
                metafunc.parametrize(subject, values, ids=ids)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
        report = yield
        if report.when == "call" or report.failed:
            self.checks.append(_check(item, report, call))
        return report


def _check(item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> Check:
    assert isinstance(item, pytest.Function)
    given: Mapping[str, Any] = item.callspec.params
    said = str(call.excinfo.value) if call.excinfo else ""
    return replace(
        about(item.originalname.removeprefix("test_"), given),
        ok=report.passed,
        skipped=said if report.skipped else None,
        detail="" if report.skipped else said.split("\nassert ")[0],
    )
