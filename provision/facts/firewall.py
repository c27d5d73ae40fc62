"""The firewalls of a host, and which of them drops the packets of a network. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import product

from provision.facts import firewalld, forwarding, nft_table
from provision.facts.firewalld import Firewalld
from provision.facts.lines import KeyedLines
from provision.facts.nft_table import NftTable
from provision.facts.packet_filter import TRANSLATES, Forwarded, Packet, PacketFilter
from provision.model.needs import Inbound, Need, Transit
from provision.resources.kinds.iptables_chain import HOOKS

UFW, FIREWALLD = "ufw", "firewalld"
_NFTABLES = "nftables.service"
_FILES = {
    _NFTABLES: "/etc/nftables.conf",
    "netfilter-persistent.service": "/etc/iptables/rules.v4",
    "iptables.service": "/etc/sysconfig/iptables",
}
"""Services that load rules when they start, with the file that has them."""
_UFW_CHAIN = ":ufw-user-input "
_HOOK = HOOKS["filter"]
_DOCKER_USER = f"-j {_HOOK}"


@dataclass(frozen=True, slots=True)
class Blocker:
    """A firewall that drops packets: its name, and the command that lets them through.

    `tool` is the firewall that `firewall: manage` can open; empty for others. `verb` is what it
    does to the packets. `saved` is the end of a sentence with the command: where else the rule has
    to be written, so that it is there after the next reboot. `packets` are those that it drops, if
    they are not the ones in question: those of the other direction.
    """

    name: str
    command: str
    tool: str = ""
    verb: str = "drops"
    saved: str = ""
    packets: Need | None = None


@dataclass(frozen=True, slots=True)
class Firewall:
    """The firewalls of a host.

    `table` and `nat` are the tables `filter` and `nat` as iptables-save prints them. `units` are
    active services that load rules. `other_backend` is the backend of iptables that has rules
    besides the one in use.
    """

    table: str = field(default="", repr=False)
    nat: str = field(default="", repr=False)
    is_read: bool = False
    """True if the host has the command iptables, so that an empty `table` has no rule."""
    units: tuple[str, ...] = ()
    firewalld: Firewalld | None = None
    nft_tables: tuple[NftTable, ...] = ()
    other_backend: str = ""
    docker_iptables: bool = True
    """False if Docker makes no rules: it runs with `iptables: false`."""
    docker_nftables: bool = field(default=False, repr=False)
    """True if Docker makes its rules by nftables. No chain of ours is in iptables' FORWARD then."""
    docker_tables: str = field(default="", repr=False)
    """With Docker's backend nftables, `intact` or `flushed`: the state of its own tables."""
    docker_mark: str = ""
    """The mark of packets that Docker's backend nftables lets pass (`bridge-accept-fwmark`)."""
    claims: frozenset[str] = frozenset()
    """Rules of ufw and firewalld that this inventory has made: tool, zone (or `-`) and rule."""
    stops_forwarding: tuple[tuple[str, str], ...] = ()
    """Files of sysctl and systemd-networkd that switch forwarding off, with the setting."""
    forwards_at_boot: bool = field(default=False, repr=False)
    """True if a file switches forwarding on at boot: Docker then leaves the policy of FORWARD."""
    forward_was_drop: bool = False
    """True if the follower has seen the policy DROP of the chain FORWARD since it started."""

    @property
    def has_ufw(self) -> bool:
        """True if ufw is on."""
        return _UFW_CHAIN in self.table

    @property
    def has_docker_user(self) -> bool:
        """True if forwarded packets pass the chain DOCKER-USER."""
        forward = (line for line in self.table.splitlines() if line.startswith("-A FORWARD "))
        return any(line.endswith(_DOCKER_USER) for line in forward)

    @property
    def was_flushed(self) -> bool:
        """True if Docker had made its rules, and they are gone; unknown without a table.

        iptables-save prints no table in which nobody has ever made a rule.
        """
        if self.docker_nftables:
            return self.docker_tables == "flushed"
        return self.is_read and self.docker_iptables and not self.has_docker_user

    @property
    def has_lost_nat(self) -> bool:
        """True if only Docker's rules of the table nat are gone, which each of its bridges has."""
        if self.docker_nftables or not self.docker_iptables or not self.has_docker_user:
            return False
        rules = (line for line in self.nat.splitlines() if line.startswith("-A PREROUTING "))
        return not any(line.endswith(" -j DOCKER") for line in rules)

    @property
    def forward_policy(self) -> str:
        """The policy of the chain FORWARD; empty if the table is not there."""
        prefix = ":FORWARD "
        lines = (line for line in self.table.splitlines() if line.startswith(prefix))
        return next((line.split()[1] for line in lines), "")

    def blocker(self, need: Need) -> Blocker | None:
        """The firewall that drops such packets, or hides their senders; None if all let them be."""
        blocker = self._iptables(need) or self._firewalld(need) or self._nft(need)
        return blocker or (self._translated(need) if isinstance(need, Transit) else None)

    def _iptables(self, need: Need) -> Blocker | None:
        if not self.table:
            return None
        if isinstance(need, Transit):
            return self._forward(need)
        packet = Packet(need.protocol, need.ports, need.source, need.nic)
        if PacketFilter.parse(self.table).verdict("INPUT", packet) == "ACCEPT":
            return None
        if self.has_ufw:
            return Blocker(UFW, shlex.join(("ufw", *ufw_rule(need))), UFW)
        match = f"-s {need.source} -p {need.protocol}"
        ports = ",".join(map(str, need.ports))
        if ports:
            match += f" -m multiport --dports {ports}"
        return self._iptables_blocker("INPUT", f"iptables -I INPUT {match} -j ACCEPT")

    def _iptables_blocker(self, chain: str, command: str, verb: str = "drops") -> Blocker:
        saved = _saved(unit for unit in self.units if unit != _NFTABLES)
        return Blocker(f"iptables (chain {chain})", command, verb=verb, saved=saved)

    def _forward(self, need: Transit) -> Blocker | None:
        """The rules of iptables that drop forwarded packets.

        With Docker's backend nftables all of them, whatever a table of nftables says. With the
        other one those before DOCKER-USER, in which our own chain accepts the packets.
        """
        packet_filter = PacketFilter.parse(self.table)
        for way in (need, need.back):
            packet = Forwarded("all", (), way.source, way.nic, way.target, way.bridge)
            verdict = (
                packet_filter.verdict("FORWARD", packet)
                if self.docker_nftables
                else packet_filter.verdict_before("FORWARD", _HOOK, packet)
            )
            if verdict in ("DROP", "REJECT"):
                match = f"-s {packet.source} -d {packet.target} -i {packet.nic} -o {packet.out}"
                command = f"iptables -I FORWARD {match} -j ACCEPT"
                return replace(self._iptables_blocker("FORWARD", command), packets=way)
        return None

    def _translated(self, need: Transit) -> Blocker | None:
        """The rules that give packets to the host's containers the address of the host.

        Our own chain exempts those that leave the host's containers.
        """
        packet = Forwarded("all", (), need.source, need.nic, need.target, need.bridge)
        if PacketFilter.parse(self.nat).verdict("POSTROUTING", packet) not in TRANSLATES:
            return None
        match = f"-s {need.source} -d {need.target}"
        command = f"iptables -t nat -I POSTROUTING {match} -j ACCEPT"
        return self._iptables_blocker("POSTROUTING", command, "hides the senders of")

    def _firewalld(self, need: Need) -> Blocker | None:
        daemon = self.firewalld
        if daemon is None:
            return None
        if isinstance(need, Transit) and need.exists and not daemon.has_bridge(need.bridge):
            # It knows the bridges again once Docker has told it of them.
            return Blocker(FIREWALLD, "systemctl restart docker")
        if daemon.passes(need):
            return None
        if isinstance(need, Transit) and firewalld.DOCKER not in daemon.zones:
            return Blocker(FIREWALLD, "systemctl restart docker")  # which makes the zone
        commands = [shlex.join(("firewall-cmd", *rule)) for rule in firewalld_rules(self, need)]
        both = [f"{command} && {command} --permanent" for command in commands]
        return Blocker(FIREWALLD, " && ".join(both), FIREWALLD)

    def _nft(self, need: Need) -> Blocker | None:
        ways: tuple[Need, ...] = (need, need.back) if isinstance(need, Transit) else (need,)
        for way, table in product(ways, self.nft_tables):
            if chain := table.blocking_chain(way):
                command = f"nft insert rule {chain} {_nft_match(way)} accept"
                saved = _saved(unit for unit in self.units if unit == _NFTABLES)
                return Blocker(f"nftables (chain {chain})", command, saved=saved, packets=way)
        return None


