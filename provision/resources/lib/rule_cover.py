"""Rules of iptables that take all packets of another rule, as far as both texts tell. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from typing import NamedTuple

Rule = Sequence[str]
"""The arguments of a rule in the order of iptables-save, without its chain."""

_STATES = ("--ctstate", "--state")
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
    given = list(_matches(narrow))
    return all(_is_implied(match, given) for match in _matches(wide))


def _matches(rule: Rule) -> Iterator[Match]:
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


def _is_implied(match: Match, given: list[Match]) -> bool:
    if match in given:
        return True
    same = [other for other in given if other.name == match.name]
    if match.name in ("-s", "-d"):
        return any(_is_within(match, other) for other in same)
    if match.name in ("-i", "-o"):
        return any(_is_interface(match, other) for other in same)
    if match.name in _STATES:
        states = [other for other in given if other.name in _STATES]
        return _takes_new(match) and all(map(_takes_new, states))
    return False


def _is_within(match: Match, other: Match) -> bool:
    """True if each address of `other` is one of `match`."""
    try:
        wide, narrow = (IPv4Network(option.value, strict=False) for option in (match, other))
    except ValueError:
        return False
    if other.inverted:
        return match.inverted and wide.subnet_of(narrow)
    return not wide.overlaps(narrow) if match.inverted else narrow.subnet_of(wide)


def _is_interface(match: Match, other: Match) -> bool:
    """True if an interface of `other`, which names one, is one of `match`."""
    if other.inverted or other.value.endswith("+"):
        return False
    prefix = match.value.removesuffix("+")
    named = other.value.startswith(prefix) if match.value != prefix else other.value == prefix
    return named != match.inverted


def _takes_new(match: Match) -> bool:
    return (_NEW in match.value.split(",")) != match.inverted
