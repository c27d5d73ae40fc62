"""Kind `forward_policy`: the policy of iptables' chain FORWARD, which Docker sets to DROP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.steps import Run, Steps


@dataclass(frozen=True, slots=True)
class ForwardPolicy(Resource):
    """The policy of the chain FORWARD.

    Wanted only where the follower has seen DROP since it started, and the policy is ACCEPT now:
    `ufw disable` and a firewalld that stops leave it so. `destroy` leaves it.
    """

    kind: ClassVar[str] = "forward_policy"
    edits: ClassVar[bool] = True
    permanent: ClassVar[bool] = True
    probe: ClassVar[str] = r"""
need_rules
policy=${forward#*:FORWARD }; echo "${policy%% *}"
"""
    fingerprint: ClassVar[str] = ":"  # firewalls of the host change it at any time

    policy: str

    @property
    def name(self) -> str:
        return "FORWARD"

    def is_foreign(self) -> None:
        return None  # the kernel's own chain

    def create(self) -> Steps:
        return (Run(("iptables", "-w", "5", "-P", "FORWARD", self.policy)),)

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        return ()

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        return f"the host forwards packets of everybody: {self.drift_cause()}"

    def drift_cause(self) -> str:
        return "the policy of FORWARD is ACCEPT, where Docker had DROP"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        if policy := text.strip():
            yield Found(cls(origin.host, policy), ours=False)
