"""Plain scalars as the YAML library of Compose resolves them (gopkg.in/yaml.v3). Pure.

`yes` is text, 0755 is an octal number, and 22:22 is text. Compose prints a number with a fraction
and a time by Go's fmt.Sprint wherever it wants text, so these are this text here.
"""

from __future__ import annotations

import re
from decimal import Decimal

_CONSTANTS: dict[str, bool | str | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys((f"{sign}{name}" for sign in ("", "+") for name in (".inf", ".Inf")), "+Inf"),
    **dict.fromkeys((".INF", "+.INF"), "+Inf"),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), "-Inf"),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), "NaN"),
}
_BASES = (
    (16, "0[xX]([0-9a-fA-F]+)"),
    (10, "(0|[1-9][0-9]*)"),
    (8, "0[oO]?([0-7]+)"),
    (2, "0[bB]([01]+)"),
)
_INTEGERS = tuple((base, re.compile(form)) for base, form in _BASES)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
# The formats of yaml.v3 (allowedTimestampFormats), as Go's time.Parse reads them.
_TIME = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)"
    r"(?:(?:[Tt]|(?P<space> ))(\d\d?):(\d\d?):(\d\d?)(?:[.,](?P<fraction>\d+))?"
    r"(?P<zone>Z|(?P<sign>[-+])(?P<hours>\d\d):(?P<minutes>\d\d))?)?",
    re.ASCII,
)
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LONGEST = 400
"""The most digits of a number; Python refuses to convert thousands of them."""


def scalar(text: str) -> str | int | bool | None:
    """The value of a plain scalar; a number with a fraction is text, as Go prints it."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    # yaml.v3 leaves out the underscores of a text that begins with a digit or a sign.
    plain = text.replace("_", "") if text[0] in "+-0123456789" else text
    integer = _integer(plain)
    if integer is not None:
        return integer
    if not _FLOAT.fullmatch(plain):
        return time_text(text) or text
    number = float(plain)
    return text if number in (float("inf"), float("-inf")) else float_text(number)


def _integer(text: str) -> int | None:
    """An int64 or, without a sign, a uint64; None: the text is another thing or too large."""
    sign = text[:1] if text[:1] in ("+", "-") else ""
    for base, form in _INTEGERS:
        match = form.fullmatch(text, len(sign))
        if match and len(text) <= _LONGEST:
            number = int(f"{sign}{match[1]}", base)
            return number if -(2**63) <= number < 2 ** (63 if sign else 64) else None
    return None


def time_text(text: str) -> str | None:
    """A date, or a date and a time, as Go's fmt.Sprint prints it; None: the text is none.

    Go prints the name of an offset that the machine's own time zone has at that moment; the offset
    stands for it here, and UTC for +00:00.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[k] or 0) for k in (1, 2, 3, 5, 6, 7))
    # T needs a zone, and a blank has none.
    has_time, has_zone = match[5] is not None, match["zone"] is not None
    if has_time and (match["space"] is None) != has_zone:
        return None
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS[month - 1] + (is_leap and month == 2):
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    fraction = f".{match['fraction'] or 0}"[:10].rstrip(".0")
    zone = _zone_text(match["sign"], match["hours"], match["minutes"])
    date = f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
    return f"{date}{fraction} {zone}"


def _zone_text(sign: str | None, hours: str | None, minutes: str | None) -> str:
    offset = int(hours or 0) * 60 + int(minutes or 0)
    if not offset:
        return "+0000 UTC"
    text = f"{sign}{offset // 60:02}{offset % 60:02}"
    return f"{text} {text}"


def float_text(number: float) -> str:
    """A number as Go's fmt.Sprint prints it: the shortest digits, from 1e+06 with an exponent."""
    shortest = Decimal(repr(number)).normalize()
    power = shortest.adjusted()
    if not shortest or -4 <= power < 6:
        return f"{shortest:f}"
    return f"{shortest.scaleb(-power):f}e{power:+03}"
