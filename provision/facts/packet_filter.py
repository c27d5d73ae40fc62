"""The verdict of iptables on a packet, as far as its rules tell it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network

from provision.resources.kinds.iptables_chain import arguments
from provision.resources.lib.rule_cover import matches
from provision.resources.lib.rule_cover import target as _target

TRANSLATES = ("MASQUERADE", "SNAT")
_ENDS = ("ACCEPT", "DROP", "REJECT", *TRANSLATES)
UNKNOWN = "unknown"
"""The verdict on a packet that a rule with a match unknown to this module may let pass."""
_DEEPEST = 32
"""Chains that call each other; the kernel itself refuses loops."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet of a new connection; `ports` are those that it may be for, empty for none."""

    protocol: str
    ports: tuple[int, ...]
    source: IPv4Network
    nic: str


@dataclass(frozen=True, slots=True)
class Forwarded(Packet):
    """A packet for `target` that leaves by the interface `out`."""

    target: IPv4Network
    out: str


@dataclass(frozen=True, slots=True)
class PacketFilter:
    """A table as iptables-save prints it: policies of chains, and rules by chain."""

    policies: dict[str, str]
    rules: dict[str, list[list[str]]]

    @classmethod
    def parse(cls, text: str) -> PacketFilter:
        """Read the lines of one table."""
        policies: dict[str, str] = {}
        rules: dict[str, list[list[str]]] = {}
        for line in text.splitlines():
            if line.startswith(":"):
                name, policy, *_ = line[1:].split()
                policies[name] = policy
            elif line.startswith("-A") and (rule := arguments(line)):
                rules.setdefault(rule[1], []).append(rule[2:])
        return cls(policies, rules)

    def verdict(self, chain: str, packet: Packet) -> str:
        """ACCEPT, DROP or REJECT for a packet that enters a built-in chain.

        In the table nat also one of `TRANSLATES`; for a forwarded packet also `UNKNOWN`.
        """
        return self._walk(chain, packet, 0) or self.policies.get(chain, "ACCEPT")

    def verdict_before(self, chain: str, jump: str, packet: Packet) -> str:
        """The verdict of the rules before the first jump to `jump`; empty if there is none."""
        rules = self.rules.get(chain, [])
        places = (number for number, rule in enumerate(rules) if _target(rule) == jump)
        return self._pass(rules[: next(places, 0)], packet, 0)

    def _walk(self, chain: str, packet: Packet, depth: int) -> str:
        """The verdict of a chain; empty if it returns."""
        return self._pass(self.rules.get(chain, ()), packet, depth)

    def _pass(self, rules: Iterable[list[str]], packet: Packet, depth: int) -> str:
        for rule in rules:
            target = _target(rule)
            matched = _matches(rule, packet) if target else False
            if (
                matched is None
                and isinstance(packet, Forwarded)
                and self._may_pass(target, packet, depth)
            ):
                return UNKNOWN
            if not matched:
                continue
            if target in _ENDS:
                return target
            if target == "RETURN":
                return ""
            if depth < _DEEPEST and (verdict := self._walk(target, packet, depth + 1)):
                return verdict
            if "-g" in rule:
                return ""
        return ""

    def _may_pass(self, target: str, packet: Packet, depth: int) -> bool:
        """True if a rule with this target would spare the packet the rules below it."""
        if target in ("ACCEPT", "RETURN"):
            return True
        known = target in _ENDS or target not in self.rules or depth >= _DEEPEST
        return not known and self._walk(target, packet, depth + 1) in ("ACCEPT", UNKNOWN)


def _matches(rule: list[str], packet: Packet) -> bool | None:
    """True if a rule takes the packet; None if that depends on a match unknown to this module."""
    results = {_option(*option, packet) for option in matches(rule)}
    return False if False in results else None if None in results else True


def _ports(value: str, packet: Packet) -> bool:
    ranges = [part.partition(":") for part in value.split(",")]
    return bool(packet.ports) and all(
        any(
            int(low or 0) <= port <= int(high or (65535 if sep else low))
            for low, sep, high in ranges
        )
        for port in packet.ports
    )


def _forwarded(packet: Packet) -> Forwarded:
    """Raises ValueError for a packet to the host itself, of which nobody knows the target."""
    if not isinstance(packet, Forwarded):
        raise ValueError("a packet to the host itself")
    return packet


def _is_named(interface: str, value: str) -> bool:
    """True if a rule for `value`, which may be a prefix and `+`, is for the interface."""
    return interface.startswith(value[:-1]) if value.endswith("+") else interface == value


_TESTS: dict[str, Callable[[str, Packet], bool]] = {
    "-s": lambda value, packet: packet.source.subnet_of(IPv4Network(value, strict=False)),
    "-d": lambda value, packet: _forwarded(packet).target.subnet_of(
        IPv4Network(value, strict=False)
    ),
    "-i": lambda value, packet: _is_named(packet.nic, value),
    "-o": lambda value, packet: _is_named(_forwarded(packet).out, value),
    "-p": lambda value, packet: value in (packet.protocol, "all"),
    "--dport": _ports,
    "--dports": _ports,
    "--ctstate": lambda value, _: "NEW" in value.split(","),
    "--state": lambda value, _: "NEW" in value.split(","),
    "--dst-type": lambda value, packet: value == "LOCAL" and not isinstance(packet, Forwarded),
}
_NO_MATCH = ("--limit", "--limit-burst")


def _option(inverted: bool, name: str, value: str, packet: Packet) -> bool | None:
    """True if an option takes the packet; None if this module does not know the match."""
    if name in _NO_MATCH:
        return True
    test = _TESTS.get(name)
    try:
        return None if test is None else test(value, packet) != inverted
    except ValueError:
        return None
