"""Recorded host keys: the keys and authorities that a host is known by, and its key's check."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import paramiko

from provision.transport.ssh import known_hosts
from provision.transport.ssh.certificates import problem_of
from provision.transport.ssh.endpoint import SshEndpoint
from provision.transport.ssh.errors import BadCertificate, ChangedKey, RevokedKey, UnknownKey
from provision.transport.ssh.known_hosts import AUTHORITY, REVOKED, Entry

Status = Literal["known", "new", "changed"]
Located = tuple[Path, Entry]
"""An entry, and the file that has it."""

# RFC 8332: an RSA key signs by any of these. paramiko 5 has no ssh-rsa (SHA-1) any more.
_RSA = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")
_OLD = ("ssh-rsa", "ssh-dss")  # of paramiko before 5; OpenSSH takes no certificates of them
_SPOKEN = re.compile(r"Banner: (.*)|Secsh channel \d+ open FAILED: (.*)", re.S)
_CERTIFICATE = "-cert-v01@openssh.com"


@dataclass(frozen=True, slots=True)
class RecordedKeys:
    """The records that decide about a host's key.

    `keys`: public keys (RFC 4253, 6.6). `lenient`: keys recorded for the host's name without its
    port: equal ones are accepted, as by ssh, but others do not make the host's key a changed one.
    `authorities` sign host certificates for one of `principals`. `lines` tells where `keys` are.
    """

    keys: tuple[bytes, ...] = ()
    lenient: tuple[bytes, ...] = ()
    authorities: tuple[bytes, ...] = ()
    revoked: tuple[bytes, ...] = ()
    principals: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def kinds(self) -> set[str]:
        """The kinds of the recorded keys, such as ssh-rsa."""
        return {kind_of(key) for key in (*self.keys, *self.lenient)}

    def algorithms(self, supported: Sequence[str]) -> tuple[str, ...]:
        """Host key algorithms in order of preference, as of OpenSSH: those of recorded keys first.

        A host has keys of several kinds, and one of another kind could not be compared.
        """
        kinds = self.kinds
        known = [name for name in supported if ("ssh-rsa" if name in _RSA else name) in kinds]
        signed = [name for name in supported if name not in _OLD and self.authorities]
        certificates = [f"{name}{_CERTIFICATE}" for name in signed]
        return tuple(dict.fromkeys((*certificates, *known, *supported)))

    def status(self, key: paramiko.PKey) -> Status:
        """The status of a key that the host offers. Raises RevokedKey and BadCertificate."""
        blob, certificate = key.asbytes(), _certificate(key)
        if blob in self.revoked:
            raise RevokedKey(f"its host key is revoked: {_described(key)}")
        if certificate:
            problem = problem_of(certificate, self.authorities, self.revoked, self.principals)
            if problem is None:
                return "known"
            # A certificate of an unknown authority counts as its plain key.
            if not problem.unknown_authority:
                raise BadCertificate(f"its host certificate is refused: {problem.text}")
        if blob in (*self.keys, *self.lenient):
            return "known"
        return "changed" if self.keys else "new"

    def check(self, key: paramiko.PKey) -> None:
        """Raises UnknownKey, ChangedKey, RevokedKey or BadCertificate for a key not to trust."""
        status = self.status(key)
        if status == "new":
            raise UnknownKey(f"its host key is not recorded: {_described(key)}")
        if status == "changed":
            raise ChangedKey(self.lines)


class HostKeyTransport(paramiko.Transport):
    """A paramiko transport that asks for host keys of the recorded kinds first."""

    def __init__(
        self,
        sock: Any,
        recorded: RecordedKeys,
        printed: list[str] | None = None,
        handshake_s: float | None = None,
        **options: Any,
    ) -> None:
        self._printed = [] if printed is None else printed
        super().__init__(sock, **options)
        # paramiko's 15 s are too few for a busy host.
        self.handshake_timeout = handshake_s or self.handshake_timeout
        supported = self.get_security_options().key_types
        self._algorithms = recorded.algorithms(supported)

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """The algorithms that the key exchange offers."""
        return self._algorithms

    def _log(self, level: int, msg: str | list[str], *arguments: object) -> None:
        """Collect in `printed` what the server says: paramiko only logs it."""
        if isinstance(msg, str):  # a list: the lines of a traceback
            match = _SPOKEN.match(msg % arguments if arguments else msg)
            if match and match.lastindex:
                self._printed.append(match[match.lastindex])
        super()._log(level, msg, *arguments)  # type: ignore[misc]


class HostKeyCheck(paramiko.MissingHostKeyPolicy):
    """Accepts the recorded host keys only; paramiko itself is given none."""

    def __init__(self, recorded: RecordedKeys) -> None:
        self._recorded = recorded

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        """Raises the exceptions of RecordedKeys.check."""
        self._recorded.check(key)


def pinned(line: str) -> RecordedKeys:
    """The only key of a host with `host_key:`, whose form the loader of inventories has checked."""
    return RecordedKeys(keys=(b64decode(line.split()[1]),))


def files(endpoint: SshEndpoint, project_file: Path | None) -> tuple[Path, ...]:
    """The known_hosts files that count for a host."""
    return (*endpoint.known_hosts_files, *((project_file,) if project_file else ()))


def recorded(endpoint: SshEndpoint, project_file: Path | None) -> RecordedKeys:
    """The records of a host in the known_hosts files."""
    names = _names(endpoint)
    # As for ssh, a port belongs to a host's own name, not to its HostKeyAlias.
    port = 22 if endpoint.alias else endpoint.port
    ported = tuple(dict.fromkeys(known_hosts.port_form(name, port) for name in names))

    def entries(name: str) -> list[Located]:
        # A line that excludes one of the host's names is not for the host by another name.
        return [
            (path, entry)
            for path in files(endpoint, project_file)
            for entry in known_hosts.read(path).of(name)
            if not any(entry.excludes(excluded) for excluded in ported)
        ]

    decisive = _first([entries(name) for name in ported])
    lenient = [pair for name in names if name not in ported for pair in entries(name)]
    return RecordedKeys(
        keys=_keys(decisive, ""),
        lenient=_keys(lenient, ""),
        authorities=_keys((*decisive, *lenient), AUTHORITY),
        revoked=_keys((*decisive, *lenient), REVOKED),
        principals=names,
        lines=tuple(f"{path}:{entry.number}" for path, entry in decisive if not entry.marker),
    )


def _names(endpoint: SshEndpoint) -> tuple[str, ...]:
    """The host's names in known_hosts, in lower case as for ssh: its HostKeyAlias replaces all."""
    names = (endpoint.alias,) if endpoint.alias else (endpoint.hostname, endpoint.name)
    return tuple(dict.fromkeys(name.lower() for name in names))


