"""ARP checks of addresses on a LAN, by the program `checks/lan.pl`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from shlex import quote

from provision.resources.render import program_text

MOST_PROBED = 256
"""The largest number of addresses that one snapshot probes by ARP; the rest of a larger pool is
not probed."""


def arp_variables(checks: Mapping[str, str]) -> tuple[str, ...]:
    """Shell variables of a probe: the program, and the checks that it makes.

    `checks` gives the check of `checks/lan.pl`, `own` or `router`, of each address.
    """
    program = program_text("checks/lan.pl") if checks else ""
    text = " ".join(f"{check} {address}" for address, check in [*checks.items()][:MOST_PROBED])
    return (f"arp_checks={quote(text)}", f"arp_program={quote(program)}")


def arp_errors(answers: Iterable[str], check: str) -> dict[str, str]:
    """Addresses of which this check failed, with its message.

    `answers` are lines of `checks/lan.pl`: `CHECK SOURCE ADDRESS STATUS MESSAGE`.
    """
    fields = [answer.split(" ", 4) for answer in answers]
    return {
        address: message
        for name, _, address, status, message in fields
        if name == check and status != "0"
    }
