"""Host patterns on the lines of an Ansible inventory: ranges and ports. Pure."""

from __future__ import annotations

import re
from string import ascii_letters

from provision.model.findings import FindingError, Position

MAX_HOSTS = 10_000
_RANGE = re.compile(r"\[([^\]:]*):([^\]:]*)(?::([^\]:]*))?\]")
_BRACKETED = re.compile(r"\[(?P<name>[^\[\]]+)\]:(?P<port>\d{1,5})")
_PORT = re.compile(r"(?P<name>(?:\[[^\]]*\]|[^\[\]:])+):(?P<port>\d{1,5})")
# `isdigit` is true of ² and of digits that are too many for `int`, too.
_NUMBER = re.compile(r"[0-9]{1,18}")


def expand(pattern: str, position: Position) -> tuple[tuple[str, ...], int | None]:
    """Names and port of the hosts of a pattern such as `web[01:20].example.org:2222`.

    Raises FindingError for a range that Ansible would refuse or that has too many hosts.
    """
    bracketed = _BRACKETED.fullmatch(pattern)
    if bracketed:  # an IPv6 address, which is no range
        return (bracketed["name"],), int(bracketed["port"])
    match = _PORT.fullmatch(pattern)
    name, port = (match["name"], int(match["port"])) if match else (pattern, None)
    names = [name]
    while any(_RANGE.search(name) for name in names):
        names = [expanded for name in names for expanded in _expand_first_range(name, position)]
        if len(names) > MAX_HOSTS:
            raise _too_many(pattern, position)
    return tuple(names), port


def _too_many(text: str, position: Position) -> FindingError:
    message = f"'{text}' names more than {MAX_HOSTS} hosts"
    return FindingError.at(position, message, "write a smaller range")


def _expand_first_range(text: str, position: Position) -> list[str]:
    match = _RANGE.search(text)
    if match is None:
        return [text]
    steps = _steps(match[1] or "0", match[2], match[3] or "1", text, position)
    return [text[: match.start()] + step + text[match.end() :] for step in steps]


def _steps(first: str, last: str, stride: str, text: str, position: Position) -> list[str]:
    """The numbers or letters of a range, both ends included."""
    invalid = FindingError.at(
        position, f"'{text}' has an invalid range", "write it like web[01:20] or db[a:c]"
    )
    if not _NUMBER.fullmatch(stride) or not int(stride):
        raise invalid
    if len(first) == len(last) == 1 and first in ascii_letters and last in ascii_letters:
        begin, end = ascii_letters.index(first), ascii_letters.index(last)
        if begin > end:
            raise invalid
        return list(ascii_letters[begin : end + 1 : int(stride)])
    if not (_NUMBER.fullmatch(first) and _NUMBER.fullmatch(last)):
        raise invalid
    padded = len(first) > 1 and first[0] == "0"
    if padded and len(first) != len(last):
        message = f"'{text}': begin and end of the range differ in length"
        raise FindingError.at(position, message, "write it like [01:20]")
    # Counted before the list is made: [0:999999999] must not fill the memory.
    if int(last) - int(first) > MAX_HOSTS * int(stride):
        raise _too_many(text, position)
    width = len(first) if padded else 0
    return [str(number).zfill(width) for number in range(int(first), int(last) + 1, int(stride))]
