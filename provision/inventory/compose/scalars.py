"""Plain scalars as the YAML library of Compose resolves them (gopkg.in/yaml.v3). Pure.

`yes` is text, 0755 is an octal number, and 22:22 is text. Compose prints a number with a fraction
by Go's fmt.Sprint wherever it wants text, so such a number is this text here.
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
        return text
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


def float_text(number: float) -> str:
    """A number as Go's fmt.Sprint prints it: the shortest digits, from 1e+06 with an exponent."""
    shortest = Decimal(repr(number)).normalize()
    power = shortest.adjusted()
    if not shortest or -4 <= power < 6:
        return f"{shortest:f}"
    return f"{shortest.scaleb(-power):f}e{power:+03}"
