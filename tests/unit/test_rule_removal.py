"""The command that deletes a rule of iptables or ebtables."""

from __future__ import annotations

import shlex

import pytest

from provision.checks.rule_removal import removal

RULES = {
    "-A FORWARD -p icmp -j DROP": "FORWARD -p icmp -j|DROP|",
    '-A F -m comment --comment "a b" -j DROP': "F -m comment --comment|a b|-j DROP",
    r'-A F --comment "\"\'\\" -j DROP': "F --comment|\"'\\|-j DROP",
    '-A F --comment "$(reboot) `reboot`" ! -s 10.0.0.1/32': (
        "F --comment|$(reboot) `reboot`|! -s 10.0.0.1/32"
    ),
    "-A F --comment $(reboot);reboot -j DROP": "F --comment|$(reboot);reboot|-j DROP",
}
"""Rules as iptables-save prints them, and their words; one with blanks between two `|`."""


@pytest.mark.parametrize("rule", RULES)
def test_a_shell_reads_the_words_of_the_rule(rule: str) -> None:
    """Whatever its comment says: nothing of it is a command to the shell."""
    before, comment, after = RULES[rule].split("|")
    words = [*before.split(), comment, *after.split()]
    command = removal("iptables", "filter", rule)
    assert shlex.split(command) == ["iptables", "-t", "filter", "-D", *words]
