"""Kind `nic_drop_rule`: an iptables rule by which the kernel drops what it receives from a NIC.

The userspace datapath of Open vSwitch reads the NIC by a packet socket, and the kernel's own IP
stack gets every packet as well and would answer it a second time:
https://docs.openvswitch.org/en/latest/intro/install/userspace/
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.kinds.iptables_chain import arguments, comment, mark_of
from provision.resources.on_hosts import ORIGINALS, Mark
from provision.resources.steps import Run, Steps, Unless, fails


@dataclass(frozen=True, slots=True)
class NicDropRule(Resource):
    """The rule for `nic` in chain PREROUTING of table raw."""

    kind: ClassVar[str] = "nic_drop_rule"
    volatile: ClassVar[bool] = True
    only_where: ClassVar[tuple[str, ...]] = (f'{ORIGINALS}/"$name"/uplink',)
    # Only on hosts with a bridged NIC: to read the table raw, the kernel loads a module.
    probe: ClassVar[str] = rf"""
need iptables
set -- {ORIGINALS}/"$name"/uplink/*
[ ! -e "$1" ] || iptables -w 5 -t raw -S PREROUTING
"""

    fingerprint: ClassVar[str] = rf"""
need iptables
[ -z "$(ls {ORIGINALS}/*/uplink 2>/dev/null)" ] ||
  iptables -w 5 -t raw -S PREROUTING | grep -F provision: || :
"""

    nic: str
    mark: Mark
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.nic

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def is_foreign(self) -> None:
        return None  # the comment with the mark is a part of the rule that each step names

    def create(self) -> Steps:
        # -I: in front of rules that accept packets.
        return (Unless(self._rule("-C"), (self._rule("-I"),)),)

    def delete(self) -> Steps:
        return (Unless(fails(self._rule("-C")), (self._rule("-D"),)),)

    def _rule(self, verb: str) -> Run:
        match = ("-t", "raw", verb, "PREROUTING", "-i", self.nic)
        return Run(("iptables", "-w", "5", *match, *comment(self.mark), "-j", "DROP"))

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for rule in map(arguments, text.splitlines()):
            if rule[:3] == ["-A", "PREROUTING", "-i"] and rule[-2:] == ["-j", "DROP"]:
                mark = mark_of(rule)
                if mark.inventory == origin.inventory:
                    yield Found(cls(origin.host, rule[3], mark), ours=True)
