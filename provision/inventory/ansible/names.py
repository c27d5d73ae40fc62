"""Host patterns of an inventory's lines: ranges and ports. Pure."""

from __future__ import annotations

import re
from string import ascii_letters

from provision.inventory.ansible.model import Misread, Spot

MOST = 10_000
_RANGE = re.compile(r"\[([^\]:]*):([^\]:]*)(?::([^\]:]*))?\]")
_PORT = re.compile(r"(?P<name>(?:\[[^\]]*\]|[^\[\]:])+):(?P<port>\d{1,5})")


def expanded(text: str, spot: Spot) -> tuple[tuple[str, ...], int | None]:
    """The hosts that a pattern such as `web[01:20].example.org:2222` names, and their port."""
    match = _PORT.fullmatch(text)
    name, port = (match["name"], int(match["port"])) if match else (text, None)
    names = [name]
    while any(_RANGE.search(one) for one in names):
        names = [better for one in names for better in _first_range(one, spot)]
        if len(names) > MOST:
            raise Misread(spot, f"'{text}' names more than {MOST} hosts", "write a smaller range")
    return tuple(names), port


def _first_range(text: str, spot: Spot) -> list[str]:
    match = _RANGE.search(text)
    if match is None:
        return [text]
    return [
        text[: match.start()] + part + text[match.end() :]
        for part in _parts(match[1] or "0", match[2], match[3] or "1", text, spot)
    ]


def _parts(first: str, last: str, step: str, text: str, spot: Spot) -> list[str]:
    wrong = Misread(spot, f"'{text}' holds no range", "write it like web[01:20] or db[a:c]")
    if not step.isdigit() or not int(step):
        raise wrong
    if len(first) == len(last) == 1 and first in ascii_letters and last in ascii_letters:
        begin, end = ascii_letters.index(first), ascii_letters.index(last)
        if begin > end:
            raise wrong
        return list(ascii_letters[begin : end + 1 : int(step)])
    if not (first.isdigit() and last.isdigit()):
        raise wrong
    padded = len(first) > 1 and first[0] == "0"
    if padded and len(first) != len(last):
        raise Misread(spot, f"'{text}': begin and end are of different length", "write [01:20]")
    if int(last) - int(first) > MOST * int(step):
        raise Misread(spot, f"'{text}' names more than {MOST} hosts", "write a smaller range")
    width = len(first) if padded else 0
    return [str(number).zfill(width) for number in range(int(first), int(last) + 1, int(step))]
