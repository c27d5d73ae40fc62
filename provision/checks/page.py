"""The result of a verify as one self-contained HTML page."""

from __future__ import annotations

from functools import partial

from provision.checks.run import Verification
from provision.checks.text import cell, pair_verdicts, sampled_rows, segments, summary
from provision.resources.render import render


def page(result: Verification, title: str) -> str:
    """The HTML: a table of each network, the drift, and every check."""
    return render(
        "report/verify.html.j2",
        title=title,
        result=result,
        networks=segments(result),
        sampled_rows=partial(sampled_rows, result),
        cell=partial(cell, pair_verdicts(result)),
        summary=summary(result),
    )
