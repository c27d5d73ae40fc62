"""Errors of paramiko and of the system, mapped to provision's errors with a hint for the user."""

from __future__ import annotations

import logging
import re
import shlex
import socket

import paramiko

from provision.model.errors import AuthError, ConnectError, HostError, HostKeyError
from provision.model.text import single_line

# paramiko logs the exceptions that it raises. Without a handler, Python's logging would print
# them with tracebacks on standard error, beside our own message.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
LIMITS_HINT = (
    "sshd limits connections (MaxStartups, PerSourcePenalties): make fewer at a time, --jobs 2, or"
    " try again in a minute"
)
_LIMITS = re.compile("Exceeded MaxStartups|Not allowed at this time")
"""What sshd says to a client that it limits."""
_CLOSED = re.compile("kex_exchange|banner exchange|Connection (closed|reset)|ssh has ended|$")
"""How the OpenSSH client says that a server has closed the connection, and an empty line."""
_NO_SSH_HINT = (
    "what answers there is no SSH server: check HostName, Port and ProxyCommand in ssh_config, or"
    " ssh.port"
)


class UnknownKey(paramiko.SSHException):
    """A host offers a key, and no key is recorded for it."""


class ChangedKey(paramiko.SSHException):
    """A host offers another key than those recorded in `lines` (FILE:NUMBER)."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__(
            "its host key differs from the recorded one: another machine may be answering"
        )
        self.lines = lines


class RevokedKey(paramiko.SSHException):
    """A host offers a key that a known_hosts file marks as @revoked."""


class BadCertificate(paramiko.SSHException):
    """A recorded authority has signed a host's certificate, but not for this use of it."""


class RefusedChannel(paramiko.SSHException):
    """A host refuses a session, or a jump host a connection to the next host; `hint` helps."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class BrokenGreeting(paramiko.SSHException):
    """A server, or the command that leads to it, has printed text and closed the connection."""


class JumpHostError(paramiko.SSHException):
    """The login at a jump host has failed."""

    def __init__(self, name: str, cause: Exception) -> None:
        super().__init__(f"jump host {name}: {cause}")
        self.name, self.cause = name, cause


class LockedToken(paramiko.AuthenticationException):
    """The token of a PKCS11Provider shows its keys only to who knows its PIN."""

    def __init__(self, provider: str) -> None:
        super().__init__("the token of PKCS11Provider wants a PIN")
        self.provider = provider


_HOST_KEY_HINTS: dict[type[Exception], str] = {
    RevokedKey: "replace the host's key; if it was revoked by mistake, delete its @revoked line",
    BadCertificate: "let the certificate authority sign the host's key again: ssh-keygen -s CA -h"
    " -n HOST KEY.pub",
}


def host_error(host: str, error: Exception) -> HostError:
    """The HostError for an exception of paramiko, socket or fabric."""
    if isinstance(error, JumpHostError):
        mapped = host_error(host, error.cause)
        hint = mapped.hint.replace(f"hosts.{host}.host_key in the inventory", "a known_hosts file")
        return type(mapped)(host, f"jump host {error.name}: {mapped.message}", hint)
    if isinstance(error, UnknownKey):
        return HostKeyError(
            host,
            str(error),
            "compare the fingerprint with the one on the host, then record the key: provision "
            f"trust INVENTORY, or hosts.{host}.host_key in the inventory",
        )
    if isinstance(error, ChangedKey):
        lines = ", ".join(error.lines) or f"hosts.{host}.host_key in the inventory"
        return HostKeyError(host, str(error), f"if the host was reinstalled, replace {lines}")
    for kind, host_key_hint in _HOST_KEY_HINTS.items():
        if isinstance(error, kind):
            return HostKeyError(host, str(error), host_key_hint)
    # A subclass of AuthenticationException: ask for it first.
    if isinstance(error, paramiko.PasswordRequiredException):
        return AuthError(host, "the key is locked by a passphrase", "load it: ssh-add KEYFILE")
    if isinstance(error, LockedToken):
        hint = f"unlock it for the agent: ssh-add -s {shlex.quote(error.provider)}"
        return AuthError(host, str(error), hint)
    if isinstance(error, paramiko.AuthenticationException):
        return AuthError(host, f"the host refused the login: {error}", _login_hint(str(error)))
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ConnectError(host, f"unreachable ({single_line(reason, 400)})", _connect_hint(error))


def _login_hint(reason: str) -> str:
    if "MaxAuthTries" in reason:
        return (
            "name the key: ssh.key in the inventory, or IdentityFile and IdentitiesOnly yes in"
            " ssh_config"
        )
    return "check ssh.user and ssh.key in the inventory, or load the key: ssh-add KEYFILE"


def _connect_hint(error: Exception) -> str:
    if isinstance(error, RefusedChannel):
        return error.hint
    # sshd closes the connection before its banner for clients that it limits: MaxStartups, and
    # since OpenSSH 9.8 PerSourcePenalties.
    if isinstance(error, BrokenGreeting):
        said = str(error).removeprefix("it printed: ").split("; ")
        is_other = any(not _CLOSED.match(part.strip()) for part in said)
        return _NO_SSH_HINT if is_other and not _LIMITS.search(str(error)) else LIMITS_HINT
    if "banner" in str(error):
        return LIMITS_HINT
    if isinstance(error, socket.gaierror):
        return "its name does not resolve: set HostName in ssh_config"
    return ""
