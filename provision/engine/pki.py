"""The authority that each network's certificates come from: its key is this machine's one secret.

Acts on files below `.provision/pki/` beside the inventory only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from provision.model.errors import SupplyError
from provision.model.file_lock import locked
from provision.resources.steps import Attempt, Issue, Put, Step, Steps, Unless

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, Name

YEARS = 20
_AGO = timedelta(hours=1)  # for hosts whose clocks are behind
_Authority = tuple["EllipticCurvePrivateKey", "Certificate"]


def signed(steps: Steps) -> Steps:
    """The same steps with every certificate issued. Raises SupplyError."""
    return tuple(new for step in steps for new in _signed(step))


def _signed(step: Step) -> Steps:
    match step:
        case Issue():
            return _issued(step)
        case Unless(test, inner, prints):
            return (Unless(test, signed(inner), prints),)
        case Attempt(inner, undo):
            return (replace(step, steps=signed(inner), undo=undo),)
        case _:
            return (step,)


def check(issues: Iterable[Issue]) -> None:
    """Raises SupplyError where a certificate could not be issued; makes nothing."""
    for issue in issues:
        if issue.trusted:
            _held(issue.signer, issue.trusted)


def _issued(issue: Issue) -> Steps:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    with _alone(issue.signer.parent):
        key, authority = _held(issue.signer, issue.trusted) or _made(issue.signer)
    request = x509.load_pem_x509_csr(issue.request.encode())
    if not request.is_signature_valid:
        raise SupplyError(f"the request for {issue.subject} is not signed by its own key")
    builder = _dated(issue.days).subject_name(_name(issue.subject)).issuer_name(authority.subject)
    builder = builder.public_key(request.public_key())
    for extension, critical in _extensions(issue, key):
        builder = builder.add_extension(extension, critical=critical)
    encoding = serialization.Encoding.PEM
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(encoding).decode()
    record = json.loads(issue.record) | {"certificate": sha256(certificate.encode()).hexdigest()}
    return (
        Put(issue.authority, authority.public_bytes(encoding).decode()),
        Put(f"{issue.target}.crt", certificate),
        Put(f"{issue.target}.issued", json.dumps(record) + "\n"),
    )


def _extensions(
    issue: Issue, key: EllipticCurvePrivateKey
) -> Iterable[tuple[x509.ExtensionType, bool]]:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    usages += [ExtendedKeyUsageOID.SERVER_AUTH] if issue.server else []
    names = [x509.IPAddress(ip_address(address)) for address in issue.addresses]
    yield x509.BasicConstraints(ca=False, path_length=None), True
    yield x509.ExtendedKeyUsage(usages), False
    yield x509.SubjectAlternativeName(names), False
    yield x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False


def _held(signer: Path, trusted: str) -> _Authority | None:
    """The authority on this machine; None: there is none, and none is needed yet."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        text = _end(signer, "crt").read_text()
        key = load_pem_private_key(_end(signer, "key").read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate(text.encode())
    except FileNotFoundError:
        if trusted:
            raise _missing(signer) from None
        return None
    except (OSError, ValueError) as error:
        raise SupplyError(f"{signer}.key or .crt cannot be read: {error}") from error
    if trusted and text.split() != trusted.split():
        raise SupplyError(
            f"{signer}.crt is not the authority that the hosts trust",
            f"copy {signer.parent}/ from the checkout that first applied this inventory",
        )
    if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise SupplyError(f"{signer}.key is not the key of {signer}.crt")
    return key, certificate


def _missing(signer: Path) -> SupplyError:
    return SupplyError(
        f"{signer}.key is missing, which the hosts' certificates come from",
        f"copy {signer.parent}/ from the checkout that first applied this inventory",
    )


def _made(signer: Path) -> _Authority:
    """A new authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"provision {signer.parent.name}/{signer.name}")
    builder = _dated(YEARS * 365).subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    known = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(known, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    encoding, none = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, none)
    for end, content in (("crt", certificate.public_bytes(encoding)), ("key", private)):
        _end(signer, end).unlink(missing_ok=True)  # half of one, of a run that was killed
        _write(_end(signer, end), content)
    return key, certificate


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Threads and runs that need an authority at once agree on the first."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    with locked(folder):
        yield


def _dated(days: int) -> CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _AGO).not_valid_after(now + timedelta(days=days))


def _name(words: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])


def _end(signer: Path, end: str) -> Path:
    return signer.with_name(f"{signer.name}.{end}")


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
