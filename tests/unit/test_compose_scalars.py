"""Plain scalars of a Compose file have the values and the text that Go gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.inventory.compose import nodes
from tests.compose_program import config

SCALARS: dict[str, object] = {
    "yes": "yes",
    "true": True,
    "~": None,
    "": None,
    "22:22": "22:22",
    "1.2.3": "1.2.3",
    "0755": 493,
    "0o17": 15,
    "0x1f": 31,
    "0_x1": 1,
    "1_000": 1000,
    "_1": "_1",
    "-5": -5,
    "089": "89",
    "0b102": "0b102",
    "-0b101": -5,
    "1.10": "1.1",
    "+.5": "0.5",
    "1_0.5": "10.5",
    # An int64 or a uint64 is exact; larger numbers are float64, as for Go.
    "1187654321098765432": 1187654321098765432,
    "9223372036854775807": 2**63 - 1,
    "18446744073709551615": 2**64 - 1,
    "0xFFFFFFFFFFFFFFFF": 2**64 - 1,
    "01777777777777777777777": 2**64 - 1,
    "-9223372036854775808": -(2**63),
    "18446744073709551616": "1.8446744073709552e+19",
    "+9223372036854775808": "9.223372036854776e+18",
    "-9223372036854775809": "-9.223372036854776e+18",
    # Go's fmt.Sprint of a float64.
    "100000.0": "100000",
    "1000000.0": "1e+06",
    "1e6": "1e+06",
    "1e3": "1000",
    "1e21": "1e+21",
    "123456.7": "123456.7",
    "1234567.0": "1.234567e+06",
    "2.5e7": "2.5e+07",
    "-0.0": "-0",
    "0.0001": "0.0001",
    "0.00001": "1e-05",
    "1.5e-7": "1.5e-07",
    "5e-324": "5e-324",
    ".inf": "+Inf",
    "-.Inf": "-Inf",
    ".NaN": "NaN",
    "1e400": "1e400",
    "9" * 500: "9" * 500,
    # Go's fmt.Sprint of a time.
    "2026-01-01": "2026-01-01 00:00:00 +0000 UTC",
    "2024-2-29": "2024-02-29 00:00:00 +0000 UTC",
    "2026-01-01T10:20:30Z": "2026-01-01 10:20:30 +0000 UTC",
    "2026-01-01t1:2:3.5000Z": "2026-01-01 01:02:03.5 +0000 UTC",
    "2026-01-01 10:20:30": "2026-01-01 10:20:30 +0000 UTC",
    "2026-01-01 10:20:30.1234567891": "2026-01-01 10:20:30.123456789 +0000 UTC",
    "2026-01-01 10:20:30,05": "2026-01-01 10:20:30.05 +0000 UTC",
    "2026-01-01 10:20:30.0": "2026-01-01 10:20:30 +0000 UTC",
    "2026-01-01T10:20:30-05:31": "2026-01-01 10:20:30 -0531 -0531",
    "2026-01-01T10:20:30": "2026-01-01T10:20:30",
    "2026-01-01 10:20:30Z": "2026-01-01 10:20:30Z",
    "2026-01-01T10:20:30z": "2026-01-01T10:20:30z",
    "2026-01-01 10:20": "2026-01-01 10:20",
    "2026-01-01 24:00:00": "2026-01-01 24:00:00",
    "2026-02-29": "2026-02-29",
    "1900-02-29": "1900-02-29",
    "2026-13-01": "2026-13-01",
    "2026-1": "2026-1",
    "0000-02-29": "0000-02-29 00:00:00 +0000 UTC",
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_scalars_are_those_of_go(text: str, value: object) -> None:
    """Not those of YAML 1.1, in which 22:22 is 1342."""
    assert nodes.scalar(text) == value
    assert type(nodes.scalar(text)) is type(value)


def test_compose_reads_the_same_scalars(tmp_path: Path) -> None:
    """`docker compose config` prints each number of an environment alike."""
    # Newer versions of Compose cannot print infinity.
    texts = {k: text for k, text in enumerate(SCALARS) if not text.startswith((".", "-."))}
    lines = "".join(f"      T{k}: {text}\n" for k, text in texts.items())
    path = tmp_path / "compose.yaml"
    path.write_text(f"services:\n  web:\n    image: busybox\n    environment:\n{lines}")
    theirs = config(path)["services"]["web"]["environment"]
    values = {f"T{k}": nodes.scalar(text) for k, text in texts.items()}
    assert theirs == {
        name: "true" if value is True else None if value is None else str(value)
        for name, value in values.items()
    }
