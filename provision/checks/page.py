"""A verification as one HTML page that needs nothing else."""

from __future__ import annotations

from provision.checks.run import Verification
from provision.checks.text import cell, segments, summary
from provision.resources.render import render


def page(result: Verification, title: str) -> str:
    """The page's text: a matrix for each network, what failed, what drifted."""
    return render(
        "report/verify.html.j2",
        title=title,
        result=result,
        networks=segments(result),
        cell=lambda source, target: cell(result, source, target),
        summary=summary(result),
    )
