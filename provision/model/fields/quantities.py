"""Durations and sizes in the notation of Compose: `1m30s`, `64m`. Pure."""

from __future__ import annotations

import re
from fractions import Fraction

from provision.model.findings import BadValueError
from provision.model.text import quoted

# The units of Go's time.ParseDuration, in nanoseconds. Compose adds days and weeks.
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ns|us|ms|s|m|h))+")
_PART = re.compile(r"([0-9.]+)([a-z]+)")
_SIZE = re.compile(
    r"([0-9]{1,18})(?:\.([0-9]{1,9}))?[ ]?([bkmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII
)
_LARGEST = 2**63 - 1  # both are int64 for Docker


def duration(text: str) -> int:
    """Nanoseconds of a duration. Raises BadValueError."""
    if text == "0":
        return 0
    if not _DURATION.fullmatch(text):
        raise BadValueError(f"{quoted(text)} is not a duration", "write it like 30s or 1m30s")
    parts = _PART.findall(text)
    length = int(sum((Fraction(number) * _UNITS[unit] for number, unit in parts), Fraction(0)))
    if length > _LARGEST:
        raise BadValueError(f"{quoted(text)} is too long", "write a duration below 292 years")
    return length


def duration_text(length: int) -> str:
    """Nanoseconds as the shortest duration of one unit."""
    if length == 0:
        return "0s"
    unit = next(unit for unit in ("s", "ms", "us", "ns") if length % _UNITS[unit] == 0)
    return f"{length // _UNITS[unit]}{unit}"


def size(text: str) -> int:
    """Bytes of a size; units are powers of 1024, as for Docker. Raises BadValueError."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise BadValueError(f"{quoted(text)} is not a size", "write it like 64m or 1gb")
    whole, fraction, unit = match.groups()
    power = " kmgt".index(unit.lower()) if unit and unit.lower() != "b" else 0
    number = int(Fraction(f"{whole}.{fraction or 0}") * 1024**power)
    if number > _LARGEST:
        raise BadValueError(f"{quoted(text)} is too large", "write it like 64m or 1gb")
    return number
