"""The login: which keys are offered to a host, and in which order."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko

from provision.model.text import count

# RSAKey and the others read the same formats, and refuse keys of another kind.
_KINDS = (paramiko.Ed25519Key, paramiko.RSAKey, paramiko.ECDSAKey)


@dataclass(frozen=True, slots=True)
class Login:
    """A login by public keys, as paramiko's `auth_strategy`.

    `files`: private keys, or public keys whose private ones the agent has. `agent`: False to ask
    no agent. `only_files`: offer no key of the agent but those of `files`.
    """

    user: str
    files: tuple[Path, ...]
    agent: bool = True
    only_files: bool = False

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
        if not offered:
            raise paramiko.AuthenticationException("there is no key to offer")
        raise paramiko.AuthenticationException("Authentication failed.")

    def _keys(self, locked: list[Path]) -> Iterator[paramiko.PKey]:
        """The keys to offer; `locked` collects the files that need a passphrase."""
        agent: tuple[paramiko.PKey, ...] | None = None
        offered: set[bytes] = set()
        for path in self.files:
            key = _private_key(path, locked)
            if key is None and self.agent:
                agent = _agent_keys() if agent is None else agent
                key = _of_agent(path, agent)
                if key is not None and path in locked:
                    locked.remove(path)
            if key is not None:
                offered.add(key.asbytes())
                yield key
        if self.agent and not self.only_files:
            for key in _agent_keys() if agent is None else agent:
                if key.asbytes() not in offered:
                    yield key


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
    blobs = {_public_key(path), _public_key(path.with_name(f"{path.name}.pub"))} - {None}
    return next((key for key in agent if key.asbytes() in blobs), None)


def _public_key(path: Path) -> bytes | None:
    """The public key in a file of either kind; a locked private key has it in clear."""
    try:
        text = path.read_text()
        if "BEGIN OPENSSH PRIVATE KEY" not in text:
            return b64decode(text.split()[1])
        # github.com/openssh/openssh-portable/blob/master/PROTOCOL.key
        message = paramiko.Message(b64decode("".join(text.split("-----")[2].split())))
        message.get_bytes(len(b"openssh-key-v1\0"))
        for _ in ("cipher", "kdf", "kdf options"):
            message.get_binary()
        return message.get_binary() if message.get_int() == 1 else None
    except (OSError, ValueError, IndexError):
        return None


def _agent_keys() -> tuple[paramiko.PKey, ...]:
    try:
        return tuple(paramiko.Agent().get_keys())
    except (paramiko.SSHException, OSError):
        return ()
