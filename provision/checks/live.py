"""Running containers for users' tests: host, address, and commands inside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

import testinfra.host

from provision.checks.backend import host as testinfra_host
from provision.engine.fleet import Session, observe
from provision.engine.members import member_of
from provision.model.errors import VerifyError


@dataclass(frozen=True, slots=True)
class LiveContainer:
    """A running container; `on` is the testinfra host that it runs on."""

    name: str
    host: str
    network: str
    address: IPv4Address | None
    pid: int
    on: testinfra.host.Host
    docker: str = ""
    """Its name in Docker, if that differs: of a guest, or of a member of a further network."""

    def run(self, command: str, *arguments: str) -> testinfra.host.CommandResult:
        """Run a command in the container, quoted as testinfra does: `run("ping -c1 %s", to)`."""
        inside = "docker exec %s sh -c %s"
        return self.on.run(
            inside, self.docker or self.name, self.on.backend.get_command(command, *arguments)
        )

    def run_by_host(self, command: str, *arguments: str) -> testinfra.host.CommandResult:
        """Run a program of the host in the container's network namespace: the image needs none."""
        inside = "nsenter -t %s -n sh -c %s"
        return self.on.run(inside, str(self.pid), self.on.backend.get_command(command, *arguments))


def live_containers(session: Session, hosts: Iterable[str]) -> Mapping[str, LiveContainer]:
    """Containers of `hosts` by name.

    Raises HostError, and VerifyError for a container that does not run.
    """
    wanted = [c for c in session.inventory.members.values() if c.host in set(hosts)]
    fleet = observe(session, sorted({container.host for container in wanted}))
    for error in fleet.errors.values():
        raise error
    running: dict[str, LiveContainer] = {}
    for container in wanted:
        member = member_of(session.inventory, fleet, container)
        if member is None:
            message = f"container {container.name} does not run on {container.host}"
            raise VerifyError(message, "run provision apply first")
        running[container.name] = LiveContainer(
            container.name,
            container.host,
            container.network,
            member.address,
            member.pid,
            testinfra_host(container.host, session.transport, timeout_s=session.timeout_s),
            member.docker,
        )
    return running
