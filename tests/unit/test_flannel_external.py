"""An etcd of the user: the files that the inventory names, and what the hosts get of them.

`lab/test_flannel_external.py` uses one on booted hosts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from provision.engine import desired, preflight
from provision.inventory.load import load
from provision.methods.flannel import etcd_checks, options
from provision.methods.flannel.facts import FlannelFacts, probe
from provision.model.errors import InventoryError
from provision.model.inventory import Inventory
from provision.resources.kinds.tls_file import TlsFile
from provision.resources.lib import etcd_keys
from tests.cases import test_cases

URL = "https://10.78.0.9:2379"
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def certificate(
    key: ec.EllipticCurvePrivateKey, days: int = 1, usage: ObjectIdentifier | None = CLIENT
) -> bytes:
    """A certificate of `key`, in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    end = datetime.now(UTC) + timedelta(days=days)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(end - timedelta(days=9)).not_valid_after(end)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def private(key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> bytes:
    """A key in PEM."""
    encryption = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes an inventory and its files; the arguments replace good ones."""

    def inventory(**files: bytes) -> Path:
        good = {"ca": certificate(OTHER), "cert": certificate(KEY), "key": private(KEY)}
        for name, text in (good | files).items():
            path = tmp_path / f"{name}.pem"
            path.touch(0o600)
            path.write_bytes(text)
        path = tmp_path / "demo.yml"
        lines = [
            "name: demo",
            "hosts:",
            "  h1: {address: 10.78.0.11}",
            "  h2: {address: 10.78.0.12}",
        ]
        etcd = f'endpoints: ["{URL}"], ca: ca.pem, cert: cert.pem, key: key.pem'
        lines += ["networks:", "  over:", "    method: flannel", "    cidr: 172.16.0.0/16"]
        path.write_text("\n".join([*lines, f"    etcd: {{{etcd}}}"]) + "\n")
        return path

    return inventory


def message(path: Path) -> str:
    """The one finding of an inventory, with its line."""
    with pytest.raises(InventoryError) as caught:
        load(path)
    (finding,) = caught.value.findings
    return str(finding).removeprefix(f"{path.parent}/")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"ca": b"x"}, "demo.yml:9:55: ca 'ca.pem': is not a certificate in PEM form"),
        ({"ca": private(KEY)}, "ca 'ca.pem': holds a private key; name a file with certificates"),
        ({"cert": certificate(KEY, days=-1)}, "cert 'cert.pem': expired on "),
        ({"cert": certificate(KEY, usage=SERVER)}, "cert 'cert.pem': is not for clients ("),
        ({"key": private(OTHER)}, "demo.yml:9:84: key 'key.pem': is not the key of cert; "),
        ({"key": private(KEY, b"secret")}, "key 'key.pem': is locked by a passphrase; "),
        ({"key": certificate(KEY)}, "key 'key.pem': is not a private key in PEM form; "),
        ({"key": b"\xff" * 70_000}, "key 'key.pem': is larger than 64 KiB; "),
    ],
)
def test_a_bad_file_has_one_error_at_its_place(
    write: Callable[..., Path], files: dict[str, bytes], expected: str
) -> None:
    """Before any host is contacted."""
    assert expected in message(write(**files))


def test_a_key_that_others_can_read_is_refused(write: Callable[..., Path]) -> None:
    """The hint is the command that protects it."""
    path = write()
    path.with_name("key.pem").chmod(0o644)
    assert "key 'key.pem': can be read by others (mode 0644); run chmod 600 " in message(path)
    path.with_name("key.pem").unlink()
    assert "key 'key.pem': no such file" in message(path)


def test_a_certificate_without_usage_is_for_everything(write: Callable[..., Path]) -> None:
    """As TLS has it; etcd accepts it."""
    assert load(write(cert=certificate(KEY, usage=None))).networks["over"].files


@pytest.fixture
def inventory(write: Callable[..., Path]) -> Inventory:
    """An inventory with good files."""
    return load(write())


def test_hosts_get_the_files_and_no_etcd(inventory: Inventory) -> None:
    """The plan has only their checksums; etcdctl and flanneld name endpoints and files."""
    facts = test_cases.facts(inventory, {"docker": dict.fromkeys(inventory.hosts, "26.1.5")})
    wanted = desired.wanted(inventory, facts)
    kinds = {ref.kind for ref in wanted}
    assert not kinds & {"etcd_data", "certificate", "tls_request"}
    assert not [ref for ref in wanted if ref.kind == "service" and "-etcd" in ref.name]
    files = [each for each in wanted.values() if isinstance(each, TlsFile) and each.host == "h2"]
    stem = "/etc/provision/demo/pki/over.external"
    sums = {file.path: file.sha256 for file in files}
    assert sums[f"{stem}.key"] == sha256(private(KEY)).hexdigest()
    assert sorted(sums) == [f"{stem}.ca.crt", f"{stem}.crt", f"{stem}.key"]
    body = private(KEY).decode().splitlines()[1]
    assert body not in repr(wanted)
    texts = [each.text for each in wanted.values() if each.kind in ("file", "service")]  # type: ignore[attr-defined]
    flanneld = next(text for text in texts if "ExecStart=" in text and "etcd-endpoints" in text)
    etcdctl = next(text for text in texts if "etcdctl-over" in text)
    assert f"-etcd-keyfile={stem}.key" in flanneld and f"-etcd-endpoints={URL} " in flanneld
    assert f"--cert={stem}.crt" in etcdctl and f"--endpoints={URL} " in etcdctl
    assert "# prefixes: /coreos.com/network/ /provision/demo/over/\n" in etcdctl


def test_only_the_prefixes_of_the_network_are_read(inventory: Inventory) -> None:
    """The user's etcd may hold secrets of others."""
    text = etcd_checks.script(inventory, inventory.networks["over"])
    assert "--prefix /coreos.com/network/ " in text and "--prefix /provision/demo/over/ " in text
    assert "--prefix / " not in text


def test_the_answers_of_several_prefixes_are_one() -> None:
    """If one of them is missing, etcd has not answered."""
    first, second = '{"kvs": [{"key": "YQ==", "value": "MQ=="}]}', '{"kvs": [{"key": "Yg=="}]}'
    text = f"etcd over {first}\netcd over {second}\netcd tun {first}\netcd tun down"
    assert dict(etcd_keys.networks(text)) == {"over": {"a": "1", "b": ""}, "tun": None}


def test_an_etcd_that_no_endpoint_reaches_is_a_problem(inventory: Inventory) -> None:
    """With the reason; one endpoint of several is enough."""
    facts = test_cases.facts(inventory, {"docker": dict.fromkeys(inventory.hosts, "26.1.5")})
    for answer, refused in (("Connection refused", True), ("", False)):
        known = probe([URL]).parse(f"endpoint {URL} {answer}")
        assert isinstance(known, FlannelFacts)
        hosts = {
            h: test_cases.dataclasses.replace(f, of_methods={FlannelFacts: known})
            for h, f in facts.items()
        }
        problems = preflight.problems(inventory, hosts)
        texts = [str(problem) for problem in problems]
        assert len(texts) == (2 if refused else 0)
        if refused:
            assert texts[0] == f"h1: etcd of network 'over' cannot be reached, {URL}: {answer}"


def test_the_health_of_each_endpoint_is_checked(inventory: Inventory) -> None:
    """As it is for members."""
    network = inventory.networks["over"]
    assert options.members(network) == () and options.first_writer(network) == "h1"
    for state, expected in (
        ("healthy: took 3ms", ""),
        ("unhealthy: failed", f"etcd at {URL} is unhealthy"),
    ):
        answer = etcd_checks.parse(f"etcd over {{}}\nhealth over {URL} is {state}")["over"]
        assert etcd_checks.health_error(inventory, network, answer) == expected
