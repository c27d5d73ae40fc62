"""An explanation as one self-contained HTML page. Pure."""

from __future__ import annotations

from provision.checks.explain.model import HOST, Explanation
from provision.checks.explain.words import headline
from provision.resources.render import render


def page(explanation: Explanation, drawing: str) -> str:
    """The HTML; `drawing` is the SVG of the hosts, empty if there is none."""
    return render(
        "report/explain.html.j2",
        title=headline(explanation),
        explanation=explanation,
        drawing=drawing,
    )


def marks(explanation: Explanation) -> dict[tuple[str, str], bool]:
    """The interfaces and containers of the path, each True if the packet was seen there.

    Either direction counts for an interface that both pass.
    """
    seen_at: dict[tuple[str, str], bool] = {}
    for hop in explanation.hops:
        inside = hop.place not in (HOST, "") and not hop.place.startswith("port of ")
        key = hop.host, hop.place if inside else hop.device
        if hop.seen is not None:
            seen_at[key] = seen_at.get(key, False) or hop.seen
    return seen_at
