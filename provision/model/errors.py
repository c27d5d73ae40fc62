"""The error tree. Pure: says what is wrong and what to do, never prints.

ProvisionError(message, hint)                           exit status
 ├ UsageError: StalePlanError                           2
 ├ InventoryError(findings)                             3
 ├ PlanError: CycleError                                3
 ├ SupplyError                                          3 (this machine lacks what hosts need)
 ├ ConflictError                                        9
 ├ HostError(host)                                      4
 │  ├ ConnectError · AuthError · HostKeyError · TimedOut
 │  ├ LockedError     8: another change holds it
 │  ├ ChangedError    it is not as it was when the change was planned
 │  ├ FactsError      a host answered what we cannot read
 │  └ UnfitError      a host lacks what is needed
 ├ LabError                                             1
 ├ StepError(host)                                      5 (undone; 6 where it is mixed)
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
    """What went wrong (`message`) and what the user can do about it (`hint`)."""

    exit_status: ExitStatus = ExitStatus.ERROR

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def kind(self) -> str:
        """Name of the error in JSON output."""
        return type(self).__name__


class UsageError(ProvisionError):
    """The command line asks for something that cannot be."""

    exit_status = ExitStatus.USAGE


class StalePlanError(UsageError):
    """A saved plan is not what would be done now."""


class InventoryError(ProvisionError):
    """The inventory is not usable; carries every finding, in file order."""

    exit_status = ExitStatus.INVENTORY

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings


class PlanError(ProvisionError):
    """The wanted state cannot be reached in any order."""

    exit_status = ExitStatus.INVENTORY


class CycleError(PlanError):
    """Resources that need each other."""


class SupplyError(ProvisionError):
    """This machine lacks what hosts are to get; no host was changed."""

    exit_status = ExitStatus.INVENTORY


class ConflictError(ProvisionError):
    """Something that is not ours stands where ours should be."""

    exit_status = ExitStatus.CONFLICT


class HostError(ProvisionError):
    """One host could not be used; nothing was changed on it by the failed step."""

    exit_status = ExitStatus.HOST

    def __init__(self, host: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.host = host

    def __str__(self) -> str:
        return f"{self.host}: {self.message}"


class ConnectError(HostError):
    """No TCP connection or no SSH on it."""


class AuthError(HostError):
    """The host refused our login, or sudo refused us."""


class HostKeyError(HostError):
    """The host's key is unknown or not the recorded one."""


class TimedOut(HostError):
    """A phase passed its deadline."""


class FactsError(HostError):
    """The host's answer cannot be read."""


class UnfitError(HostError):
    """The host lacks something that is needed."""


class LockedError(HostError):
    """Another change, of this or of another run, holds the host."""

    exit_status = ExitStatus.LOCKED


class ChangedError(HostError):
    """The host is not as it was any more when the change was planned; nothing was done there."""


class LabError(ProvisionError):
    """The lab on this machine cannot do what was asked."""


class StepError(HostError):
    """A command of a change failed; its host undoes what was done before it."""

    exit_status = ExitStatus.REVERTED


class VerifyError(ProvisionError):
    """The containers do not see what the inventory promises."""

    exit_status = ExitStatus.VERIFY
