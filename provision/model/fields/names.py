"""Names as an inventory may write them; each rule is said in plain words. Pure."""

from __future__ import annotations

import re

from provision.model.findings import BadValueError
from provision.model.text import quoted

DOCKER_WORDS = ("bridge", "host", "none", "default")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"


def inventory_name(text: str) -> str:
    """The mark of all that a file makes."""
    return _matched(
        text,
        r"[a-z][a-z0-9-]{0,9}",
        "name",
        "write 1 to 10 of a-z, 0-9 and '-', a letter first",
    )


def host_name(text: str) -> str:
    """What SSH and DNS allow; never an option, a path or a pattern."""
    if text == "all":
        raise BadValueError("host name 'all' means every host in --limit", "choose another name")
    if len(text) > 253:
        raise BadValueError(f"host name {quoted(text)} is longer than 253 characters", "shorten it")
    return _matched(
        text,
        rf"{_LABEL}(\.{_LABEL})*",
        "host name",
        "write letters, digits, '-' and '_', in parts of 1 to 63 joined by '.'",
    )


def group_name(text: str) -> str:
    """A word that cannot be taken for a pattern of --limit."""
    if text == "all":
        raise BadValueError("group name 'all' means every host in --limit", "choose another name")
    return _matched(
        text,
        r"[A-Za-z][A-Za-z0-9_-]{0,62}",
        "group name",
        "write up to 63 letters, digits, '-' and '_', a letter first",
    )


def network_name(text: str) -> str:
    """A name of ours that is none of Docker's own."""
    if text in DOCKER_WORDS:
        raise BadValueError(f"network name '{text}' is Docker's own", "choose another name")
    return _matched(
        text,
        r"[a-z][a-z0-9-]{0,14}",
        "network name",
        "write 1 to 15 of a-z, 0-9 and '-', a letter first",
    )


def container_name(text: str) -> str:
    """Docker's rule, and a length that any file name can hold."""
    return _matched(
        text,
        r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}",
        "container name",
        "write 2 to 128 letters, digits, '_', '.' and '-', a letter or digit first",
    )


def user_name(text: str) -> str:
    """A login name that SSH cannot take for an option."""
    return _matched(
        text,
        r"[A-Za-z0-9_][A-Za-z0-9_.@$\\-]{0,63}",
        "user",
        "write a login name, like root",
    )


def jump_hosts(text: str) -> str:
    """What ProxyJump takes: [user@]host[:port], several joined by commas."""
    if len(text) > 1000:
        raise BadValueError(f"jump {quoted(text)} cannot be used", "write it like user@bastion:22")
    one = r"([A-Za-z0-9_][A-Za-z0-9_.$\\-]*@)?[A-Za-z0-9][A-Za-z0-9_.-]*(:[0-9]{1,5})?"
    return _matched(text, rf"{one}(,{one})*", "jump", "write it like user@bastion:22")


def nic_name(text: str) -> str:
    """A link name the kernel takes, and that no tool takes for something else."""
    if text in ("all", "default"):
        raise BadValueError(f"nic '{text}' stands for several in the kernel's settings", "name one")
    return _matched(
        text,
        r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}",
        "nic",
        "write the link's name of 1 to 15 characters, like eth1",
    )


def _matched(text: str, pattern: str, noun: str, hint: str) -> str:
    if not re.fullmatch(pattern, text):
        raise BadValueError(f"{noun} {quoted(text)} cannot be used", hint)
    return text
