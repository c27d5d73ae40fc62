"""The invocation of a command that works on hosts: its arguments, and the session they open."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.cli.output import print_warning
from provision.cli.progress import LINE
from provision.model.errors import DeclinedError, UsageError

if TYPE_CHECKING:
    from provision.cli.output_file import OutputFile
    from provision.engine.fleet import Session
    from provision.model.inventory import Inventory
    from provision.transport.ssh.openssh import ClientConfig
    from provision.transport.ssh.transport import SshTransport

_SSH_FILES = ("ssh_config", "known_hosts")


def load(path: Path) -> Inventory:
    """Load an inventory file. Raises InventoryError."""
    from provision.inventory.load import load

    return load(path)


class Invocation:
    """The arguments and options that all commands on hosts share."""

    def __init__(self, **arguments: Any) -> None:
        self.path: Path = arguments["inventory"]
        self.limit: str | None = arguments["limit"]
        self.as_json: bool = arguments["as_json"]
        self.ssh_config: Path | None = arguments["ssh_config"]
        self.jobs: int = arguments["jobs"]
        self.timeout_s: float = arguments["timeout"]
        self.yes: bool = arguments["yes"]
        self.verbose: bool = arguments["verbose"]

    @cached_property
    def inventory(self) -> Inventory:
        """The inventory in the file. Raises InventoryError."""
        return load(self.path)

    @contextmanager
    def outputs(
        self,
        *named: tuple[str, Path | None],
        inputs: Iterable[Path | None] = (),
        private: bool = False,
    ) -> Iterator[tuple[OutputFile | None, ...]]:
        """Open the files of options before a host is contacted; None for one that is not given.

        Raises UsageError for a file that cannot be written, that is one of `inputs`, or that the
        inventory needs. `private`: only their owner may read new files.
        """
        if not any(path for _, path in named):
            yield (None,) * len(named)
            return
        from provision.cli.output_file import output_file

        used = [path for path in (*self._inputs(), *inputs) if path]
        with ExitStack() as stack:
            files = []
            for option, path in named:
                mode = 0o600 if private else 0o666
                files.append(stack.enter_context(output_file(option, path, used, mode=mode)))
                used += [path] if path else []
            yield tuple(files)

    def _inputs(self) -> Iterator[Path | None]:
        """The files that the command reads. Raises InventoryError."""
        from provision.cli.output_file import paths_in
        from provision.transport.project_files import nearest

        yield from paths_in(self.inventory)
        yield self.ssh_config
        for name in _SSH_FILES:
            yield nearest(self.path, name)

    @contextmanager
    def session(self) -> Iterator[tuple[Session, tuple[str, ...]]]:
        """An open session and the selected hosts.

        Raises InventoryError and UsageError before any host is contacted.
        """
        inventory = self.inventory
        from provision.inventory.limit import select

        hosts = select(inventory, self.limit)
        from provision.transport.ssh.openssh import ClientConfig

        # ssh reads ssh_config for each host while paramiko is imported.
        ssh_config = ClientConfig.for_project(self.path, self.ssh_config)
        ssh_config.start(inventory.hosts[host] for host in hosts)
        transport = self.transport(inventory, ssh_config)
        try:
            transport.dial(hosts, jobs=self.jobs, timeout_s=self.timeout_s)
            # Imported while the connections open: both take about the same time.
            import provision.engine.apply  # noqa: F401
            from provision.engine.fleet import Session

            remarks = (*inventory.notes, *(inventory.remarks if self.verbose else ()))
            for warning in (*remarks, *transport.warnings(hosts)):
                print_warning(warning)
            yield (
                Session(
                    inventory,
                    transport,
                    self.jobs,
                    self.timeout_s,
                    self.progress,
                    print_warning,
                    progress=LINE.update,
                ),
                hosts,
            )
        finally:
            LINE.clear()
            transport.close()
            if self.verbose:
                for host, count in transport.executions.items():
                    print_warning(f"{host}: {count} SSH executions")

    def transport(
        self, inventory: Inventory, ssh_config: ClientConfig | None = None
    ) -> SshTransport:
        """A transport by --ssh-config, else by the project's ssh_config; not connected yet."""
        from provision.transport.ssh.transport import SshTransport

        return SshTransport.for_project(inventory, ssh_config or self.ssh_config)

    def progress(self, line: str) -> None:
        """Print a line of progress, with --verbose or on a terminal."""
        if self.verbose or sys.stderr.isatty():
            print_warning(line)

    def require_confirmation(self, question: str) -> None:
        """Ask a question, unless --yes was given.

        Raises UsageError when there is no terminal to ask on, DeclinedError when the user says no.
        """
        self.require_terminal()
        if not self.yes and not click.confirm(question, err=True):
            raise DeclinedError("the answer was no, so nothing was changed")

    def require_terminal(self) -> None:
        """Raises UsageError if a question is to be asked and there is no terminal to ask on."""
        if not self.yes and not sys.stdin.isatty():
            raise UsageError(
                "confirmation is required, but stdin is not a terminal", "add --yes to confirm"
            )
