"""The values of `lab link`, and the commands that they become. No root needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from provision.lab import line
from provision.lab.commands import lab
from provision.lab.layout import NICS, Lab
from provision.lab.line import Line
from provision.model.errors import UsageError


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("40ms", "1%", "10mbit"), Line(40, 1, 10_000)),
        (("0.3s", None, None), Line(delay_ms=300)),
        ((None, "0.5%", None), Line(loss_percent=0.5)),
        ((None, None, "64kbit"), Line(rate_kbit=64)),
        ((None, "100%", "1gbit"), Line(0, 100, 1_000_000)),
        ((None, None, None), Line()),
    ],
)
def test_values_are_read_with_their_units(
    texts: tuple[str | None, str | None, str | None], expected: Line
) -> None:
    """Milliseconds, percent and kbit/s are the units of the result."""
    assert line.parse(*texts) == expected


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("40", None, None), "--delay 40: not a value"),
        (("11s", None, None), "--delay 11s: not a value"),
        (("-1ms", None, None), "--delay -1ms: not a value"),
        ((None, "1", None), "--loss 1: not a value"),
        ((None, "101%", None), "--loss 101%: not a value"),
        ((None, "0%", None), "--loss 0%: not a value"),
        ((None, "nan%", None), "--loss nan%: not a value"),
        ((None, None, "10"), "--rate 10: not a value"),
        ((None, None, "1kbit"), "--rate 1kbit: not a value"),
        ((None, None, "1mbit; reboot"), "--rate 1mbit; reboot: not a value"),
    ],
)
def test_other_values_are_refused(
    texts: tuple[str | None, str | None, str | None], message: str
) -> None:
    """The error repeats the option, and its hint has examples."""
    with pytest.raises(UsageError, match=message) as caught:
        line.parse(*texts)
    assert caught.value.hint.startswith("write ")


def test_a_line_is_told_in_words() -> None:
    """The command prints it for each host."""
    assert str(Line(40, 0.5, 10_000)) == "delay 40 ms, loss 0.5 %, rate 10000 kbit/s"
    assert str(Line(rate_kbit=64)) == "rate 64 kbit/s" and str(Line()) == "as it was"


def test_only_what_was_asked_for_is_limited() -> None:
    """A delay alone needs neither a filter that drops nor a queue with a rate."""
    texts = [" ".join(command) for command in line.commands("e1", "f1", Line(delay_ms=40))]
    assert not any("tbf" in text or "direct-action" in text for text in texts)
    assert sum("redirect dev f1" in text for text in texts) == 1
    texts = [" ".join(command) for command in line.commands("e1", "f1", Line(loss_percent=50))]
    assert sum("direct-action" in text and f"53 0 1 {2**31}," in text for text in texts) == 2
    assert " ".join(line.delay("f1", Line(40, 0, 64))).startswith(
        "tc qdisc add dev f1 parent 1:1 netem delay 40ms"
    )
    assert " ".join(line.delay("f1", Line(40))).startswith("tc qdisc add dev f1 root netem")


def test_the_names_of_the_interfaces_fit_the_kernel() -> None:
    """At most 15 characters, and another one for each NIC."""
    host = Lab(Path("/tmp/one")).host("h200")
    names = {function(nic) for nic in NICS for function in (host.outer, host.ifb)}
    assert len(names) == 4 and all(len(name) <= 15 for name in names)


@pytest.mark.parametrize("options", [(), ("--clear", "--loss", "1%")])
def test_either_a_line_or_clear_is_needed(options: tuple[str, ...]) -> None:
    """Neither and both are mistakes."""
    result = CliRunner().invoke(lab, ("link", "h1", *options))
    assert isinstance(result.exception, UsageError)
    assert "--clear, or at least" in result.exception.message
