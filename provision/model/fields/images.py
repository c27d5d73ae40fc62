"""Image references as people write them. Pure."""

from __future__ import annotations

import re

from provision.model.findings import BadValueError
from provision.model.text import quoted

DEFAULT = "busybox:latest"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?/)?{_PART}(?:/{_PART})*)"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?P<digest>@sha256:[0-9a-f]{64})?"
)


def reference(text: str) -> str:
    """A reference with its tag or digest, by the grammar of distribution/reference.

    Raises BadValueError.
    """
    match = _match(text)
    if match is None:
        near = text.lower()
        hint = f"did you mean {near}?" if _match(near) else "write it like busybox or nginx:1.27"
        raise BadValueError(f"image {quoted(text)} is no image reference", hint)
    if re.fullmatch(r"[0-9a-f]{64}", match["name"]):
        raise BadValueError(
            f"image {quoted(text)} is an image's id", "write its name, like busybox"
        )
    return text if match["tag"] or match["digest"] else f"{text}:latest"


def _match(text: str) -> re.Match[str] | None:
    # The pattern backtracks on long text; Docker refuses names above 255 characters anyway.
    match = _REFERENCE.fullmatch(text) if len(text) <= 512 else None
    return match if match and len(match["name"]) <= 255 else None