def _saved(units: Iterable[str]) -> str:
    """The file of the first service that loads rules; empty if there is none."""
    loading = (unit for unit in units if unit in _FILES)
    return next(
        (f", and add that rule to {_FILES[unit]}, which {unit} loads" for unit in loading), ""
    )


def ufw_rule(inbound: Inbound) -> tuple[str, ...]:
    """The arguments of ufw that let such packets in."""
    rule = ("allow", "proto", inbound.protocol, "from", str(inbound.source))
    ports = ",".join(map(str, inbound.ports))
    return (*rule, "to", "any", "port", ports) if ports else rule


def firewalld_rules(firewall: Firewall, need: Need) -> tuple[tuple[str, ...], ...]:
    """The arguments of firewall-cmd, of each rule that lets such packets through."""
    if isinstance(need, Transit):
        return (("--zone", firewalld.DOCKER, "--add-source", str(need.source)),)
    assert firewall.firewalld is not None
    zone = firewall.firewalld.zone_of(need.nic, need.source)
    ports = need.ports or (None,)
    rules = (firewalld.rich_rule(need, port) for port in ports)
    return tuple(("--zone", zone, "--add-rich-rule", rule) for rule in rules)


def _nft_match(need: Need) -> str:
    if isinstance(need, Transit):
        return f"iifname {need.nic} oifname {need.bridge} ip saddr {need.source}"
    if not need.ports:
        return f"ip saddr {need.source} ip protocol {need.protocol}"
    ports = ", ".join(map(str, need.ports))
    ports = f"{{ {ports} }}" if len(need.ports) > 1 else ports
    return f"ip saddr {need.source} {need.protocol} dport {ports}"


def parse(lines: KeyedLines) -> Firewall:
    """Read the lines of look/firewall.sh."""
    tables = (nft_table.parse(text) for text in lines.every("nft_table"))
    settings = lines.pairs("sets_forwarding")
    return Firewall(
        units=lines.every("firewall_unit"),
        firewalld=firewalld.parse(lines),
        nft_tables=tuple(table for table in tables if table is not None),
        other_backend=lines.only("iptables_other", ""),
        claims=frozenset(lines.every("firewall_claim")),
        docker_iptables="docker_iptables" not in lines,
        docker_tables=lines.only("docker_tables", ""),
        docker_mark=lines.only("docker_mark", ""),
        stops_forwarding=forwarding.stopping(settings),
        forwards_at_boot=forwarding.is_on_at_boot(settings),
        forward_was_drop="forward_was" in lines,
    )


def table(saved: str, name: str) -> str:
    """A table in the output of iptables-save."""
    _, _, rest = f"\n{saved}".partition(f"\n*{name}\n")
    return rest.partition("\nCOMMIT")[0]
