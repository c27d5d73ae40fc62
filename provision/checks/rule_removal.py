"""The command that deletes a rule of iptables or ebtables. Pure."""

from __future__ import annotations

import re

from provision.resources.script import quoted

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


def removal(program: str, table: str, rule: str) -> str:
    """The command that deletes a rule such as `-A FORWARD -p icmp -j DROP`, ready to be pasted.

    The rule is as iptables-save prints it: a text such as a comment stands in double quotes, with a
    backslash before each `"`, `'` and backslash in it (libxtables, xtables_save_string). A comment
    is whatever somebody wrote on that host, so every word is quoted for the shell.
    """
    words = [bare or re.sub(r"\\(.)", r"\1", text) for text, bare in _WORD.findall(rule)]
    words[words.index("-A")] = "-D"
    return quoted((program, "-t", table, *words))
