"""The TLS files by which flanneld uses an etcd of the user. Reads files on the controller only."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from provision.model.fields.files import read_regular, resolve
from provision.model.findings import BadValueError
from provision.model.inventory import LocalBinary
from provision.model.text import quoted

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from provision.methods.flannel.options import Etcd

_LIMIT = 64 << 10
ENDINGS = {"ca": "ca.crt", "cert": "crt", "key": "key"}
"""The files by their keys in YAML, and the endings of their names on hosts."""


def option(name: str) -> str:
    """The option of a network that names a file, as `Network.files` has it."""
    return f"etcd.{name}"


def files(etcd: Etcd, folder: Path) -> Mapping[str, LocalBinary | BadValueError]:
    """The files that an inventory in `folder` names, by option; an error for a bad one."""
    names = {"ca": etcd.ca, "cert": etcd.cert, "key": etcd.key}
    texts: dict[str, bytes] = {}
    result: dict[str, LocalBinary | BadValueError] = {}
    for name, text in names.items():
        if text is None:
            continue
        try:
            path = resolve(text, folder)
            texts[name] = read_regular(path, _LIMIT)
            _check(name, path, texts)
            result[option(name)] = LocalBinary(path.absolute(), sha256(texts[name]).hexdigest())
        except BadValueError as error:
            message = f"{name} {quoted(text)}: {error.message}"
            result[option(name)] = BadValueError(message, error.hint)
    return result


def _check(name: str, path: Path, texts: Mapping[str, bytes]) -> None:
    match name:
        case "ca":
            _certificates(texts[name])
        case "cert":
            _check_client(_certificates(texts[name])[0])
        case "key":
            _check_key(path, texts[name], texts.get("cert"))


def _certificates(text: bytes) -> list[Certificate]:
    from cryptography import x509

    if b"PRIVATE KEY-----" in text:
        # Everyone may read a certificate, so nobody guards a key in its file.
        raise BadValueError("holds a private key", "name a file with certificates only")
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        raise BadValueError("is not a certificate in PEM form", "name the right file") from None


def _check_client(certificate: Certificate) -> None:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise BadValueError(f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}", "renew it")
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & {
        *usages
    }:
        message = "is not for clients (its extendedKeyUsage lacks clientAuth)"
        raise BadValueError(message, "name a client's certificate")


def _check_key(path: Path, text: bytes, certificate: bytes | None) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise BadValueError(f"can be read by others (mode {mode:04o})", f"run chmod 600 {path}")
    try:
        key = load_pem_private_key(text, password=None)
    except TypeError:
        # flanneld and etcdctl cannot ask for it.
        message = "is locked by a passphrase"
        raise BadValueError(message, "unlock a copy: openssl pkey -in FILE -out NEW") from None
    except ValueError:
        raise BadValueError("is not a private key in PEM form", "name the right file") from None
    if certificate is None:
        return
    try:
        public = _certificates(certificate)[0].public_key()
    except BadValueError:
        return  # reported at `cert`
    if key.public_key() != public:
        raise BadValueError("is not the key of cert", "name the key that cert was made for")
