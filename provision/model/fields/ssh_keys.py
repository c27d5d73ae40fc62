"""Keys that an inventory names: the user's private key file and a host's public key."""

from __future__ import annotations

import binascii
import os
from base64 import b64decode
from pathlib import Path

from provision.model.fields.files import open_regular, resolve
from provision.model.findings import BadValueError
from provision.model.text import quoted

KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
_HINT = "write the line that `ssh-keyscan HOST` prints, without the host: ssh-ed25519 AAAA…"


def host_key(text: str) -> str:
    """Type and base64 of a public host key, without a comment; or `BadValueError`."""
    if "PRIVATE KEY" in text:
        raise BadValueError("host_key holds a private key", "remove it at once; " + _HINT)
    if text.startswith(("SHA256:", "MD5:")):
        raise BadValueError("host_key is a fingerprint, not a key", _HINT)
    kind, _, rest = text.strip().partition(" ")
    blob = rest.strip().partition(" ")[0]
    if "\n" in text.strip() or kind not in KINDS:
        raise BadValueError(f"host_key {quoted(kind)} is no known type of key", _HINT)
    if not _names_itself(kind, blob):
        raise BadValueError(f"host_key is no complete {kind} key", _HINT)
    return f"{kind} {blob}"


def _names_itself(kind: str, blob: str) -> bool:
    """Whether the base64 is a key that begins with its own type, as RFC 4253 6.6 has it."""
    try:
        raw = b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return False
    head = len(kind).to_bytes(4, "big") + kind.encode()
    return raw.startswith(head) and len(raw) >= len(head) + 36


def private_key(text: str, folder: Path) -> Path:
    """The key file that `text` names, relative to `folder`; or `BadValueError`."""
    try:
        path = resolve(text, folder)
        with open_regular(path) as opened:
            mode = os.fstat(opened.fileno()).st_mode
            head = opened.read(64)
    except BadValueError as error:
        raise BadValueError(f"key {quoted(text)}: {error.message}", error.hint) from error
    if head.startswith((b"ssh-", b"ecdsa-", b"sk-", b"---- BEGIN SSH2 PUBLIC")):
        mean = f"name the private one: {quoted(text.removesuffix('.pub'))}"
        raise BadValueError(f"key {quoted(text)} is a public key", mean)
    if head.startswith(b"PuTTY-"):
        hint = "convert it: puttygen FILE -O private-openssh -o NEW"
        raise BadValueError(f"key {quoted(text)} is in PuTTY's format", hint)
    if not (head.startswith(b"-----BEGIN ") and b"PRIVATE KEY" in head):
        raise BadValueError(
            f"key {quoted(text)} is no private key", "make one: ssh-keygen -t ed25519"
        )
    if mode & 0o077:
        raise BadValueError(f"key {quoted(text)} can be read by others", f"chmod 600 {text}")
    return path
