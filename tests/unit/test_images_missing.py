"""Warnings about images that hosts cannot pull, and what the hosts' program prints."""

from __future__ import annotations

from provision.engine.images import missing


def test_reasons_are_one_line_of_bounded_length() -> None:
    """A registry may answer anything; other lines of the host's shell are left out."""
    text = (
        "bash: warning: setlocale\n"
        "missing shop/api:3 manifest unknown: manifest unknown. \n"
        f"missing x/y@sha256:0 {'long ' * 100}\n"
        "missing broken\n"
    )
    (first, second) = missing(text)
    assert first == ("shop/api:3", "manifest unknown: manifest unknown")
    assert second[0] == "x/y@sha256:0" and len(second[1]) <= 200
