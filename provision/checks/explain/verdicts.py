"""The verdicts of netfilter's trace: which are of the probe, and whose rule it is. Pure."""

from __future__ import annotations

import re

from provision import methods
from provision.checks.explain.case import Case
from provision.checks.explain.evidence import HostEvidence, TraceStep
from provision.checks.explain.scripts import SMALL
from provision.resources.kinds.docker_firewall import TABLE as DOCKER_TABLE
from provision.resources.kinds.ovs_uplink import UNDERLAY

_OF_OTHERS = frozenset(("SPORT", "DPORT", "ITYPE", "TYPE", "CODE"))
"""Fields of packets of ICMP, TCP and UDP."""
_DROPS = ("DROP", "REJECT", "STOLEN")
_OWNERS = (
    ("provision:", "provision"), ("PROV-", "provision"), ("KUBE-", "Kubernetes"),
    ("cali-", "Calico"), ("ufw-", "ufw"), ("FLANNEL-", "flannel"), ("CNI-", "CNI"),
    ("f2b-", "fail2ban"), ("LIBVIRT", "libvirt"),
)  # fmt: skip


_BUILT_IN = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}


def is_native(verdict: TraceStep) -> bool:
    """True for a chain that iptables cannot change: one of nft, whatever its table's name."""
    chains = _BUILT_IN.get(verdict.table) if verdict.family == "ip" else None
    if chains is None:
        return True
    # A user's chain has no policy; `input` in `table ip filter` is a base chain made by nft.
    user = bool(verdict.rule) and verdict.chain.upper() not in _BUILT_IN["mangle"]
    return verdict.chain not in chains and not user


def is_ebtables(verdict: TraceStep) -> bool:
    """True for a chain of ebtables, whose rules are judged by their counters (`source_checks`)."""
    return verdict.family == "bridge" and verdict.chain in _BUILT_IN["mangle"]


def is_drop(verdict: TraceStep) -> bool:
    """True if the rule or policy drops the packet."""
    return verdict.verdict in _DROPS or "-j REJECT" in verdict.rule


def is_tunnelled(case: Case, verdict: TraceStep) -> bool:
    """True for a packet of the network's tunnel: what traces these are rules for the peers."""
    declared = methods.of(case.network).tunnel(case.network) if case.network else None
    if declared is None:
        return False
    if declared.protocol == "gre":
        # xtables-monitor prints addresses of GRE, and neither its protocol nor a port.
        hosts = {str(host.address) for host in case.inventory.hosts.values()}
        ends = {verdict.packet.get("SRC", ""), verdict.packet.get("DST", "")}
        return ends <= hosts and not _OF_OTHERS & verdict.packet.keys()
    return verdict.packet.get("DPORT", "") in tuple(map(str, declared.every_port))


def is_copy(verdict: TraceStep) -> bool:
    """True for the kernel's copy of a packet that Open vSwitch takes itself, at a NIC of it."""
    return UNDERLAY in verdict.rule


def is_lost(case: Case, verdict: TraceStep) -> bool:
    """True for a packet of those that were lost."""
    if case.probe.protocol != "icmp":
        return True
    size = int(verdict.packet.get("LEN", 0))
    return size == case.large if case.only_large else size in (SMALL, case.large)


def is_answer(case: Case, verdict: TraceStep) -> bool:
    """True for an answer of the target."""
    targets = {str(case.inner_address), str(case.target_address)}
    return verdict.packet.get("SRC") in targets - {str(case.address)}


def owner_of(evidence: HostEvidence, verdict: TraceStep) -> str:
    """The owner of a rule or policy, by its marks."""
    text = f"{verdict.table} {verdict.chain} {verdict.rule}"
    for mark, owner in _OWNERS:
        if mark in text:
            return owner
    if verdict.table in ("firewalld", DOCKER_TABLE):
        return "firewalld" if verdict.table == "firewalld" else "Docker"
    if verdict.handle == "policy" and not is_native(verdict):
        # ufw and Docker both set the policy DROP of FORWARD; of INPUT only ufw does.
        if any("ufw" in growth.rule for growth in evidence.growths):
            return "ufw"
        return "Docker" if verdict.chain == "FORWARD" else "a person"
    docker = verdict.chain.startswith("DOCKER") and verdict.chain != "DOCKER-USER"
    raw = verdict.table == "raw" and re.search(r"-d \S+/32 ! -i \S+ -j DROP", verdict.rule)
    return "Docker" if docker or raw else "a person"
