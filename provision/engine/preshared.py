"""Preshared keys of pairs of hosts, which follow from one secret of a network on the controller.

Touches only files below `.provision/pki/` beside the inventory.
"""

from __future__ import annotations

import hmac
import os
import secrets
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from provision.model.errors import SupplyError
from provision.model.file_lock import locked
from provision.resources.steps import Preshare, Put

_BYTES = 32


def check(steps: Iterable[Preshare]) -> None:
    """Raises SupplyError if the keys could not be made; makes no secret."""
    for step in steps:
        if step.known:
            _read(step)


def made(step: Preshare) -> Put:
    """The file of a host's keys. Raises SupplyError."""
    folder = step.secret.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    with locked(folder):
        secret = _read(step) or _draw(step.secret)
    keys = "".join(f"{peer} {_key(secret, step, peer)}\n" for peer in step.peers)
    head = f"# {fingerprint(secret)}\n# {sha256(keys.encode()).hexdigest()}\n"
    return Put(step.target, head + keys, 0o600)


def fingerprint(secret: bytes) -> str:
    """A text by which hosts and controller compare secrets, and which does not tell them."""
    return sha256(b"fingerprint\0" + secret).hexdigest()[:32]


def _key(secret: bytes, step: Preshare, peer: str) -> str:
    """The same key on both hosts; nobody who has it can compute that of another pair."""
    pair = "\0".join((step.label, *sorted((step.host, peer))))
    return b64encode(hmac.digest(secret, pair.encode(), "sha256")).decode()


def _read(step: Preshare) -> bytes | None:
    """The secret on this controller; None if there is none, and no host has a key of one yet."""
    hint = f"copy {step.secret.parent}/ from the checkout that first applied this inventory"
    try:
        secret = step.secret.read_bytes()
    except FileNotFoundError:
        if step.known:
            message = f"{step.secret} is missing, from which the preshared keys of the hosts follow"
            raise SupplyError(message, hint) from None
        return None
    except OSError as error:
        raise SupplyError(f"{step.secret} cannot be read: {error}") from error
    if len(secret) != _BYTES:
        raise SupplyError(f"{step.secret} is damaged", hint)
    if step.known and fingerprint(secret) != step.known:
        raise SupplyError(f"{step.secret} is not the secret of the hosts' preshared keys", hint)
    return secret


def _draw(path: Path) -> bytes:
    secret = secrets.token_bytes(_BYTES)
    # O_EXCL never follows a symbolic link, and the mode holds from the first byte on.
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    return secret
