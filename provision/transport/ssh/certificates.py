"""Host certificates of OpenSSH: who signed one, for which names, and until when.

Format: https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.certkeys. paramiko proves
that the host has the key of a certificate, but does not look at the certificate itself.
"""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from collections.abc import Collection
from dataclasses import dataclass

from provision.model.text import quoted

_SHA1 = b"ssh-rsa"


@dataclass(frozen=True, slots=True)
class CertificateProblem:
    """The reason why a certificate is not accepted; of an `unknown_authority` nothing is known."""

    text: str
    unknown_authority: bool = False


def problem_of(
    certificate: bytes,
    authorities: Collection[bytes],
    revoked: Collection[bytes],
    principals: Collection[str],
) -> CertificateProblem | None:
    """The problem of a certificate that a host offered for itself; None: it is accepted."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        SSHCertificate,
        SSHCertificateType,
        load_ssh_public_identity,
    )

    kind = certificate[4 : 4 + int.from_bytes(certificate[:4], "big")]
    try:
        loaded = load_ssh_public_identity(kind + b" " + b64encode(certificate))
        if not isinstance(loaded, SSHCertificate):
            return CertificateProblem("it is not a certificate", unknown_authority=True)
        line = loaded.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        authority = b64decode(line.split()[1])
        if authority in revoked:
            return CertificateProblem("its certificate authority is revoked")
        if authority not in authorities:
            return CertificateProblem(
                "its certificate authority is not recorded", unknown_authority=True
            )
        loaded.verify_cert_signature()
    except InvalidSignature:
        return CertificateProblem("its signature is wrong")
    # cryptography raises many kinds of exceptions for damaged input.
    except Exception as error:
        return CertificateProblem(f"it cannot be read: {error}", unknown_authority=True)
    if _signature_algorithm(certificate) == _SHA1:
        return CertificateProblem("it is signed by SHA-1 (ssh-rsa)")
    if loaded.type is not SSHCertificateType.HOST:
        return CertificateProblem("it is a certificate of a user")
    if loaded.critical_options:
        return CertificateProblem("it has critical options, and none is known for hosts")
    if not loaded.valid_after <= time.time() < loaded.valid_before:
        return CertificateProblem("it is not valid at this time")
    names = [name.decode("utf-8", "replace") for name in loaded.valid_principals]
    if not set(names) & set(principals):
        listed = ", ".join(quoted(name) for name in names[:5]) or "no name"
        return CertificateProblem(f"it is for {listed}, not for {' or '.join(principals)}")
    return None


def _signature_algorithm(certificate: bytes) -> bytes:
    """The RSA algorithm of the signature; empty for another one.

    The signature is the last string of a certificate, and begins with the name of its algorithm.
    """
    for name in (b"rsa-sha2-512", b"rsa-sha2-256", _SHA1):
        head = len(name).to_bytes(4, "big") + name
        position = certificate.rfind(head)
        length = int.from_bytes(certificate[position - 4 : position], "big")
        if position > 0 and position + length == len(certificate):
            return name
    return b""
