"""Image references. Pure."""

from __future__ import annotations

import re

from provision.model.findings import BadValueError
from provision.model.text import quoted

DEFAULT = "busybox:latest"
# The grammar of github.com/distribution/reference, whose patterns have the same names.
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN_COMPONENT = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*(?::[0-9]{{1,5}})?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_DOMAIN}/)?{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*)"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?P<digest>@sha256:[0-9a-f]{64})?"
)


def reference(text: str) -> str:
    """A reference with its tag or digest, `:latest` added where it has neither.

    Raises BadValueError.
    """
    match = _match(text)
    if match is None:
        lower = text.lower()
        hint = f"did you mean {lower}?" if _match(lower) else "write it like busybox or nginx:1.27"
        raise BadValueError(f"image {quoted(text)} is not an image reference", hint)
    # Docker takes 64 hex digits for the ID of an image, and refuses to pull them.
    if re.fullmatch(r"[0-9a-f]{64}", match["name"]):
        hint = "write its name, like busybox"
        raise BadValueError(f"image {quoted(text)} is the ID of an image", hint)
    return text if match["tag"] or match["digest"] else f"{text}:latest"


def _match(text: str) -> re.Match[str] | None:
    # The pattern backtracks on long text; Docker refuses names above 255 characters anyway.
    match = _REFERENCE.fullmatch(text) if len(text) <= 512 else None
    return match if match and len(match["name"]) <= 255 else None
