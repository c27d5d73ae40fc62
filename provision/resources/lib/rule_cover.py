"""Rules of iptables that take all packets of another rule, as far as both texts tell. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from typing import NamedTuple

Rule = Sequence[str]
"""The arguments of a rule in the order of iptables-save, without its chain."""

STATES = ("--ctstate", "--state")
"""Options that name states of connections."""
_NEW = "NEW"


class Match(NamedTuple):
    """One option of a rule: if it is inverted, its name and its value."""

    inverted: bool
    name: str
    value: str


def target(rule: Rule) -> str:
    """The target or chain to which a rule sends packets; empty if it only counts them."""
    return next((rule[k + 1] for k in range(len(rule) - 1) if rule[k] in ("-j", "-g")), "")


def covers(wide: Rule, narrow: Rule) -> bool:
    """True if each packet of the rule `narrow` is surely one of the rule `wide`.

    Of the states of connections, new packets stand for all. A match that this module does not know
    is for other packets, unless both rules have it.
    """
    options = list(matches(narrow))
    return all(_is_implied(match, options) for match in matches(wide))


def matches(rule: Rule) -> Iterator[Match]:
    """Yield each option before the target, without comments and names of modules."""
    inverted, tokens = False, iter(rule)
    for token in tokens:
        if token in ("-j", "-g"):
            return
        if token == "!":
            inverted = True
            continue
        # Only a few options have no value, and none of those is one that this module knows.
        value = next(tokens, "")
        if token not in ("-m", "--comment"):
            yield Match(inverted, token, value)
        inverted = False


def _is_implied(match: Match, options: list[Match]) -> bool:
    if match in options:
        return True
    same = [option for option in options if option.name == match.name]
    if match.name in ("-s", "-d"):
        return any(_is_within(match, option) for option in same)
    if match.name in ("-i", "-o"):
        return any(_is_interface(match, option) for option in same)
    if match.name in STATES:
        states = [option for option in options if option.name in STATES]
        return takes_new(match) and all(map(takes_new, states))
    return False


def _is_within(match: Match, option: Match) -> bool:
    """True if each address of `option` is one of `match`."""
    try:
        wide, narrow = (IPv4Network(m.value, strict=False) for m in (match, option))
    except ValueError:
        return False
    if option.inverted:
        return match.inverted and wide.subnet_of(narrow)
    return not wide.overlaps(narrow) if match.inverted else narrow.subnet_of(wide)


def _is_interface(match: Match, option: Match) -> bool:
    """True if an interface of `option`, which names one, is one of `match`."""
    if option.inverted or option.value.endswith("+"):
        return False
    prefix = match.value.removesuffix("+")
    named = option.value.startswith(prefix) if match.value != prefix else option.value == prefix
    return named != match.inverted


def takes_new(match: Match) -> bool:
    """True if an option of `STATES` takes packets of new connections."""
    return (_NEW in match.value.split(",")) != match.inverted
