"""The text of an inventory's files: plain UTF-8, whose lines count as editors count them."""

from __future__ import annotations

import re
from pathlib import Path

from provision.model.fields.files import read_regular
from provision.model.findings import BadValueError, FindingError, Position

MAX_BYTES = 8 << 20
# Control characters, and line ends of YAML 1.1 that editors do not count as such (a lone CR, NEL,
# U+2028, U+2029): after one of these, the line numbers of findings would be wrong.
_FORBIDDEN = re.compile(
    r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\r(?!\n)"
)


_BOM = "\ufeff".encode()


def file_text(path: Path, *, of_compose: bool = False) -> str:
    """The text of a file. Raises BadValueError or FindingError unless it is plain UTF-8.

    Compose takes files with a byte order mark, as editors of Windows write them.
    """
    raw = read_regular(path, MAX_BYTES)
    return _decoded(path, raw.removeprefix(_BOM) if of_compose else raw)


def _decoded(path: Path, raw: bytes) -> str:
    """The text of a file. Raises BadValueError or FindingError unless it is plain UTF-8."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadValueError("is UTF-16", "save it as UTF-8")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        position = _end(path, raw[: error.start].decode())
        raise FindingError.at(position, "this is not UTF-8", "save it as UTF-8") from error
    if text.startswith("\ufeff"):
        raise BadValueError("begins with a byte order mark", "save it as UTF-8 without one")
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        name = f"control character U+{ord(forbidden[0]):04X}"
        position = _end(path, text[: forbidden.start()])
        raise FindingError.at(position, f"{name} is not allowed", "remove it")
    return text


def _end(path: Path, text: str) -> Position:
    """The position right after `text`, the beginning of a file."""
    return Position(path, text.count("\n") + 1, len(text) - text.rfind("\n"))
