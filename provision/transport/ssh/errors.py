"""Errors of paramiko and of the system, mapped to provision's errors with a hint for the user."""

from __future__ import annotations

import logging
import socket

import paramiko

from provision.model.errors import AuthError, ConnectError, HostError, HostKeyError

CONNECT_S = 10.0
# paramiko logs the exceptions that it raises. Without a handler, Python's logging would print
# them with tracebacks on standard error, beside our own message.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


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


_HOST_KEY_HINTS: dict[type[Exception], str] = {
    RevokedKey: "replace the host's key; if it was revoked by mistake, delete its @revoked line",
    BadCertificate: "let the certificate authority sign the host's key again: ssh-keygen -s CA -h"
    " -n HOST KEY.pub",
}


def host_error(host: str, error: Exception) -> HostError:
    """The HostError for an exception of paramiko, socket or fabric."""
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
    hint = _HOST_KEY_HINTS.get(type(error))
    if hint is not None:
        return HostKeyError(host, str(error), hint)
    # A subclass of AuthenticationException: ask for it first.
    if isinstance(error, paramiko.PasswordRequiredException):
        return AuthError(host, "the key is locked by a passphrase", "load it: ssh-add KEYFILE")
    if isinstance(error, paramiko.AuthenticationException):
        return AuthError(
            host,
            f"the host refused the login: {error}",
            "check ssh.user and ssh.key in the inventory, or load the key: ssh-add KEYFILE",
        )
    if isinstance(error, TimeoutError):
        return ConnectError(host, f"unreachable (no answer in {CONNECT_S:g} s)")
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ConnectError(host, f"unreachable ({reason})", _connect_hint(error))


def _connect_hint(error: Exception) -> str:
    # sshd closes the connection before its banner for clients that it limits: MaxStartups, and
    # since OpenSSH 9.8 PerSourcePenalties.
    if "banner" in str(error):
        return "sshd limits connections (MaxStartups, PerSourcePenalties): try again in a minute"
    if isinstance(error, socket.gaierror):
        return "its name does not resolve: set HostName in ssh_config"
    return ""