def known_hosts_name(endpoint: SshEndpoint) -> str:
    """The host's name for a new line of known_hosts."""
    return endpoint.alias or known_hosts.port_form(endpoint.hostname.lower(), endpoint.port)


def _first(lists: Sequence[list[Located]]) -> list[Located]:
    """The entries of the first name that has a key or an authority; revoked keys of all names."""
    decisive: list[Located] = []
    for entries in lists:
        decisive = decisive or [pair for pair in entries if pair[1].marker != REVOKED]
    return decisive + [pair for entries in lists for pair in entries if pair[1].marker == REVOKED]


def _keys(located: Iterable[Located], marker: str) -> tuple[bytes, ...]:
    return tuple(entry.key for _, entry in located if entry.marker == marker)


def kind_of(key: bytes) -> str:
    """The kind with which a public key begins."""
    return key[4 : 4 + int.from_bytes(key[:4], "big")].decode("ascii", "replace")


def _certificate(key: paramiko.PKey) -> bytes | None:
    """The certificate that a host offered together with its key."""
    blob = getattr(key, "public_blob", None)
    return blob.key_blob if blob is not None else None


def _described(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {fingerprint(key)}"


def fingerprint(key: paramiko.PKey) -> str:
    """The key's fingerprint as `ssh-keygen -l` prints it."""
    return "SHA256:" + b64encode(sha256(key.asbytes()).digest()).decode().rstrip("=")
