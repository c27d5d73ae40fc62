"""Causes in netfilter: a rule or a policy that drops the probe, or translates it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address

from provision.checks.explain.case import Case
from provision.checks.explain.evidence import Growth, HostEvidence, TraceStep
from provision.checks.explain.model import HOST, Cause, Point
from provision.checks.explain.scripts import SMALL

_DROPS = ("DROP", "REJECT", "STOLEN")
_OWNERS = (
    ("provision:", "provision"), ("PROV-", "provision"), ("KUBE-", "Kubernetes"),
    ("cali-", "Calico"), ("ufw-", "ufw"), ("FLANNEL-", "flannel"), ("CNI-", "CNI"),
    ("f2b-", "fail2ban"), ("LIBVIRT", "libvirt"),
)  # fmt: skip


def drops(case: Case) -> Iterator[Cause]:
    """Yield the rules and policies that netfilter's trace shows to have dropped the probe."""
    for host, evidence in case.evidence.items():
        for verdict in evidence.verdicts:
            if not _is_drop(verdict):
                continue
            if _is_tunnelled(verdict):
                yield _tunnel_drop(case, host, evidence, verdict)
            elif _is_lost(case, verdict):
                yield _drop(case, host, evidence, verdict)


def _is_drop(verdict: TraceStep) -> bool:
    return verdict.verdict in _DROPS or "-j REJECT" in verdict.rule


def _is_tunnelled(verdict: TraceStep) -> bool:
    """True for a packet of a tunnel: the rules that trace them match peers of the host."""
    return "DPORT" in verdict.packet and verdict.packet.get("DPORT") in ("4789", "8472", "8285")


def _is_lost(case: Case, verdict: TraceStep) -> bool:
    if case.probe.protocol != "icmp":
        return True
    size = int(verdict.packet.get("LEN", 0))
    return size == case.large if case.only_large else size in (SMALL, case.large)


def _drop(case: Case, host: str, evidence: HostEvidence, verdict: TraceStep) -> Cause:
    packet = "answer" if _is_answer(case, verdict) else "probe"
    owner = _owner(evidence, verdict)
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
    text = f"{host} drops packets of the tunnel (UDP port {port}): {name}"
    owner = _owner(evidence, verdict)
    fix = _fix(case, verdict, owner)
    if owner in ("ufw", "firewalld") or verdict.handle == "policy":
        fix = _open_port(owner, port)
    return Cause(host, "tunnel_port_blocked", name, text, owner, fix)


def _open_port(owner: str, port: str) -> str:
    commands = {
        "ufw": f"ufw allow proto udp to any port {port}",
        "firewalld": f"firewall-cmd --permanent --add-port={port}/udp && firewall-cmd --reload",
    }
    return commands.get(owner, f"iptables -I INPUT -p udp --dport {port} -j ACCEPT")


def _is_answer(case: Case, verdict: TraceStep) -> bool:
    targets = {str(case.inner_address), str(case.target_address)}
    return verdict.packet.get("SRC") in targets - {str(case.address)}


def _rule_text(evidence: HostEvidence, verdict: TraceStep) -> str:
    if verdict.rule:
        return f"iptables -t {verdict.table} {verdict.rule}"
    # Rules of native nft tables have no iptables form: nft lists them by their handle.
    number = int(verdict.handle, 16) if verdict.handle.startswith("0x") else 0
    handle = f"# handle {number}"
    for line in evidence.nft:
        if line.rstrip().endswith(handle):
            text = line.strip().removesuffix(handle).strip()
            return f"nft table {verdict.table} chain {verdict.chain}: {text}"
    return f"nft table {verdict.table}, chain {verdict.chain}, handle {number}"


def _number(evidence: HostEvidence, verdict: TraceStep) -> int:
    """The rule's number in its chain; 0 if its counter did not grow, as in native nft tables."""
    for growth in evidence.growths:
        same = (growth.space, growth.table, growth.rule) == (HOST, verdict.table, verdict.rule)
        if same:
            return growth.number
    return 0


def _owner(evidence: HostEvidence, verdict: TraceStep) -> str:
    text = f"{verdict.chain} {verdict.rule}"
    for mark, owner in _OWNERS:
        if mark in text:
            return owner
    if verdict.table == "firewalld":
        return "firewalld"
    if verdict.handle == "policy":
        # ufw and Docker both set the policy DROP of FORWARD; of INPUT only ufw does.
        if any("ufw" in growth.rule for growth in evidence.growths):
            return "ufw"
        return "Docker" if verdict.chain == "FORWARD" else "a person"
    docker = verdict.chain.startswith("DOCKER") and verdict.chain != "DOCKER-USER"
    raw = verdict.table == "raw" and re.search(r"-d \S+/32 ! -i \S+ -j DROP", verdict.rule)
    return "Docker" if docker or raw else "a person"


