"""Probes that only the hosts of some networks need: methods bring them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FactsProbe:
    """A program that runs with every snapshot of a host, and the parser of its output.

    `section` names the output in the snapshot, by letters, digits and `_`. `script` is POSIX sh;
    it may use the functions and variables of the probes of kinds (`need`, `shared`, `$name`).
    `parse` returns a value of a type of its own, by which `HostFacts.of` finds it.
    """

    section: str
    script: str
    parse: Callable[[str], object]
