"""What a host says, made fit for a terminal and a file. Pure."""

from __future__ import annotations


def printable(text: str) -> str:
    """What a host says must not steer the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
