"""An examination as text and as JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from provision.checks.doctor.examine import Examination
from provision.checks.doctor.findings import HostFinding, Weight
from provision.model.text import count


def lines(examination: Examination) -> Iterator[str]:
    """Three lines for each finding, by host, then a summary."""
    for finding in examination.findings:
        yield f"{finding.host}: {finding.weight}: {finding.text}"
        yield f"    why: {finding.why}"
        yield f"    fix: {finding.fix}"
    yield summary(examination)


def summary(examination: Examination) -> str:
    """One line with the numbers of errors, warnings and hosts."""
    weights = Counter(finding.weight for finding in examination.findings)
    asked = len(examination.hosts) - len(examination.errors)
    numbers = [count(weights[weight], weight.value) for weight in Weight if weights[weight]]
    return f"{', '.join(numbers) or 'Nothing'} found on {count(asked, 'host')}."


def as_json(examination: Examination) -> dict[str, Any]:
    """The shape of `doctor --json`."""
    shape: dict[str, Any] = {"findings": [_finding_json(each) for each in examination.findings]}
    if examination.errors:
        from provision.engine.report import errors_json

        shape["errors"] = errors_json(examination.errors)
    return shape


def _finding_json(finding: HostFinding) -> dict[str, str]:
    return {
        "host": finding.host,
        "kind": finding.kind,
        "weight": finding.weight.value,
        "text": finding.text,
        "why": finding.why,
        "fix": finding.fix,
    }
