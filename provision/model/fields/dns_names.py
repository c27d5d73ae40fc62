"""Names in DNS: aliases of containers, and the domain of a network's names. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from provision.model.findings import BadValueError
from provision.model.text import quoted

LONGEST = 253
"""Characters of a name (RFC 1035); a label has at most 63."""
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
# Without ASCII, ſ and the Kelvin sign would pass for s and k.
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.IGNORECASE | re.ASCII)
_EXAMPLE = "lab.internal"
# RFC 2606, 6761, 6762, 7686: programs do not ask a DNS server for these, or ask no other one.
_SPECIAL = ("local", "localhost", "invalid", "onion", "arpa", "example", "alt")
# Nobody can register names below these, so a single label can be a domain of one's own.
_PRIVATE = ("internal", "test", "lan", "home", "corp", "private", "intranet", "localdomain")
# Second levels below which the registries of countries register names, such as co.uk.
# More than these would need Mozilla's list, which changes each week and has 10,000 entries.
_REGISTRIES = ("ac", "co", "com", "edu", "gob", "gov", "gv", "mil", "ne", "net", "or", "org", "sch")
_REGISTRIES_OF = {
    "au": ("asn", "id"),
    "fr": ("asso", "gouv", "nom", "tm"),
    "in": ("firm", "gen", "ind", "nic", "res"),
    "jp": ("ad", "ed", "go", "gr", "lg"),
    "kr": ("go", "pe", "re"),
    "nz": ("cri", "geek", "gen", "govt", "health", "iwi", "kiwi", "maori", "school"),
    "pl": ("biz", "info"),
    "th": ("go", "in"),
    "tr": ("bel", "gen", "k12", "name", "web"),
    "uk": ("ltd", "me", "nhs", "plc", "police"),
    "za": ("law", "nom", "school", "web"),
}
_HOSTING = ("github.io", "gitlab.io", "herokuapp.com", "netlify.app", "pages.dev", "vercel.app")
"""Domains of hosting services, below which customers have their names."""
_BOOLEANS = {"yes": "true", "on": "true", "true": "true"}
_BOOLEANS |= {"no": "false", "off": "false", "false": "false"}
"""Texts that stand for a value of `names` elsewhere, such as `yes` in YAML 1.1, and that value."""


def is_name(text: str) -> bool:
    """True for a name that DNS can hold, in any case."""
    fits = len(text) <= LONGEST
    return fits and _NAME.fullmatch(text) is not None


def alias(text: str) -> str:
    """A further name of a container. Raises BadValueError."""
    if not is_name(text):
        hint = "write letters, digits, '-' and '_', in parts of 1 to 63 joined by '.'"
        raise BadValueError(f"alias {quoted(text)} cannot be a name in DNS", hint)
    if re.fullmatch(r"[0-9.]+", text):
        raise BadValueError(f"alias {quoted(text)} looks like an address", "add a letter")
    return text.lower()


def domain(text: str) -> str:
    """The domain below which a network has its names. Raises BadValueError."""
    name = text.lower()
    if name in _BOOLEANS:
        raise BadValueError(f"names cannot be {quoted(text)}", f"write names: {_BOOLEANS[name]}")
    hint = f"write a domain of your own, like {_EXAMPLE}"
    if not is_name(name) or "_" in name or len(name) > LONGEST - 130:
        raise BadValueError(f"domain {quoted(text)} cannot be a domain in DNS", hint)
    if re.fullmatch(r"[0-9.]+", name):
        raise BadValueError(f"domain {quoted(text)} looks like an address", hint)
    labels = name.split(".")
    if labels[-1] in _SPECIAL and labels[-2:] != ["home", "arpa"]:
        message = f"domain {quoted(text)} ends in '{labels[-1]}', which programs treat specially"
        raise BadValueError(message, hint)
    if _is_public_suffix(labels):
        message = f"domain {quoted(text)} is one below which others have their names"
        raise BadValueError(message, hint)
    return name


def _is_public_suffix(labels: list[str]) -> bool:
    """True for a domain like com or co.uk: its other names would not be found any more."""
    if len(labels) == 1:
        return labels[0] not in _PRIVATE
    if len(labels) > 2 or ".".join(labels) in _HOSTING:
        return len(labels) == 2
    second, top = labels
    return len(top) == 2 and (second in _REGISTRIES or second in _REGISTRIES_OF.get(top, ()))


def _names(value: Any) -> str | None:
    """None for `false`, an empty text for `true`, else the domain."""
    if isinstance(value, bool):
        return "" if value else None
    if isinstance(value, str):
        return domain(value)
    message = "'names' must be true or a domain"
    raise BadValueError(message, f"write true, or a domain like {_EXAMPLE}")


Alias = Annotated[str, AfterValidator(alias)]
Names = Annotated[
    str | None,
    BeforeValidator(_names),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string"}]}),
]
