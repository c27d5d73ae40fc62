"""What paramiko and the system raise → our error tree, with what the user can do."""

from __future__ import annotations

import logging
import socket

import paramiko

from provision.model.errors import AuthError, ConnectError, HostError, HostKeyError

CONNECT_S = 10.0
# What it raises is ours to tell; without a handler Python prints its tracebacks.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class UnknownKey(paramiko.SSHException):
    """A host shows a key that is recorded nowhere."""


def host_error(host: str, error: Exception) -> HostError:
    if isinstance(error, UnknownKey):
        return HostKeyError(
            host,
            str(error),
            "compare the fingerprint with the host's own: provision trust INVENTORY shows and "
            f"records it, or give the key in the inventory as hosts.{host}.host_key",
        )
    if isinstance(error, paramiko.BadHostKeyException):
        return HostKeyError(
            host,
            "its host key is not the recorded one: somebody may be in between",
            "if the host was installed anew, replace its line in known_hosts",
        )
    if isinstance(error, paramiko.PasswordRequiredException):
        return AuthError(host, "the key is locked by a passphrase", "load it into an ssh-agent")
    if isinstance(error, paramiko.AuthenticationException):
        return AuthError(host, f"it refused the login: {error}", "see ssh: user, key; or an agent")
    if isinstance(error, TimeoutError):
        return ConnectError(host, f"unreachable (no answer in {CONNECT_S:g} s)")
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ConnectError(host, f"unreachable ({reason})", _reachable_hint(error))


def _reachable_hint(error: Exception) -> str:
    if "banner" in str(error):
        return "its sshd turns us away (MaxStartups, PerSourcePenalties): try again in a minute"
    if isinstance(error, socket.gaierror):
        return "its name does not resolve: give HostName in ssh_config"
    return ""
