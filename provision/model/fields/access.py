"""Entries of `access`: the word `hosts`, a range of sources, or an interface of the hosts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from provision.model.access import Access
from provision.model.fields import addresses, names
from provision.model.findings import BadValueError
from provision.model.text import quoted

HOSTS = "hosts"
"""The entry that stands for all hosts of the inventory."""
_HINT = "write hosts, a range like 10.0.0.0/8, or an interface like tailscale0"


def entry(value: Any) -> str:
    """The text of an entry, checked. Raises BadValueError."""
    if not isinstance(value, str):
        raise BadValueError("an entry of access is a word", _HINT)
    if _is_range(value):
        addresses.source_range(value)
    elif value.lower() in (HOSTS, "host", "all"):
        if value != HOSTS:
            raise BadValueError(f"access {quoted(value)} means nothing", "did you mean hosts?")
    elif value == "lo":
        raise BadValueError("lo takes packets of its own host only", _HINT)
    else:
        names.access_interface(value)
    return value


def of_entries(entries: Iterable[str]) -> Access:
    """The meaning of checked entries."""
    texts = tuple(entries)
    return Access(
        hosts=HOSTS in texts,
        ranges=tuple(addresses.source_range(text) for text in texts if _is_range(text)),
        interfaces=tuple(text for text in texts if text != HOSTS and not _is_range(text)),
    )


def network(text: str) -> IPv4Network | None:
    """The range of a checked entry; None for the word `hosts` and for an interface."""
    return addresses.source_range(text) if _is_range(text) else None


def _is_range(text: str) -> bool:
    """True for what can only be meant as an address or a range."""
    return ":" in text or re.fullmatch(r"[0-9.]+(/.*)?", text) is not None


def _not_null(value: Any) -> Any:
    # Nothing could mean nobody, or leave what comes in to Docker.
    if value is None:
        hint = "write [] to let nobody else in, or a list like [hosts, 10.9.0.0/16]"
        raise BadValueError("'access' is empty", hint)
    return value


AccessEntry = Annotated[str, BeforeValidator(entry)]
AccessEntries = Annotated[
    list[AccessEntry] | None,
    BeforeValidator(_not_null),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]
