"""The errors of `provision`: a message, a hint for the user, an exit status. Never printed here.

ProvisionError(message, hint)                           exit status
 ├ UsageError: StalePlanError                           2
 ├ InventoryError(findings)                             3
 ├ PlanError: CycleError                                3
 ├ SupplyError                                          3 (the controller lacks files for hosts)
 ├ ConflictError                                        9
 ├ HostError(host)                                      4
 │  ├ ConnectError · AuthError · HostKeyError · TimedOut · NoAnswerError
 │  ├ LockedError     8: another change holds the lock of the host
 │  ├ HostConflictError   9: a ConflictError that came after other hosts were changed
 │  ├ ChangedError    the host changed between planning and applying
 │  ├ FactsError      the host's answer cannot be parsed
 │  └ UnfitError      the host lacks a requirement
 ├ LabError                                             1
 ├ StepError(host)                                      5 (rolled back; 6 on some hosts only)
 └ VerifyError                                          7
"""

from __future__ import annotations

from enum import IntEnum

from provision.model.findings import Finding


class ExitStatus(IntEnum):
    """The exit statuses of `provision`, which scripts rely on."""

    OK = 0
    ERROR = 1
    USAGE = 2
    INVENTORY = 3
    HOST = 4  # a host cannot be reached, or lacks something
    REVERTED = 5
    MIXED = 6  # some hosts keep the change and others do not, or one host's state is unknown
    VERIFY = 7
    LOCKED = 8
    CONFLICT = 9
    CHANGES = 10  # `plan --detailed-exitcode` found changes
    INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class ProvisionError(Exception):
    """A failure (`message`) and how the user can mend it (`hint`)."""

    exit_status: ExitStatus = ExitStatus.ERROR

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def kind(self) -> str:
        """Name of the error in JSON output: its class."""
        return type(self).__name__


class UsageError(ProvisionError):
    """The command line cannot be carried out as written."""

    exit_status = ExitStatus.USAGE


class DeclinedError(ProvisionError):
    """The user has answered no to the question of a command."""

    exit_status = ExitStatus.INTERRUPTED


class StalePlanError(UsageError):
    """A saved plan differs from the plan that would be made now."""


class InventoryError(ProvisionError):
    """The inventory cannot be used; `findings` are in file order."""

    exit_status = ExitStatus.INVENTORY

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings


class PlanError(ProvisionError):
    """No order of changes leads to the wanted state."""

    exit_status = ExitStatus.INVENTORY


class CycleError(PlanError):
    """Resources require each other in a circle."""


class SupplyError(ProvisionError):
    """The controller lacks a file or program that hosts need; no host was changed."""

    exit_status = ExitStatus.INVENTORY


class ConflictError(ProvisionError):
    """An object that provision did not make has the name or place of one that it would make."""

    exit_status = ExitStatus.CONFLICT


class HostError(ProvisionError):
    """A host cannot be used; the failed step changed nothing on it."""

    exit_status = ExitStatus.HOST

    def __init__(self, host: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.host = host

    def __str__(self) -> str:
        return f"{self.host}: {self.message}"


class ConnectError(HostError):
    """No TCP connection to the host, or no SSH server behind it."""


class AuthError(HostError):
    """The host refused the login, or sudo refused the user."""


class SudoError(AuthError):
    """sudo refused the user: the host answers, but its state is unknown."""

    @property
    def kind(self) -> str:
        """Its name in JSON output, which is that of a refused login."""
        return AuthError.__name__


class HostKeyError(HostError):
    """The host's key is unknown, or differs from the recorded one."""


class TimedOut(HostError):
    """A phase did not end before its timeout."""


class NoAnswerError(HostError):
    """The host took the login, but did not run the script to its end: its state is unknown."""


class FactsError(HostError):
    """The output of the host cannot be parsed."""


class UnfitError(HostError):
    """The host lacks a requirement."""


class LockedError(HostError):
    """Another change, of this or of another run, holds the lock of the host."""

    exit_status = ExitStatus.LOCKED


class HostConflictError(HostError):
    """A conflict that showed only after other hosts were changed; nothing was done on this one."""

    exit_status = ExitStatus.CONFLICT

    @property
    def kind(self) -> str:
        """Its name in JSON output, which is that of every conflict."""
        return ConflictError.__name__


class ChangedError(HostError):
    """The host changed between planning and applying; nothing was done on it."""


class LabError(ProvisionError):
    """The lab on this machine cannot carry out the command."""


class StepError(HostError):
    """A command of a change failed; the host rolls back the commands before it."""

    exit_status = ExitStatus.REVERTED


class VerifyError(ProvisionError):
    """Checks found that the network differs from the inventory."""

    exit_status = ExitStatus.VERIFY
