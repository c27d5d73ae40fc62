"""A verification as one HTML page that needs nothing else."""

from __future__ import annotations

from provision.checks.run import Verification
from provision.checks.text import cell, summary
from provision.render import render


def page(result: Verification, title: str) -> str:
    """The page's text: a matrix for each network, what failed, what drifted."""
    networks = {
        network: [c for c in result.containers if c.network == network]
        for network in dict.fromkeys(container.network for container in result.containers)
    }
    return render(
        "report/verify.html.j2",
        title=title,
        result=result,
        networks=networks,
        cell=lambda source, target: cell(result, source, target),
        summary=summary(result),
    )
