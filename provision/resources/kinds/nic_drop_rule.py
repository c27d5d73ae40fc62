"""Kind `seal`: the kernel's own stack drops what a NIC receives, as a userspace datapath reads it.

https://docs.openvswitch.org/en/latest/intro/install/userspace/ asks for such a rule.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.kinds.iptables_chain import comment, mark_of
from provision.resources.on_hosts import ORIGINALS, Mark
from provision.resources.steps import Run, Steps, Unless, sh


@dataclass(frozen=True, slots=True)
class NicDropRule(Resource):
    """One rule in the raw table for `nic`."""

    kind: ClassVar[str] = "nic_drop_rule"
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
need iptables
[ -z "$(ls {ORIGINALS}/"$name"/uplink 2>/dev/null)" ] || iptables -w 5 -t raw -S PREROUTING
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

    def create(self) -> Steps:
        return (Unless(self._rule("-C"), (self._rule("-I"),)),)

    def delete(self) -> Steps:
        gone = sh('! "$@" 2>/dev/null', *self._rule("-C").argv)
        return (Unless(gone, (self._rule("-D"),)),)

    def _rule(self, verb: str) -> Run:
        place = ("-t", "raw", verb, "PREROUTING", "-i", self.nic)
        return Run(("iptables", "-w", "5", *place, *comment(self.mark), "-j", "DROP"))

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        for line in text.splitlines():
            words = shlex.split(line)
            if words[:3] == ["-A", "PREROUTING", "-i"] and words[-2:] == ["-j", "DROP"]:
                mark = mark_of(words)
                if mark.inventory == scope.inventory:
                    yield Found(cls(scope.host, words[3], mark), ours=True)
