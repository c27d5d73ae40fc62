"""The rules of DOCKER-USER as tables of nftables, where Docker has no such chain. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from provision.facts.host import HostFacts
from provision.resources.base import Resource
from provision.resources.kinds.iptables_chain import IptablesChain, in_docker_user
from provision.resources.kinds.nft_table import OwnNftTable

_LINKS = {"-i": "iifname", "-o": "oifname"}
_ADDRESSES = {"-s": "ip saddr", "-d": "ip daddr"}
_STATES = ("ESTABLISHED", "RELATED")
"""As `nft list` sorts them."""
_ALL_BITS = 0xFFFFFFFF
_VERDICTS = ("ACCEPT", "DROP", "RETURN")
_WITHOUT_MATCH = ("-p", "--comment", "-j")
"""Options whose values stand elsewhere in the rule of nftables."""
_NUMBER = "(0x[0-9a-fA-F]+|0|[1-9][0-9]*)"
"""Docker takes 010 for octal; it is none of the numbers here."""
_MARK = re.compile(f"{_NUMBER}(?:/{_NUMBER})?")


def in_place_of_docker_user(
    resources: Iterable[Resource], facts: Mapping[str, HostFacts]
) -> Iterator[Resource]:
    """Yield the resources, with a table for each chain that cannot be there."""
    for resource in resources:
        host = facts.get(resource.host)
        if (
            isinstance(resource, IptablesChain)
            and in_docker_user(resource)
            and host is not None
            and host.nftables_backend
            and (mark := mark_statement(host.firewall.docker_mark))
        ):
            rules = tuple(rule(each, mark) for each in resource.rules)
            yield OwnNftTable(resource.host, resource.chain, rules, resource.mark)
        else:
            yield resource


def mark_statement(accepted: str) -> str:
    """The statement of nft that sets the mark which Docker accepts (`0x2000/0x2000`, `1`).

    As `nft list` prints it: bits that the mark sets are not masked before. Empty for a mark that is
    none, or zero, which every packet has.
    """
    match = _MARK.fullmatch(accepted)
    if match is None:
        return ""
    mark = int(match[1], 0)
    mask = _ALL_BITS if match[2] is None else int(match[2], 0)
    if not 0 < mark <= _ALL_BITS or mark & ~mask:
        return ""
    if mask == _ALL_BITS:
        return f"meta mark set 0x{mark:08x}"
    kept = ~mask & _ALL_BITS | mark
    masked = "" if kept == _ALL_BITS else f" & 0x{kept:08x}"
    return f"meta mark set meta mark{masked} | 0x{mark:08x}"


def rule(arguments: Sequence[str], mark: str) -> str:
    """A rule of iptables as one of nftables, as `nft list` prints it; `mark` in place of ACCEPT.

    Raises ValueError for arguments that it does not translate: no rule may match more packets than
    it says.
    """
    options = tuple(_options(arguments))
    values = {option: value for option, value, _ in options}
    protocol, verdict = values.get("-p", ""), values.get("-j", "")
    if len(values) < len(options):
        raise ValueError("a rule has an option twice")
    if verdict not in _VERDICTS:
        raise ValueError(f"no verdict of nftables for -j {verdict}")
    if protocol and "--dport" not in values:
        raise ValueError(f"no rule of nftables for -p {protocol} without --dport")
    matches = [match for option in options for match in _matches(*option, protocol=protocol)]
    if not values.keys() & _ADDRESSES.keys():
        # A table of the family inet sees packets of IPv6, too, and one of iptables does not.
        matches.insert(0, "meta nfproto ipv4")
    statement = f"{mark} accept" if verdict == "ACCEPT" else verdict.lower()
    comment = f' comment "{values["--comment"]}"' if "--comment" in values else ""
    return f"{' '.join((*matches, statement))}{comment}"


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """Yield each option with its value, and True if it is negated."""
    rest = list(arguments)
    while rest:
        negated = rest[0] == "!"
        option, value, *rest = rest[1:] if negated else rest
        # `-m conntrack ! --ctstate …`: the name of the match says nothing by itself.
        if option != "-m":
            yield option, value, negated


def _matches(option: str, value: str, negated: bool, *, protocol: str) -> Iterator[str]:
    """Yield the matches of nftables for an option. Raises ValueError if there is none."""
    if option in _LINKS and not value.endswith("+"):
        yield f'{_LINKS[option]} {"!= " if negated else ""}"{value}"'
    elif option == "--ctstate":
        yield from _states(value.split(","), negated=negated)
    elif negated:
        raise ValueError(f"no rule of nftables for ! {option} {value}")
    elif option in _ADDRESSES:
        yield f"{_ADDRESSES[option]} {value.removesuffix('/32')}"
    elif option == "--dport" and protocol in ("tcp", "udp") and value.isdecimal():
        yield f"{protocol} dport {value}"
    elif option not in _WITHOUT_MATCH:
        raise ValueError(f"no rule of nftables for {option} {value}")


def _states(states: Sequence[str], *, negated: bool) -> Iterator[str]:
    """Yield the matches of states of a connection; DNAT is a flag of its own in nftables."""
    flags = [state.lower() for state in _STATES if state in states]
    if unknown := set(states) - {*_STATES, "DNAT"}:
        raise ValueError(f"no state of nftables for {', '.join(sorted(unknown))}")
    if flags and "DNAT" in states and not negated:
        raise ValueError("no rule of nftables for a state or DNAT")
    if len(flags) == 1:
        yield f"ct state {'!= ' if negated else ''}{flags[0]}"
    elif flags:
        yield f"ct state != {{ {', '.join(flags)} }}" if negated else f"ct state {','.join(flags)}"
    if "DNAT" in states:
        yield "ct status ! dnat" if negated else "ct status dnat"
