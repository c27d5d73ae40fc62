"""Causes in netfilter's filters: a rule or a policy that drops the probe. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from provision import methods
from provision.checks.explain import nat, nft_rules, source_checks
from provision.checks.explain.case import Case
from provision.checks.explain.evidence import Growth, HostEvidence, TraceStep
from provision.checks.explain.model import HOST, Cause, Point
from provision.checks.explain.verdicts import (
    is_answer,
    is_copy,
    is_drop,
    is_ebtables,
    is_lost,
    is_native,
    is_tunnelled,
    owner_of,
)
from provision.checks.rule_removal import removal
from provision.resources.script import quoted


def drops(case: Case) -> Iterator[Cause]:
    """Yield the rules and policies that netfilter's trace shows to have dropped the probe."""
    for host, evidence in case.evidence.items():
        for verdict in evidence.verdicts:
            if not is_drop(verdict) or is_copy(verdict) or is_ebtables(verdict):
                continue
            if is_tunnelled(case, verdict):
                yield _tunnel_drop(case, host, evidence, verdict)
            elif is_lost(case, verdict):
                yield from nat.hidden(case, host, verdict)
                yield _drop(case, host, evidence, verdict)


def _drop(case: Case, host: str, evidence: HostEvidence, verdict: TraceStep) -> Cause:
    packet = "answer" if is_answer(case, verdict) else "probe"
    owner = owner_of(evidence, verdict)
    kind = "docker_isolation" if owner == "Docker" and _isolates(verdict) else "firewall_rule"
    where = f"chain {verdict.chain} of table {verdict.table}"
    if verdict.handle == "policy":
        name = f"policy {verdict.verdict} of {where}"
        text = f"{host} drops the {packet} by the {name}: no rule accepts it"
    else:
        number = _number(evidence, verdict)
        name = _rule_text(evidence, verdict)
        position = f"rule {number} of {where}" if number else f"a rule of {where}"
        text = f"{host} drops the {packet} by {position}: {name}"
    return Cause(host, kind, name, text, owner, _fix(case, verdict, owner))


def _tunnel_drop(case: Case, host: str, evidence: HostEvidence, verdict: TraceStep) -> Cause:
    name = _rule_text(evidence, verdict)
    if verdict.handle == "policy":
        name = f"policy {verdict.verdict} of chain {verdict.chain} of table {verdict.table}"
    port = verdict.packet.get("DPORT", "")
    packets = f"UDP port {port}" if port else "IP protocol 47, GRE"
    text = f"{host} drops packets of the tunnel ({packets}): {name}"
    owner = owner_of(evidence, verdict)
    fix = _fix(case, verdict, owner)
    if owner in ("ufw", "firewalld") or verdict.handle == "policy":
        fix = _open_port(owner, port, verdict)
    return Cause(host, "tunnel_port_blocked", name, text, owner, fix)


def _open_port(owner: str, port: str, verdict: TraceStep) -> str:
    """The command that lets packets of a tunnel through; an empty port stands for GRE."""
    opened = f"--add-port={port}/udp" if port else "--add-protocol=gre"
    commands = {
        "ufw": f"ufw allow proto {f'udp to any port {port}' if port else 'gre from any'}",
        "firewalld": f"firewall-cmd --permanent {opened} && firewall-cmd --reload",
    }
    match = f"udp --dport {port}" if port else "gre"
    table = "" if verdict.table == "filter" else f"-t {verdict.table} "
    default = f"iptables {table}-I {verdict.chain} -p {match} -j ACCEPT"
    if is_native(verdict):
        nft_match = ("udp", "dport", port) if port else ("meta", "l4proto", "gre")
        default = quoted(("nft", "insert", "rule", *_nft_chain(verdict), *nft_match, "accept"))
    return commands.get(owner, default)


def _nft_chain(verdict: TraceStep) -> tuple[str, str, str]:
    """The arguments of nft that name the chain."""
    return verdict.family, verdict.table, verdict.chain


def _rule_text(evidence: HostEvidence, verdict: TraceStep) -> str:
    if verdict.rule and not is_native(verdict):
        return f"iptables -t {verdict.table} {verdict.rule}"
    # Rules of native nft tables have no iptables form: nft lists them by their handle.
    number = int(verdict.handle, 16) if verdict.handle.startswith("0x") else 0
    for rule in nft_rules.rules(evidence.nft):
        if (rule.place, rule.handle) == (_nft_chain(verdict), number) and number:
            return rule.name
    return f"nft table {verdict.table}, chain {verdict.chain}, handle {number}"


