"""Findings about forwarding, packet filters and the services that set them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network

from provision.checks.doctor.findings import HostFinding, Weight
from provision.checks.doctor.probe import DoctorFacts, DropRule, SysctlLine
from provision.checks.rule_removal import removal
from provision.model.inventory import Inventory
from provision.resources.kinds.iptables_chain import arguments
from provision.resources.lib.rule_cover import STATES, Match, matches, takes_new

_FLUSHED = "Docker's and provision's rules are gone then, and containers are cut off"
_MARKS = ("provision:", "--comment provision")
# Docker's own rules of its raw table, which keep other hosts out of its bridges: since 28.0 one for
# each container, whatever its bridge is called, and older ones for ports published on lo.
_OF_DOCKER = re.compile(r"! -i lo\b|^-A PREROUTING -d \S+/32 ! -i \S+ -j DROP$")
_FORWARDED = {
    ("raw", "PREROUTING"),
    ("mangle", "PREROUTING"),
    ("mangle", "FORWARD"),
    ("mangle", "POSTROUTING"),
    ("filter", "FORWARD"),
    ("filter", "DOCKER-USER"),
}
"""Tables and chains that a forwarded packet passes, whoever has made their rules."""


def findings(
    inventory: Inventory, host: str, facts: DoctorFacts, *, applied: bool
) -> Iterator[HostFinding]:
    """Yield what cuts forwarded packets, now or at the next reload of a service."""
    yield from _forwarding(host, facts, applied=applied)
    yield from _backends(host, facts)
    yield from _services(host, facts)
    for rule in facts.drops:
        if (weight := _weight(inventory, facts, rule)) is not None:
            yield _drop(host, rule, weight)


def _forwarding(host: str, facts: DoctorFacts, *, applied: bool) -> Iterator[HostFinding]:
    lines = [
        line
        for line in effective(facts.sysctls, facts.sysctl_files, ufw=facts.ufw)
        if _is_forwarding(line)
    ]
    off = [line for line in lines if line.value == "0"]
    if applied and not facts.forwarding:
        origin = f" (set by {off[0].position})" if off else ""
        yield HostFinding(
            host,
            "forwarding_off",
            Weight.ERROR,
            f"net.ipv4.ip_forward is 0{origin}",
            "the kernel forwards no packet between containers and other hosts",
            "sysctl -w net.ipv4.ip_forward=1",
        )
    for line in off:
        yield HostFinding(
            host,
            "forwarding_file",
            Weight.ERROR,
            f"{line.position} sets {line.key} to 0",
            "the next `sysctl --system` turns forwarding off, and cuts off the containers",
            f"sed -i '{line.line}s/^/# /' {line.file}",
        )


def _is_forwarding(line: SysctlLine) -> bool:
    return line.key == "net.ipv4.ip_forward" or line.key.endswith(".forwarding")


def effective(
    lines: tuple[SysctlLine, ...], files: tuple[str, ...] = (), *, ufw: bool
) -> list[SysctlLine]:
    """The line of each setting that counts: sysctl.d(5), the last file by its name.

    `files` are those of all folders but the last, also without such lines.
    """
    names: dict[str, str] = {}
    for file in (*files, *(line.file for line in lines)):
        # A file of an earlier folder replaces one of the same name.
        names.setdefault(file.rpartition("/")[2], file)
    read = [line for line in lines if names[line.file.rpartition("/")[2]] == line.file]
    read = [line for line in read if ufw or line.file != "/etc/ufw/sysctl.conf"]
    last = {_ALIASES.get(line.key, line.key): line for line in sorted(read, key=_order)}
    return list(last.values())


_ALIASES = {"net.ipv4.conf.all.forwarding": "net.ipv4.ip_forward"}
"""Two names of one setting of the kernel."""


def _order(line: SysctlLine) -> tuple[bool, bool, str, int]:
    """ufw writes its settings when it starts, after those of `sysctl --system`."""
    whole = line.file in ("/etc/sysctl.conf", "/etc/ufw/sysctl.conf")
    return whole, line.file.startswith("/etc/ufw"), line.file.rpartition("/")[2], line.line


def _backends(host: str, facts: DoctorFacts) -> Iterator[HostFinding]:
    if not all(facts.rules.get(backend) for backend in ("nft", "legacy")):
        return
    hidden = "nft" if "legacy" in facts.iptables else "legacy"
    drops = facts.policies.get((hidden, "filter", "FORWARD")) == "DROP" or any(
        rule.backend == hidden and (rule.table, rule.chain) in _FORWARDED for rule in facts.drops
    )
    yield HostFinding(
        host,
        "iptables_two_backends",
        Weight.ERROR if drops else Weight.WARNING,
        f"iptables has rules in both backends: {facts.rules['nft']} in nf_tables, "
        f"{facts.rules['legacy']} in legacy",
        "a packet passes both, and `iptables` shows only those of its own backend"
        + (f"; those of {hidden} drop forwarded packets" if drops else ""),
        f"iptables-{hidden}-save, then remove what should not be there",
    )


def _services(host: str, facts: DoctorFacts) -> Iterator[HostFinding]:
    if facts.units.get("firewalld") and facts.units["firewalld"].active:
        yield HostFinding(
            host,
            "firewalld",
            Weight.WARNING,
            "firewalld runs",
            "its zones reject what they do not name, also between hosts, and its reload "
            "removes rules of others",
            "firewall-cmd --get-active-zones",
        )
    if facts.ufw:
        policy = f"; it forwards by {facts.ufw_forward}" if facts.ufw_forward else ""
        yield HostFinding(
            host,
            "ufw",
            Weight.WARNING,
            f"ufw is enabled{policy}",
            "ufw drops tunnels between hosts unless their ports are allowed",
            "ufw status verbose",
        )
    nftables = facts.units.get("nftables")
    if nftables and (nftables.active or nftables.enabled) and facts.flushes:
        position = ":".join(facts.flushes[0].split(":")[:2])
        yield HostFinding(
            host,
            "nftables_flush",
            Weight.ERROR if nftables.active else Weight.WARNING,
            f"nftables.service runs `flush ruleset` ({position}) when it is reloaded",
            _FLUSHED,
            f"delete that line, or make it `destroy table inet filter`: {position}",
        )


def _weight(inventory: Inventory, facts: DoctorFacts, rule: DropRule) -> Weight | None:
    """The weight of a rule; None if it is Docker's or ours, or does not meet our packets."""
    tokens = arguments(rule.text)
    position = (rule.table, rule.chain)
    jump = facts.jumps.get((rule.backend, *position))
    if position not in _FORWARDED or any(mark in rule.text for mark in _MARKS):
        return None
    if rule.table == "raw" and _OF_DOCKER.search(rule.text):
        return None
    # Our packets leave a chain where it jumps to DOCKER-USER, and that one at the jump to ours.
    if jump is not None and rule.number > jump:
        return None
    options = list(matches(tokens[2:]))
    ranges = [option for option in options if option.name in ("-s", "-d")]
    states = [option for option in options if option.name in STATES]
    if not all(_meets(inventory, option) for option in ranges) or any(map(_is_invalid, states)):
        return None
    return Weight.ERROR if _takes_all(options) else Weight.WARNING


