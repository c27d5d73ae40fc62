"""The description of a method's key, for editors: `Annotated[int, Help("the UDP port")]`. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Help:
    """One line about a key of a method's `Options`, or of a document below it."""

    text: str
