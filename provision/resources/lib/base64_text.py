"""Files as probes print them, in base64. Pure."""

from __future__ import annotations

from base64 import b64decode


def plain(encoded: str) -> str:
    """The text; what is no UTF-8 in it is replaced. Raises ValueError where it is no base64."""
    return b64decode(encoded).decode("utf-8", "replace")
