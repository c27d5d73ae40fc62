"""Text that probes print in base64. Pure."""

from __future__ import annotations

from base64 import b64decode


def decode_text(encoded: str) -> str:
    """The decoded text, bytes that are not UTF-8 replaced. Raises ValueError for bad base64."""
    return b64decode(encoded).decode("utf-8", "replace")
