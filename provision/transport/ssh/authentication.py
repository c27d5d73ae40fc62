"""The login: which keys are offered to a host, and in which order."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paramiko

from provision.model.text import count
from provision.transport.ssh.agents import Agent

# RSAKey and the others read the same formats, and refuse keys of another kind.
_PKCS8 = (b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
_KINDS = (paramiko.Ed25519Key, paramiko.RSAKey, paramiko.ECDSAKey)


@dataclass(frozen=True, slots=True)
class Login:
    """A login by public keys, as paramiko's `auth_strategy`.

    `files`: private keys, or public keys whose private ones the agent has. `only_files`: offer no
    key of the agent but those of `files`. `named`: files that the user has named, which should
    exist. `foreign` collects the keys of files and of the agent by which only ssh can log in.
    """

    user: str
    files: tuple[Path, ...]
    agent: Agent
    only_files: bool = False
    named: tuple[Path, ...] = ()
    foreign: list[str] = field(default_factory=list)

    def authenticate(self, transport: paramiko.Transport) -> None:
        """Log in. Raises AuthenticationException, PasswordRequiredException for a locked key."""
        locked: list[Path] = []
        offered = 0
        for key in self._keys(locked):
            offered += 1
            try:
                remaining = transport.auth_publickey(self.user, key)
            except paramiko.BadAuthenticationType as error:
                allowed = ", ".join(error.allowed_types)
                raise paramiko.AuthenticationException(f"it takes only {allowed}") from error
            except paramiko.SSHException as error:
                _require_active(transport, offered, error)
                continue
            if remaining:
                raise paramiko.AuthenticationException(f"it asks for {', '.join(remaining)}, too")
            return
        if locked:
            raise paramiko.PasswordRequiredException(f"{locked[0]} is locked")
        raise paramiko.AuthenticationException(f"{_refusal(offered)}{absent(self.named)}")

    def _keys(self, locked: list[Path]) -> Iterator[paramiko.PKey]:
        """The keys to offer; `locked` collects the files that need a passphrase."""
        agent: tuple[paramiko.PKey, ...] | None = None
        offered: set[bytes] = set()
        for path in self.files:
            key = _private_key(path, locked)
            if key is None:
                agent = self._of_the_agent() if agent is None else agent
                key = _of_agent(path, agent)
                if key is not None and path in locked:
                    locked.remove(path)
                if key is None and is_foreign_file(path):
                    self.foreign.append(str(path))
            if key is not None:
                offered.add(key.asbytes())
                yield key
        if not self.only_files:
            for key in self._of_the_agent() if agent is None else agent:
                if key.asbytes() not in offered:
                    yield key

    def _of_the_agent(self) -> tuple[paramiko.PKey, ...]:
        """The agent's keys that paramiko can use: certificates and FIDO keys are for ssh."""
        keys = self.agent.keys()
        self.foreign.extend(key.get_name() for key in keys if is_foreign(key.get_name()))
        return tuple(key for key in keys if not is_foreign(key.get_name()))


def absent(files: Iterable[Path]) -> str:
    """The key files that do not exist, for the end of a message."""
    names = [str(path) for path in files if not path.is_file()]
    verb = "does" if len(names) == 1 else "do"
    return f" ({', '.join(names)} {verb} not exist)" if names else ""


def is_foreign(kind: str) -> bool:
    """True for a kind of key by which paramiko cannot log in."""
    return kind.startswith("sk-") or "-cert-v" in kind


def is_foreign_file(path: Path) -> bool:
    """True for a key that paramiko cannot read: PKCS#8, a FIDO key."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return False
    if head.startswith(_PKCS8):
        return True
    key = public_key(path) if head.startswith((b"-----BEGIN OPENSSH", b"sk-")) else None
    return key is not None and is_foreign(public_kind(key))


def _refusal(offered: int) -> str:
    return f"it takes none of {count(offered, 'key')}" if offered else "there is no key to offer"


def _require_active(transport: paramiko.Transport, offered: int, error: Exception) -> None:
    """Raise AuthenticationException if the host has closed the connection."""
    if not transport.is_active():
        raise paramiko.AuthenticationException(
            f"it closed the connection after {count(offered, 'key')} (MaxAuthTries of sshd)"
        ) from error


def _private_key(path: Path, locked: list[Path]) -> paramiko.PKey | None:
    """The private key in a file, with the certificate beside it; None if there is none."""
    if not path.is_file():
        return None
    for kind in _KINDS:
        try:
            key = kind.from_private_key_file(str(path))
        except paramiko.PasswordRequiredException:
            locked.append(path)
            return None
        except (paramiko.SSHException, OSError, ValueError):
            continue
        certificate = path.with_name(f"{path.name}-cert.pub")
        if certificate.is_file():
            key.load_certificate(str(certificate))
        return key
    return None


def _of_agent(path: Path, agent: Collection[paramiko.PKey]) -> paramiko.PKey | None:
    """The key of the agent whose public key is in the file, or in the file with `.pub` added."""
    blobs = {public_key(path), public_key(path.with_name(f"{path.name}.pub"))} - {None}
    return next((key for key in agent if key.asbytes() in blobs), None)


def public_kind(key: bytes) -> str:
    """The kind with which a public key begins (RFC 4253, 6.6)."""
    return key[4 : 4 + int.from_bytes(key[:4], "big")].decode("ascii", "replace")


def public_key(path: Path) -> bytes | None:
    """The public key in a file of either kind; a locked private key has it in clear."""
    try:
        text = path.read_text()
        if "BEGIN OPENSSH PRIVATE KEY" not in text:
            return b64decode(text.split()[1])
        _, key = _openssh_key(text)
        return key
    except (OSError, ValueError, IndexError):
        return None


def is_locked(path: Path) -> bool:
    """True for a private key that needs a passphrase."""
    try:
        text = path.read_text()
        if "BEGIN OPENSSH PRIVATE KEY" in text:
            return _openssh_key(text)[0] != "none"
    except (OSError, ValueError, IndexError):
        return False
    return "ENCRYPTED" in text


def _openssh_key(text: str) -> tuple[str, bytes | None]:
    """The cipher and the public key of a private key in OpenSSH's own format.

    github.com/openssh/openssh-portable/blob/master/PROTOCOL.key
    """
    message = paramiko.Message(b64decode("".join(text.split("-----")[2].split())))
    message.get_bytes(len(b"openssh-key-v1\0"))
    cipher = message.get_text()
    for _ in ("kdf", "kdf options"):
        message.get_binary()
    return cipher, message.get_binary() if message.get_int() == 1 else None
