"""Method `flannel` without hosts: settings, leases in etcd, certificates, the flanneld binary."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provision.engine import pki
from provision.inventory.load import load
from provision.methods.flannel import binary, etcd_checks, go_build, options, status
from provision.model.errors import SupplyError
from provision.model.inventory import Inventory
from provision.resources import script
from provision.resources.base import Origin
from provision.resources.kinds.etcd_config import EtcdConfig
from provision.resources.kinds.tls_request import TlsRequest
from provision.resources.lib import stash
from provision.resources.steps import Issue, Put, Steps

ROOT = Path(__file__).parents[2]


def inventory(tmp_path: Path, keys: str = "", hosts: int = 3) -> Inventory:
    """An inventory with a flannel network; `keys` is YAML text of further keys."""
    lines = ["name: demo", "hosts:"]
    lines += [f"  h{n}: {{address: 10.78.0.1{n}}}" for n in range(1, hosts + 1)]
    lines += ["networks:", f"  over: {{method: flannel, cidr: 172.16.0.0/16{keys}}}"]
    path = tmp_path / "inventory.yml"
    path.write_text("\n".join(lines) + "\n")
    return load(path)


@pytest.mark.parametrize(
    ("hosts", "keys", "expected"),
    [
        (2, "", ("h1",)),
        (3, "", ("h1", "h2", "h3")),
        (5, "", ("h1", "h2", "h3")),
        (5, ", etcd: {members: [h4]}", ("h4",)),
    ],
)
def test_the_number_of_etcd_members_is_odd(
    tmp_path: Path, hosts: int, keys: str, expected: tuple[str, ...]
) -> None:
    """The first three hosts are members; of two hosts, only the first."""
    network = inventory(tmp_path, keys, hosts).networks["over"]
    assert options.members(network) == expected


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("network", "does not have the form /NAME or /NAME/NAME"),
        ("/a//b", "does not have the form /NAME or /NAME/NAME"),
        ("/a b", "has a character that is not allowed"),
        ("/nétwork", "has a character that is not allowed"),
        ("/provision", "is reserved"),
    ],
)
def test_a_prefix_that_etcd_keys_cannot_have_is_refused(prefix: str, message: str) -> None:
    """Each mistake has a message of its own."""
    with pytest.raises(ValueError, match=message):
        options.Etcd(prefix=prefix)


def test_only_a_new_member_creates_a_new_cluster(tmp_path: Path) -> None:
    """A third host becomes a member, and a fourth does not."""
    two, three, four = (inventory(tmp_path, hosts=n) for n in (2, 3, 4))
    digests = [options.cluster(i, i.networks["over"]) for i in (two, three, four)]
    assert digests[1] == digests[2] != digests[0]


@pytest.mark.parametrize(
    ("keys", "mtu", "backend"),
    [
        ("", 1450, {"Type": "vxlan", "VNI": 1, "Port": 8472, "MTU": 1500, "DirectRouting": False}),
        (
            ", vni: 7, port: 4789, direct_routing: true",
            1400,
            {"Type": "vxlan", "VNI": 7, "Port": 4789, "MTU": 1450, "DirectRouting": True},
        ),
        (", backend: udp", 1472, {"Type": "udp", "Port": 8285}),
        (", backend: host-gw", 1500, {"Type": "host-gw"}),
    ],
)
def test_the_configuration_of_flannel_has_the_mtu_and_all_subnets(
    tmp_path: Path, keys: str, mtu: int, backend: Mapping[str, object]
) -> None:
    """flannel subtracts 50 from the MTU, and by default does not use the first subnet."""
    config = json.loads(options.config(inventory(tmp_path, keys).networks["over"], mtu))
    assert config.pop("Backend") == backend
    assert config == {
        "Network": "172.16.0.0/16",
        "SubnetLen": 24,
        "SubnetMin": "172.16.0.0",
        "SubnetMax": "172.16.255.0",
    }


def test_subnets_begin_at_subnet_min(tmp_path: Path) -> None:
    """The first host has the first subnet that flannel may lease."""
    network = inventory(tmp_path, ", subnet_min: 172.16.49.0").networks["over"]
    assert [str(subnet) for subnet in network.subnets.values()] == [
        "172.16.49.0/24",
        "172.16.50.0/24",
        "172.16.51.0/24",
    ]


# -- leases in etcd


def leases_json(by_subnet: Mapping[str, Mapping[str, str]]) -> str:
    """Leases by subnet, as `etcdctl get --prefix / -w json` prints them."""
    keys = {f"/coreos.com/network/subnets/{subnet}": lease for subnet, lease in by_subnet.items()}
    return etcdctl_json({key: json.dumps(lease) for key, lease in keys.items()})


def etcdctl_json(pairs: Mapping[str, str]) -> str:
    """Keys and values as etcdctl prints them."""

    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    kvs = [{"key": encoded(key), "value": encoded(text)} for key, text in pairs.items()]
    return json.dumps({"header": {"revision": 7}, "kvs": kvs, "count": len(kvs)})


def lease(number: int, backend: str = "vxlan") -> dict[str, str]:
    """The lease of host `h{number}`."""
    return {"PublicIP": f"10.78.0.1{number}", "BackendType": backend}


GOOD = {f"172.16.{n - 1}.0-24": lease(n) for n in (1, 2, 3)}


def test_correct_leases_and_healthy_members_are_no_finding(tmp_path: Path) -> None:
    """Both checks are silent then."""
    demo = inventory(tmp_path)
    health = "\n".join(
        f"health over https://10.78.0.1{n}:2379 is healthy: took = 1ms" for n in (1, 2, 3)
    )
    etcd = etcd_checks.parse(f"etcd over {leases_json(GOOD)}\n{health}\n")["over"]
    assert not etcd_checks.lease_error(demo, demo.networks["over"], etcd)
    assert not etcd_checks.health_error(demo, demo.networks["over"], etcd)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"172.16.1.0-24": None}, "h2 has no lease of its subnet 172.16.1.0/24"),
        ({"172.16.1.0-24": lease(3)}, "172.16.1.0/24 is of h3, not of h2"),
        ({"172.16.1.0-24": lease(3)}, "h3 has 2 leases"),
        ({"172.16.9.0-24": lease(9)}, "a strange lease: 172.16.9.0/24 is of 10.78.0.19, which"),
        ({"172.16.9.0-24": lease(1)}, "a strange lease: 172.16.9.0/24 is of h1"),
        ({"172.16.1.0-24": lease(2, "host-gw")}, "by backend host-gw, not vxlan"),
        ({"172.16.1.0-24": lease(2, "")}, "by backend udp, not vxlan"),
    ],
)
def test_a_wrong_lease_is_a_finding(
    tmp_path: Path, change: Mapping[str, Mapping[str, str] | None], message: str
) -> None:
    """A lease is lost, forged, foreign or double, or has another backend."""
    demo = inventory(tmp_path)
    records = {key: lease for key, lease in (GOOD | dict(change)).items() if lease}
    etcd = etcd_checks.parse(f"etcd over {leases_json(records)}\n")["over"]
    assert message in etcd_checks.lease_error(demo, demo.networks["over"], etcd)


def test_an_unhealthy_etcd_is_a_finding(tmp_path: Path) -> None:
    """The finding names the members' hosts, or has the error of etcdctl."""
    demo = inventory(tmp_path)
    network = demo.networks["over"]
    health = "health over https://10.78.0.11:2379 is healthy: took = 1ms\n"
    health += "health over https://10.78.0.12:2379 is unhealthy: failed to commit proposal: x\n"
    etcd = etcd_checks.parse(f"etcd over {leases_json(GOOD)}\n{health}")["over"]
    assert (
        etcd_checks.health_error(demo, network, etcd)
        == "etcd on h2 is unhealthy; etcd on h3 is silent"
    )
    silent = etcd_checks.parse("error over Error: context deadline exceeded\n")["over"]
    assert etcd_checks.health_error(demo, network, silent) == "Error: context deadline exceeded"
    (unanswered,) = status.parse(demo, (network,), "h1", "")
    assert etcd_checks.health_error(demo, network, unanswered.etcd) == "no answer"
    assert etcd_checks.lease_error(demo, network, unanswered.etcd) == "etcd does not answer"


