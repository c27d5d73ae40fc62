"""`ssh.options`: options of ssh as on its command line, handed to `ssh -G`. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from provision.model.findings import BadValueError
from provision.model.text import quoted

_WITH_VALUE = "BbcDEeFIiJLlmOopQRSWw"
_USED = "BbcFIiJlmop46C"
"""The flags about the connection. The others are about terminals, forwarding and output."""
_REFUSED = "GOQVf"
_HINT = "write options of ssh, such as -o ProxyJump=bastion"
# Ansible's users switch the check of host keys off by these. provision always checks, and an empty
# file of known hosts would only hide the keys that the user has.
_HOST_KEYS = re.compile(
    r"\s*(StrictHostKeyChecking|(User|Global)KnownHostsFile\s*[=\s]\s*\"?/dev/null)\b.*", re.I
)


def ssh_options(text: str) -> str:
    """The options about the connection, quoted for a shell. Raises BadValueError."""
    return shlex.join(parsed(text))


def parsed(text: str) -> tuple[str, ...]:
    """The arguments of ssh for the options about the connection. Raises BadValueError."""
    try:
        arguments = shlex.split(text)
    except ValueError as error:
        raise BadValueError(f"options {quoted(text)} cannot be read: {error}", _HINT) from error
    if "\0" in text or "\n" in text:
        raise BadValueError(f"options {quoted(text)} have several lines", _HINT)
    return tuple(_used(arguments))


def _used(arguments: list[str]) -> Iterator[str]:
    rest = iter(arguments)
    for argument in rest:
        if not re.fullmatch(r"-[A-Za-z0-9].*", argument):
            raise BadValueError(f"{quoted(argument)} is not an option of ssh", _HINT)
        letters = argument[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in _REFUSED:
                raise BadValueError(f"the option -{letter} of ssh cannot be used here", _HINT)
            if letter not in _WITH_VALUE:
                if letter in _USED:
                    yield f"-{letter}"
                continue
            value = letters or next(rest, "")
            if not value:
                raise BadValueError(f"the option -{letter} of ssh needs a value", _HINT)
            letters = ""
            if letter in _USED and not (letter == "o" and _HOST_KEYS.fullmatch(value)):
                yield from (f"-{letter}", value)
