"""Kind `docker_firewall`: the rules that Docker itself makes when it starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.render import program_text
from provision.resources.steps import Steps, sh

CHAIN, TABLE = "DOCKER-USER", "docker-bridges"
"""Of iptables, and of Docker's backend nftables."""
FLUSHED = "the firewall was flushed: systemctl restart docker"


@dataclass(frozen=True, slots=True)
class DockerFirewall(Resource):
    """Docker's chain DOCKER-USER, to which the chain FORWARD jumps if it is `intact`.

    Whatever flushes the rules of iptables takes it away, and Docker only makes it again when it
    starts. Our own chains cannot be there without it. With Docker's backend nftables, the same is
    true for its table docker-bridges, whose chain filter-FORWARD jumps to those of its bridges.
    """

    kind: ClassVar[str] = "docker_firewall"
    edits: ClassVar[bool] = True
    changes_facts: ClassVar[bool] = True
    permanent: ClassVar[bool] = True
    uses_dockerd: ClassVar[bool] = True
    probe: ClassVar[str] = r"""
need_docker
[ -z "$docker_tables" ] || { echo "docker-bridges $docker_tables"; exit; }
need_rules
case $forward in *DOCKER-USER*) echo intact ;; *) echo flushed ;; esac
"""
    fingerprint: ClassVar[str] = ":"  # Docker's own rules, which change with every container

    intact: bool = True
    rules: str = CHAIN

    @property
    def name(self) -> str:
        return self.rules

    @property
    def loss(self) -> str:
        """What a flush has taken away, as a message says it."""
        if self.rules == CHAIN:
            return f"chain FORWARD does not jump to {CHAIN}"
        return f"table {self.rules} has lost its rules"

    def is_foreign(self) -> None:
        return None  # it is Docker's in any case

    def create(self) -> Steps:
        return (sh(program_text("host/restart_docker.sh")),)

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        return ()

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        return f"{FLUSHED}, which stops its containers for some seconds"

    def drift_cause(self) -> str:
        return FLUSHED

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        rules, _, state = text.strip().rpartition(" ")
        yield Found(cls(origin.host, state == "intact", rules or CHAIN), ours=False)
