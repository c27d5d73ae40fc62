"""Why ssh has not logged in, by what it has printed under LogLevel DEBUG2."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import paramiko

from provision.model.text import quoted
from provision.transport.ssh import dial
from provision.transport.ssh.authentication import absent, is_locked
from provision.transport.ssh.errors import (
    BadCertificate,
    BrokenGreeting,
    ChangedKey,
    LockedToken,
    RefusedChannel,
    RevokedKey,
    UnknownKey,
)
from provision.transport.ssh.hostkeys import RecordedKeys

_QUOTED = 400
_DEBUG = re.compile(r"debug\d: |OpenSSH_|Authenticated to |no such identity: |\s*$")
_GREETING = re.compile(r"debug1: kex_exchange_identification: banner line \d+: (.*)")
_HOST_KEY = re.compile(r"debug1: Server host (?:key|certificate): (\S+) ([^\s,]+)")
_PRINCIPAL = re.compile(r"debug2: Server host certificate hostname: (.*)")
_OFFERS = ("Offering public key: ", "Server accepts key: ", "method: gssapi", "method: hostbased")
_ACCEPTED = re.compile(r"debug1: Server accepts key: (\S+)")
# Without a terminal ssh does not ask for a PIN, and such a token lists no keys then.
_NO_TOKEN_KEYS = re.compile(r"pkcs11_add_provider: provider (\S+) returned no keys")
_REFUSED = re.compile(r"channel \d+: open failed: (.*)")
_CONNECTED = ("master session id", "Remote protocol version")
_BAD_CERTIFICATE = re.compile(r"^Certificate ((?:invalid|lacks|signed|contains).*)", re.M)
_LOGIN = ("Permission denied", "Too many authentication failures", "No more authentication")


class OtherPrincipalError(BadCertificate):
    """A host's certificate is for another of its names than the one that ssh looks for."""


def is_connected(log: str) -> bool:
    """True once a jump host has made the connection that ssh asked for."""
    return any(text in log for text in _CONNECTED)


def spoken(log: str) -> str:
    """The lines that are no debugging output, with what the server has printed before SSH's."""
    lines = []
    for line in log.splitlines():
        greeting = _GREETING.match(line)
        if greeting:
            lines.append(greeting[1])
        elif not _DEBUG.match(line):
            lines.append(line.strip())
    return "; ".join(lines)[:_QUOTED]


def is_for_any_host(log: str) -> bool:
    """True if the host's certificate names no host, which some versions of OpenSSH accept."""
    return "debug1: Server host certificate: " in log and not _PRINCIPAL.search(log)


def failure(log: str, recorded: RecordedKeys, named: Iterable[Path]) -> Exception:
    """The exception that paramiko's connection would raise for the same reason.

    `named`: the key files that the user has named.
    """
    for line in log.splitlines():
        if line.startswith(dial.FAILED):
            return OSError(line.removeprefix(dial.FAILED))
    if "Host key verification failed" in log:
        return _host_key_failure(log, recorded)
    text = spoken(log) or "ssh has ended without a message"
    if any(start in log for start in _LOGIN):
        return _login_failure(text, log, named)
    if "Remote protocol version" not in log:
        return BrokenGreeting(f"it printed: {text}")
    return paramiko.SSHException(text)


def not_forwarded(log: str, jump_host: str, jump_host_log: str) -> Exception | None:
    """The exception for a connection that a jump host has not made; None: it has made it."""
    if "forwarding request failed" not in log:
        return None
    reasons = _REFUSED.findall(jump_host_log)
    reason = reasons[-1] if reasons else spoken(log)
    if "prohibited" in reason:
        hint = f"allow it in sshd_config of {jump_host}: AllowTcpForwarding yes, PermitOpen any"
        return RefusedChannel(f"jump host {jump_host} refuses to forward: {reason}", hint)
    return RefusedChannel(f"jump host {jump_host} cannot connect to it: {reason}", "")


def _login_failure(text: str, log: str, named: Iterable[Path]) -> Exception:
    if "Too many authentication failures" in log:
        return paramiko.AuthenticationException(f"{text} (MaxAuthTries of sshd)")
    # The server takes the key, but nobody can sign by it.
    for accepted in _ACCEPTED.findall(log):
        if is_locked(Path(accepted)):
            return paramiko.PasswordRequiredException(f"{accepted} is locked")
    provider = _NO_TOKEN_KEYS.search(log)
    if provider and "pin required" in log:
        return LockedToken(provider[1])
    if not any(start in log for start in _OFFERS):
        text = "there is no key to offer"
    return paramiko.AuthenticationException(text + absent(named))


def _host_key_failure(log: str, recorded: RecordedKeys) -> Exception:
    offered = _HOST_KEY.search(log)
    described = f"{offered[1]} {offered[2]}" if offered else "see ssh -v"
    if "REVOKED" in log or "revoked" in log:
        authority = " or its certificate authority" if "-cert-" in described else ""
        return RevokedKey(f"its host key{authority} is revoked: {described}")
    certificate = _BAD_CERTIFICATE.search(log)
    if certificate and "principal" in certificate[1]:
        names = ", ".join(quoted(name) for name in _PRINCIPAL.findall(log)[:5]) or "no name"
        known = " or ".join(recorded.principals)
        return OtherPrincipalError(
            f"its host certificate is refused: it is for {names}, not for {known}"
        )
    if certificate:
        return BadCertificate(f"its host certificate is refused: {certificate[1]}")
    if recorded.keys:
        return ChangedKey(recorded.lines)
    return UnknownKey(f"its host key is not recorded: {described}")
