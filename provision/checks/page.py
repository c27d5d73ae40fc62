"""The result of a verify as one self-contained HTML page, which runs no script."""

from __future__ import annotations

from functools import partial

from markupsafe import Markup

from provision.checks import drift_text, test_access, test_lan, test_methods, test_network
from provision.checks.lan_probe import end_key
from provision.checks.matrix import ends, pair_verdicts
from provision.checks.run import Verification
from provision.checks.subjects import Check
from provision.checks.text import cell, sampled_rows, summary
from provision.resources.render import render


def page(result: Verification, title: str, *, date: str = "", drawing: str = "") -> str:
    """The HTML: a diagnosis, a table of each network, the checks, the hosts, a drawing.

    `date` is the time of the run, `drawing` an SVG of the hosts.
    """
    return render(
        "report/verify.html.j2",
        title=title,
        outcome="passed" if result.ok else "INTERRUPTED" if result.interrupted else "FAILED",
        result=result,
        date=date,
        networks=ends(result),
        checks=sorted(result.checks, key=lambda check: (check.ok, bool(check.skipped))),
        meanings=meanings(result),
        sampled_rows=partial(sampled_rows, result),
        cell=partial(cell, pair_verdicts(result)),
        status_of=status_of,
        short=short,
        describe=drift_text.describe,
        hosts_of=partial(hosts_of, numbers_of(result)),
        summary=summary(result),
        drawing=Markup(drawing),
    )


def status_of(word: str) -> str:
    """The class of a cell with this verdict."""
    if word == "ok":
        return "passed"
    return {"FAILED": "failed", "skipped": "skipped"}.get(word.partition(" ")[0], "")


def short(word: str) -> str:
    """A verdict for a cell: the names of one or two failed checks, not those of more."""
    status, *checks = word.split() or [""]
    return word if len(checks) <= 2 else f"{status} {len(checks)}"


def meanings(result: Verification) -> dict[str, str]:
    """The meaning of each check of the result: the first line of its documentation."""
    functions = {**vars(test_methods), **vars(test_network), **vars(test_lan), **vars(test_access)}
    names = dict.fromkeys(check.check for check in result.checks)
    return {
        name: str(getattr(functions.get(f"test_{name}"), "__doc__", "") or "").split("\n")[0]
        for name in names
    }


def numbers_of(result: Verification) -> dict[str, int]:
    """The number of the host of each container, and of each host, by their keys (`end_key`)."""
    hosts = {host.name: number for number, host in enumerate(result.hosts, 1)}
    containers = result.inventory.members.values()
    numbers = {end_key(name, is_host=True): number for name, number in hosts.items()}
    return numbers | {c.name: hosts[c.host] for c in containers if c.host in hosts}


def hosts_of(numbers: dict[str, int], check: Check) -> list[int]:
    """The numbers of the hosts that a check is about."""
    ends_of_check = (numbers.get(end.partition("/")[0]) for end in check.end_keys)
    return sorted({number for number in ends_of_check if number is not None})
