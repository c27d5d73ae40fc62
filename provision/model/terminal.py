"""Output of hosts, made safe for the terminal. Pure."""

from __future__ import annotations


def printable(text: str) -> str:
    """Replace control characters by `?`, so that a host cannot steer the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