def _meets(inventory: Inventory, option: Match) -> bool:
    """True if a rule for a range, or for all but a range, may be for addresses of a network."""
    try:
        network = IPv4Network(option.value, strict=False)
    except ValueError:
        return False
    ranges = [each.cidr for each in inventory.networks.values()]
    if option.inverted:
        return any(not cidr.subnet_of(network) for cidr in ranges)
    return any(network.overlaps(cidr) for cidr in ranges)


def _is_invalid(option: Match) -> bool:
    return not option.inverted and option.value == "INVALID"


def _takes_all(options: list[Match]) -> bool:
    """True if nothing but addresses and one interface tells which packets a rule takes."""
    names = [option.name for option in options]
    states = [option for option in options if option.name in STATES]
    known = {"-s", "-d", "-i", "-o", *STATES}
    # Packets of containers have a bridge on one side: both NICs are of others.
    both = {"-i", "-o"} <= set(names)
    return known.issuperset(names) and not both and all(map(takes_new, states))


def _drop(host: str, rule: DropRule, weight: Weight) -> HostFinding:
    iptables = f"iptables-{rule.backend}"
    return HostFinding(
        host,
        "firewall_rule",
        weight,
        f"rule {rule.number} of {rule.chain} in iptables' table {rule.table} drops forwarded "
        f"packets: {rule.text} ({rule.packets:,} until now)",
        "containers do not reach other hosts through it",
        removal(iptables, rule.table, rule.text),
    )
