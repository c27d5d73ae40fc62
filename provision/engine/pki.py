"""The certificate authority of a network, whose key stays on the controller, and its certificates.

Touches only files below `.provision/pki/` beside the inventory.
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
"""The validity of an authority; nobody has to renew one in time."""
_CLOCK_SKEW = timedelta(hours=1)
"""How much earlier certificates become valid: the clock of a host may be behind."""
_Authority = tuple["EllipticCurvePrivateKey", "Certificate"]


def sign(steps: Steps) -> Steps:
    """The steps with every certificate issued. Raises SupplyError."""
    return tuple(signed for step in steps for signed in _sign(step))


def _sign(step: Step) -> Steps:
    match step:
        case Issue():
            return _issue(step)
        case Unless(test, inner, prints, note):
            return (Unless(test, sign(inner), prints, note),)
        case Attempt(inner, undo):
            return (replace(step, steps=sign(inner), undo=undo),)
        case _:
            return (step,)


def check(issues: Iterable[Issue]) -> None:
    """Raises SupplyError if a certificate could not be issued; makes no authority."""
    for issue in issues:
        if issue.trusted:
            _load(issue.signer, issue.trusted)


def _issue(issue: Issue) -> Steps:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    with _folder_lock(issue.signer.parent):
        key, authority = _load(issue.signer, issue.trusted) or _create(issue.signer)
    request = x509.load_pem_x509_csr(issue.request.encode())
    if not request.is_signature_valid:
        raise SupplyError(
            f"the certificate request of {issue.subject} is not signed by its own key"
        )
    builder = _builder(issue.days).subject_name(_name(issue.subject)).issuer_name(authority.subject)
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

    # Members of an etcd cluster are clients of each other, so servers need client authentication.
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    usages += [ExtendedKeyUsageOID.SERVER_AUTH] if issue.server else []
    # Go, and so etcd and flanneld, ignores the common name as a host name since Go 1.15.
    names = [x509.IPAddress(ip_address(address)) for address in issue.addresses]
    yield x509.BasicConstraints(ca=False, path_length=None), True
    yield x509.ExtendedKeyUsage(usages), False
    yield x509.SubjectAlternativeName(names), False
    yield x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False


def _load(signer: Path, trusted: str) -> _Authority | None:
    """The authority on this controller; None if it is missing and no host trusts one yet."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        text = _file(signer, "crt").read_text()
        key = load_pem_private_key(_file(signer, "key").read_bytes(), password=None)
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
        f"{signer}.key is missing, the key that signs the certificates of the hosts",
        f"copy {signer.parent}/ from the checkout that first applied this inventory",
    )


def _create(signer: Path) -> _Authority:
    """Make a new authority and write its files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"provision {signer.parent.name}/{signer.name}")
    builder = (
        _builder(YEARS * 365).subject_name(name).issuer_name(name).public_key(key.public_key())
    )
    # path_length=0: it signs certificates of hosts, but no further authority.
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    encoding, none = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, none)
    for suffix, content in (("crt", certificate.public_bytes(encoding)), ("key", private)):
        # A run that was killed between the two files has left the first one.
        _file(signer, suffix).unlink(missing_ok=True)
        _write(_file(signer, suffix), content)
    return key, certificate


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Lock the folder, so that threads and runs that need an authority at once share one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    with locked(folder):
        yield


def _builder(days: int) -> CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _CLOCK_SKEW).not_valid_after(now + timedelta(days=days))


def _name(common_name: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _file(signer: Path, suffix: str) -> Path:
    return signer.with_name(f"{signer.name}.{suffix}")


def _write(path: Path, content: bytes) -> None:
    # O_EXCL never follows a symbolic link, and the mode holds from the first byte on.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