def _isolates(verdict: TraceStep) -> bool:
    return verdict.handle != "policy"


def _fix(case: Case, verdict: TraceStep, owner: str) -> str:
    if owner == "provision" or (owner == "Docker" and case.network is not None):
        return case.apply
    if verdict.handle == "policy":
        return f"iptables -t {verdict.table} -P {verdict.chain} ACCEPT"
    if owner == "Docker":
        return f"iptables -I DOCKER-USER -s {case.address} -d {case.inner_address} -j ACCEPT"
    if verdict.rule:
        return f"iptables -t {verdict.table} {verdict.rule.replace('-A ', '-D ', 1)}"
    family = "inet" if verdict.packet.get("NFPROTO") else "ip"
    return (
        f"nft delete rule {family} {verdict.table} {verdict.chain} handle {int(verdict.handle, 16)}"
    )


def counted(case: Case, point: Point, after: Point | None) -> Iterator[Cause]:
    """Yield the dropping rules of a container's namespace, or of iptables-legacy, that grew."""
    labels = {(point.host, point.space)}
    if after is not None:
        labels.add((after.host, after.space))
    for host, label in labels:
        for growth in case.of(host).growths:
            if growth.space == label and _grew_by_drop(growth):
                if label == HOST and growth.backend == "nft":
                    continue  # the trace has shown what netfilter did
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
    undo = growth.rule.replace(" DROP", " ACCEPT") if policy else growth.rule.replace("-A", "-D", 1)
    text = f"the container {container}" if inside else host
    return Cause(
        host,
        "container_firewall" if inside else "firewall_rule",
        name,
        f"{text} drops the packet: {name} counted {growth.packets} packets meanwhile",
        "a person",
        f"{enter}{program} -t {growth.table} {undo}",
        certain=inside,
    )


def translations(case: Case) -> Iterator[Cause]:
    """Yield the rules that gave the probe another target than the one that was sent."""
    targets = {case.target_address, case.inner_address}
    for host, evidence in case.evidence.items():
        sent = [packet.inner[1] for packet in evidence.packets if packet.kind == "request"]
        # A rule behind the translation may drop the packet before a sniffer sees it.
        for target in (*sent, *_traced_targets(case, evidence)):
            if target not in targets:
                rule = _nat_rule(evidence, "DNAT", "REDIRECT")
                text = f"{host} sends the probe to {target} instead of {case.inner_address}"
                yield _nat_cause(case, host, rule, text)


def _traced_targets(case: Case, evidence: HostEvidence) -> Iterator[IPv4Address]:
    """Yield the destinations of the probe in netfilter's trace."""
    if _nat_rule(evidence, "DNAT", "REDIRECT") is None:
        return
    for verdict in evidence.verdicts:
        ours = verdict.packet.get("SRC") == str(case.address) and _is_lost(case, verdict)
        if ours and not _is_tunnelled(verdict) and "DST" in verdict.packet:
            yield IPv4Address(verdict.packet["DST"])


def masquerades(case: Case) -> Iterator[Cause]:
    """Yield the rules that hide the source of a probe which should arrive with its address."""
    if case.network is None or case.target_side is None:
        return
    last = [point for point in case.points if not point.reply][-1]
    for packet in case.of(last.host).at(last):
        if packet.inner[0] != case.address and case.source_side.link is not None:
            for host, evidence in case.evidence.items():
                if rule := _nat_rule(evidence, "MASQUERADE", "SNAT"):
                    text = f"{host} hides the source: {last.host} sees {packet.inner[0]}"
                    yield _nat_cause(case, host, rule, text)
                    return


def _nat_rule(evidence: HostEvidence, *targets: str) -> TraceStep | None:
    for verdict in evidence.verdicts:
        if verdict.table == "nat" and any(f"-j {target}" in verdict.rule for target in targets):
            return verdict
    return None


def _nat_cause(case: Case, host: str, rule: TraceStep | None, text: str) -> Cause:
    if rule is None:
        return Cause(host, "nat_rule", "a rule of the table nat", text, "a person",
                     "iptables -t nat -S", certain=False)  # fmt: skip
    owner = _owner(case.of(host), rule)
    name = f"iptables -t nat {rule.rule}"
    undo = f"iptables -t nat {rule.rule.replace('-A ', '-D ', 1)}"
    return Cause(host, "nat_rule", name, f"{text}: {name}", owner,
                 undo if owner == "a person" else case.apply)  # fmt: skip
