"""A backend of testinfra that uses provision's open SSH connection."""

from __future__ import annotations

from typing import Any

import testinfra.host
from testinfra.backend.base import BaseBackend, CommandResult

from provision.transport.base import Transport


class Backend(BaseBackend):  # type: ignore[misc]
    """Runs testinfra's commands by our transport; testinfra quotes their arguments."""

    NAME = "provision"
    # testinfra's modules for Salt and Ansible refuse a backend without these.
    HAS_RUN_SALT = False
    HAS_RUN_ANSIBLE = False

    def __init__(self, host: str, transport: Transport, timeout_s: float) -> None:
        super().__init__(hostname=host)
        self._transport, self._timeout_s = transport, timeout_s

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        """Run a command, or a whole script if there are no `args`. Raises HostError."""
        text = self.get_command(command, *args)
        output = self._transport.run(self.hostname, text, timeout_s=self._timeout_s)
        streams = (output.stdout.encode(), output.stderr.encode())
        return self.result(output.status, text.encode(), *streams)


def host(name: str, transport: Transport, *, timeout_s: float) -> testinfra.host.Host:
    """The testinfra host of this name."""
    return testinfra.host.Host(Backend(name, transport, timeout_s))