def _number(evidence: HostEvidence, verdict: TraceStep) -> int:
    """The rule's number in its chain; 0 if its counter did not grow, as in native nft tables."""
    for growth in evidence.growths:
        same = (growth.space, growth.table, growth.rule) == (HOST, verdict.table, verdict.rule)
        if same:
            return growth.number
    return 0


def _isolates(verdict: TraceStep) -> bool:
    return verdict.handle != "policy"


def _fix(case: Case, verdict: TraceStep, owner: str) -> str:
    if entry := _missing_entry(case, verdict, owner):
        return entry
    # The network's own rules accept packets between its containers, and none from other addresses.
    ours = case.network is not None and case.source_side.link is not None
    if owner == "provision" or (owner == "Docker" and ours):
        return case.apply
    if owner == "Docker":
        return _accepted_by_docker(case, verdict)
    if verdict.handle == "policy" and is_native(verdict):
        return nft_rules.fix(_nft_chain(verdict), 0)
    if verdict.handle == "policy":
        return f"iptables -t {verdict.table} -P {verdict.chain} ACCEPT"
    if verdict.rule and not is_native(verdict):
        return removal("iptables", verdict.table, verdict.rule)
    return nft_rules.fix(_nft_chain(verdict), int(verdict.handle, 16))


def _accepted_by_docker(case: Case, verdict: TraceStep) -> str:
    """The rules by which Docker's own let packets pass: before Docker 28, answers need one, too.

    With its backend nftables, Docker accepts packets with a mark alone.
    """
    if is_native(verdict):
        return "publish a port of the container, or set the mark of bridge-accept-fwmark on packets"
    ends = (case.address, case.inner_address)
    rules = [
        f"iptables -I DOCKER-USER -s {source} -d {target} -j ACCEPT"
        for source, target in (ends, ends[::-1])
    ]
    return rules[1] if is_answer(case, verdict) else " && ".join(rules)


def _missing_entry(case: Case, verdict: TraceStep, owner: str) -> str:
    """What to add to `access` of the network that refuses the probe; empty for another cause."""
    networks = case.inventory.networks.values()
    network = next((n for n in networks if case.inner_address in n.cidr), None)
    if network is None or network.access is None or owner not in ("provision", "Docker"):
        return ""
    source = IPv4Address(verdict.packet.get("SRC") or case.address)
    allowed = methods.access_sources(case.inventory, network)
    if is_answer(case, verdict) or source in network.cidr or any(source in r for r in allowed):
        return ""  # its rules are not as they should be
    is_host = any(host.address == source for host in case.inventory.hosts.values())
    entry = "hosts" if is_host else f"{source}/32"
    file = case.inventory.argument
    return f"add {entry} to access of network {network.name} in {file}, then {case.apply}"


def counted(
    case: Case, last: Point, following: Point | None, missed: Iterable[Point] = ()
) -> Iterator[Cause]:
    """Yield the dropping rules of a container's namespace, or of iptables-legacy, that grew.

    `missed`: the points between which ARP was lost. Only in a tunnel is it a packet for iptables.
    """
    around = [last, *([following] if following else [])]
    if case.network is not None and methods.of(case.network).tunnel(case.network):
        around += [point for point in missed if point.space == HOST]
    for host, label in dict.fromkeys((point.host, point.space) for point in around):
        for growth in case.of(host).growths:
            if growth.space == label and _grew_by_drop(growth):
                if label == HOST and growth.backend in ("nft", source_checks.BACKEND):
                    continue  # the trace has shown what netfilter did, `source_checks` the rest
                yield _counted(host, label, growth)


def _grew_by_drop(growth: Growth) -> bool:
    dropping = re.search(r"-j (DROP|REJECT)\b|^-P \S+ DROP$", growth.rule)
    return bool(dropping)


def _counted(host: str, label: str, growth: Growth) -> Cause:
    container = label.removeprefix("+")
    inside = label != HOST
    enter = (
        f"nsenter -t $(docker inspect -f '{{{{.State.Pid}}}}' {container}) -n " if inside else ""
    )
    program = f"iptables-{growth.backend}" if growth.backend == "legacy" else "iptables"
    name = f"{program} -t {growth.table} {growth.rule}"
    policy = growth.rule.startswith("-P ")
    undo = (
        f"{program} -t {growth.table} {growth.rule.replace(' DROP', ' ACCEPT')}"
        if policy
        else removal(program, growth.table, growth.rule)
    )
    text = f"the container {container}" if inside else host
    return Cause(
        host,
        "container_firewall" if inside else "firewall_rule",
        name,
        f"{text} drops the packet: {name} counted {growth.packets} packets meanwhile",
        "a person",
        f"{enter}{undo}",
        certain=inside,
    )