def test_show_lists_each_subnet_with_its_host(tmp_path: Path) -> None:
    """The table and the JSON have the leases in etcd."""
    demo = inventory(tmp_path)
    etcd = status.parse(
        demo, tuple(demo.networks.values()), "h1", f"etcd over {leases_json(GOOD)}\n"
    )
    assert [row[1:3] for row in status.lease_rows(etcd)] == [
        ("172.16.0.0/24", "h1"),
        ("172.16.1.0/24", "h2"),
        ("172.16.2.0/24", "h3"),
    ]
    assert status.as_json(etcd)[0]["subnets"][1]["host"] == "h2"


def test_an_inventory_of_one_host_has_no_peers() -> None:
    """The line of the probe ends with `peers ` then, and its trailing blank is stripped."""
    assert not list(EtcdConfig.parse("peers", Origin("h1", "demo")))
    assert not list(EtcdConfig.parse("etcd over down\npeers", Origin("h1", "demo")))


def test_the_keys_of_a_removed_host_are_stale() -> None:
    """Only keys with our mark are; the lease of a stranger stays."""
    mark = "/provision/demo/over"
    config = {"host": "h1", "prefix": "/coreos.com/network", "cluster": "c", "members": ["h1"]}
    pairs = {"/coreos.com/network/config": "{}", f"{mark}/config": json.dumps(config)}
    for number in (1, 2, 3):
        key = f"/coreos.com/network/subnets/172.16.{number}.0-24"
        pairs[key] = json.dumps(lease(number))
        record = {"key": key, "address": f"10.78.0.1{number}", "cluster": "c"}
        pairs[f"{mark}/hosts/h{number}"] = json.dumps(record)
    pairs["/coreos.com/network/subnets/172.16.9.0-24"] = json.dumps(lease(9))
    text = f"etcd over {etcdctl_json(pairs)}\npeers 10.78.0.12"
    (ours,) = EtcdConfig.parse(text, Origin("h1", "demo"))
    assert ours.ours and isinstance(ours.resource, EtcdConfig)
    stale = ("/coreos.com/network/subnets/172.16.3.0-24", f"{mark}/hosts/h3")
    assert ours.resource.stale == stale
    assert not list(EtcdConfig.parse(text, Origin("h2", "demo")))
    (foreign,) = EtcdConfig.parse(text, Origin("h1", "another"))
    assert not foreign.ours


