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
_ALL_BITS = 0xFFFFFFFF
_MARK = re.compile(r"(0x[0-9a-fA-F]+|\d+)(?:/(0x[0-9a-fA-F]+|\d+))?")


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

    Raises ValueError for an argument that no rule of ours has.
    """
    words, matches, comment = list(arguments), [], ""
    protocol, verdict = "", ""
    while words:
        negated = words[0] == "!" and bool(words.pop(0))
        option, value, *words = words
        if option == "-m":
            # `-m conntrack ! --ctstate …`: the name of the match says nothing by itself.
            continue
        if option in _LINKS:
            matches.append(f'{_LINKS[option]} {"!= " if negated else ""}"{value}"')
        elif option in _ADDRESSES:
            matches.append(f"{_ADDRESSES[option]} {value.removesuffix('/32')}")
        elif option == "-p":
            protocol = value
        elif option == "--dport":
            matches.append(f"{protocol} dport {value}")
        elif option == "--ctstate":
            matches += _states(value.split(","), negated=negated)
        elif option == "--comment":
            comment = f' comment "{value}"'
        elif option == "-j" and value in ("ACCEPT", "DROP", "RETURN"):
            verdict = f"{mark} accept" if value == "ACCEPT" else value.lower()
        else:
            raise ValueError(f"no rule of nftables for {option} {value}")
    return f"{' '.join((*matches, verdict))}{comment}"


def _states(states: Sequence[str], *, negated: bool) -> Iterator[str]:
    """Yield the matches of states of a connection; DNAT is a flag of its own in nftables."""
    flags = sorted((s.lower() for s in states if s != "DNAT"), key=("established", "related").index)
    if flags:
        listed = f"!= {{ {', '.join(flags)} }}" if negated else ",".join(flags)
        yield f"ct state {listed}"
    if "DNAT" in states:
        yield "ct status ! dnat" if negated else "ct status dnat"
