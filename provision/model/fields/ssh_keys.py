"""SSH keys that an inventory names: a private key file, and the public key of a host."""

from __future__ import annotations

import binascii
import os
from base64 import b64decode
from pathlib import Path

from provision.model.fields.files import open_regular, resolve
from provision.model.findings import BadValueError
from provision.model.text import quoted

# DSA (ssh-dss) is off by default since OpenSSH 7.0, and removed in 10.0.
TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
_HINT = "write the line that `ssh-keyscan HOST` prints, without the host: ssh-ed25519 AAAA…"


def host_key(text: str) -> str:
    """Type and base64 of a host's public key, without a comment. Raises BadValueError."""
    if "PRIVATE KEY" in text:
        raise BadValueError("host_key holds a private key", "remove it at once; " + _HINT)
    if text.startswith(("SHA256:", "MD5:")):
        raise BadValueError("host_key is a fingerprint, not a key", _HINT)
    key_type, _, rest = text.strip().partition(" ")
    base64 = rest.strip().partition(" ")[0]
    if "\n" in text.strip() or key_type not in TYPES:
        raise BadValueError(f"host_key has an unknown type of key, {quoted(key_type)}", _HINT)
    if not _is_complete(key_type, base64):
        raise BadValueError(f"host_key is not a complete {key_type} key", _HINT)
    return f"{key_type} {base64}"


def _is_complete(key_type: str, base64: str) -> bool:
    """True if the decoded key begins with its type (RFC 4253, 6.6) and is long enough."""
    try:
        raw = b64decode(base64, validate=True)
    except (binascii.Error, ValueError):
        return False
    head = len(key_type).to_bytes(4, "big") + key_type.encode()
    # Ed25519, the shortest, has 4 bytes of length and 32 of key.
    return raw.startswith(head) and len(raw) >= len(head) + 36


def private_key(text: str, folder: Path) -> Path:
    """The private key file `text`, a path relative to `folder`. Raises BadValueError.

    Only its first bytes and its mode are checked; the key is used by SSH later.
    """
    try:
        path = resolve(text, folder)
        with open_regular(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            head = file.read(64)
    except BadValueError as error:
        raise BadValueError(f"key {quoted(text)}: {error.message}", error.hint) from error
    if head.startswith((b"ssh-", b"ecdsa-", b"sk-", b"---- BEGIN SSH2 PUBLIC")):
        hint = f"name the private one: {quoted(text.removesuffix('.pub'))}"
        raise BadValueError(f"key {quoted(text)} is a public key", hint)
    if head.startswith(b"PuTTY-"):
        hint = "convert it: puttygen FILE -O private-openssh -o NEW"
        raise BadValueError(f"key {quoted(text)} is in PuTTY's format", hint)
    if not (head.startswith(b"-----BEGIN ") and b"PRIVATE KEY" in head):
        hint = "make one: ssh-keygen -t ed25519"
        raise BadValueError(f"key {quoted(text)} is not a private key", hint)
    # OpenSSH refuses such a key, too.
    if mode & 0o077:
        raise BadValueError(f"key {quoted(text)} can be read by other users", f"chmod 600 {text}")
    return path