# -- certificates


def request(name: str = "whatever") -> str:
    """A host's certificate request, whose name does not matter."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def issue(folder: Path, *, trusted: str = "", server: bool = True) -> Issue:
    """A step that issues a certificate for h1 by the authority in `folder`."""
    return Issue(
        request=request(),
        signer=folder / "pki" / "demo" / "over",
        trusted=trusted,
        subject="over.member",
        addresses=("10.78.0.11",),
        server=server,
        days=30,
        target="/etc/provision/demo/pki/over.member",
        authority="/etc/provision/demo/pki/over.ca.crt",
        record="{}",
    )


def texts(steps: Steps) -> dict[str, str]:
    """The files that the steps write, by name."""
    return {step.path.rsplit("/", 1)[1]: step.text for step in steps if isinstance(step, Put)}


def test_the_controller_chooses_the_names_in_a_certificate(tmp_path: Path) -> None:
    """The names of the request do not count, and a client's certificate is not a server's."""
    for server in (True, False):
        files = texts(pki.sign((issue(tmp_path, server=server),)))
        certificate = x509.load_pem_x509_certificate(files["over.member.crt"].encode())
        certificate.verify_directly_issued_by(
            x509.load_pem_x509_certificate(files["over.ca.crt"].encode())
        )
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.IPAddress) == [ip_address("10.78.0.11")]
        assert certificate.subject.rfc4514_string() == "CN=over.member"
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert (ExtendedKeyUsageOID.SERVER_AUTH in usage) is server


def test_the_authority_is_created_once_for_its_owner_only(tmp_path: Path) -> None:
    """The same authority signs the second certificate, and nobody else can read its files."""
    first, second = (texts(pki.sign((issue(tmp_path),)))["over.ca.crt"] for _ in range(2))
    assert first == second
    folder = tmp_path / "pki" / "demo"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_missing_or_wrong_authority_is_refused(tmp_path: Path) -> None:
    """The hint says which folder to copy, and no new authority is created."""
    trusted = texts(pki.sign((issue(tmp_path),)))["over.ca.crt"]
    other_folder = tmp_path / "other"
    with pytest.raises(SupplyError, match=r"over\.key is missing") as lost:
        pki.check([issue(other_folder, trusted=trusted)])
    assert "copy " in lost.value.hint
    assert not other_folder.exists()
    pki.sign((issue(other_folder),))
    with pytest.raises(SupplyError, match="not the authority that the hosts trust"):
        pki.check([issue(other_folder, trusted=trusted)])


def test_an_altered_request_is_refused(tmp_path: Path) -> None:
    """A request is signed by its own key, so a changed byte is noticed."""
    body = base64.b64decode("".join(request().splitlines()[1:-1]))
    altered = base64.b64encode(body[:-3] + bytes([body[-3] ^ 1]) + body[-2:]).decode()
    text = f"-----BEGIN CERTIFICATE REQUEST-----\n{altered}\n-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(SupplyError, match="not signed by its own key"):
        pki.sign((replace(issue(tmp_path), request=text),))


# -- the flanneld binary


def test_a_flanneld_that_is_not_a_linux_program_is_refused(tmp_path: Path) -> None:
    """Loading the inventory refuses it, before any host is asked."""
    (tmp_path / "flanneld").write_text("#!/bin/sh\n")
    with pytest.raises(Exception, match="is not a program for Linux"):
        inventory(tmp_path, ", flanneld: flanneld")
    (tmp_path / "flanneld").write_bytes(b"\x7fELF and so on")
    program = inventory(tmp_path, ", flanneld: flanneld").networks["over"].files["flanneld"]
    assert len(program.sha256) == 64


@pytest.mark.parametrize(
    ("tools", "message"), [("", "needs Go 1.26"), ("old", "go1.19.8"), ("new", "needs gcc")]
)
def test_the_build_names_the_missing_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: str, message: str
) -> None:
    """Go, a newer Go, or gcc is missing; the hint says how to do without a build."""
    version = {"old": "go1.19.8", "new": "go1.26.1"}.get(tools)
    if version:
        go = tmp_path / "go"
        go.write_text(f"#!/bin/sh\necho go version {version} linux/amd64\n")
        go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(go_build.sys, "executable", str(tmp_path / "none" / "python"))
    (tmp_path / "sh").symlink_to("/bin/sh")
    assert binary.cached() is None
    with pytest.raises(SupplyError, match=message) as error:
        binary.built(print)
    assert "flanneld: FILE" in error.value.hint


def test_the_pinned_version_is_one_of_flannel() -> None:
    """The build reads it from go.mod."""
    assert binary.version().startswith("v0.2")


# -- steps that change files, run on this machine


def run(steps: Steps) -> None:
    """Run the steps by this machine's shell."""
    subprocess.run(("sh", "-ec", script.commands(steps)), check=True, capture_output=True)


def test_a_repeated_request_keeps_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps also restore the key's mode."""
    monkeypatch.setattr("provision.resources.kinds.tls_request.ETC", str(tmp_path))
    steps = TlsRequest("h1", "over", "client", "demo").create()
    run(steps)
    key = tmp_path / "demo" / "pki" / "over.client.key"
    before = key.read_text()
    key.chmod(0o644)
    run(steps)
    assert key.read_text() == before
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.with_suffix(".csr").is_file()


def test_a_stashed_file_is_restored_or_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step may be repeated, unstash replaces a new file, and drop leaves nothing."""
    monkeypatch.setattr(stash, "STASHES", str(tmp_path / "stash"))
    foreign = tmp_path / "foreign"
    foreign.write_text("foreign")
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_text("old")
    run(stash.stash("ab12", str(path)))
    run(stash.stash("ab12", str(path)))
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_text("new")
    run(stash.unstash("ab12", str(path)))
    run(stash.unstash("ab12", str(path)))
    assert path.read_text() == "old"
    run(stash.stash("ab12", str(path)))
    run(stash.drop("ab12", str(path)))
    assert list(tmp_path.iterdir()) == [foreign]
