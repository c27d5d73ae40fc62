"""Method `flannel` without hosts: settings, etcd's answers, certificates, and where flanneld is."""

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
from provision.methods.flannel import binary, etcd_checks, options, status
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
    """Some hosts with a flannel network of these further keys."""
    lines = ["name: demo", "hosts:"]
    lines += [f"  h{n}: {{address: 10.78.0.1{n}}}" for n in range(1, hosts + 1)]
    lines += ["networks:", f"  over: {{method: flannel, cidr: 172.16.0.0/16{keys}}}"]
    path = tmp_path / "inventory.yml"
    path.write_text("\n".join(lines) + "\n")
    return load(path)


@pytest.mark.parametrize(
    ("hosts", "keys", "wanted"),
    [
        (2, "", ("h1",)),
        (3, "", ("h1", "h2", "h3")),
        (5, "", ("h1", "h2", "h3")),
        (5, ", etcd: {members: [h4]}", ("h4",)),
    ],
)
def test_members_are_odd(tmp_path: Path, hosts: int, keys: str, wanted: tuple[str, ...]) -> None:
    """All hosts up to three; of two the first alone."""
    network = inventory(tmp_path, keys, hosts).networks["over"]
    assert options.members(network) == wanted


def test_another_host_is_another_cluster_only_as_a_member(tmp_path: Path) -> None:
    """A fourth host leaves etcd as it is; a third makes another one."""
    two, three, four = (inventory(tmp_path, hosts=n) for n in (2, 3, 4))
    digests = [options.cluster(one, one.networks["over"]) for one in (two, three, four)]
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
def test_what_flannel_reads(
    tmp_path: Path, keys: str, mtu: int, backend: Mapping[str, object]
) -> None:
    """flannel subtracts its own 50 from the MTU, and would leave out the first subnet."""
    said = json.loads(options.config(inventory(tmp_path, keys).networks["over"], mtu))
    assert said.pop("Backend") == backend
    assert said == {
        "Network": "172.16.0.0/16",
        "SubnetLen": 24,
        "SubnetMin": "172.16.0.0",
        "SubnetMax": "172.16.255.0",
    }


def test_parts_are_counted_from_subnet_min(tmp_path: Path) -> None:
    """The first host has the first subnet that flannel may give."""
    network = inventory(tmp_path, ", subnet_min: 172.16.49.0").networks["over"]
    assert [str(part) for part in network.subnets.values()] == [
        "172.16.49.0/24",
        "172.16.50.0/24",
        "172.16.51.0/24",
    ]


# -- what etcd says


def answer(leases: Mapping[str, Mapping[str, str]]) -> str:
    """As `etcdctl get --prefix / -w json` prints it."""
    keys = {f"/coreos.com/network/subnets/{subnet}": said for subnet, said in leases.items()}
    return printed({key: json.dumps(said) for key, said in keys.items()})


def printed(pairs: Mapping[str, str]) -> str:
    """Keys and values as etcdctl's JSON."""

    def plain(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    kvs = [{"key": plain(key), "value": plain(said)} for key, said in pairs.items()]
    return json.dumps({"header": {"revision": 7}, "kvs": kvs, "count": len(kvs)})


def lease(number: int, backend: str = "vxlan") -> dict[str, str]:
    return {"PublicIP": f"10.78.0.1{number}", "BackendType": backend}


GOOD = {f"172.16.{n - 1}.0-24": lease(n) for n in (1, 2, 3)}


def test_a_map_as_it_should_be_is_silent(tmp_path: Path) -> None:
    """And so is an etcd whose members are healthy."""
    whole = inventory(tmp_path)
    health = "\n".join(
        f"health over https://10.78.0.1{n}:2379 is healthy: took = 1ms" for n in (1, 2, 3)
    )
    found = etcd_checks.parse(f"etcd over {answer(GOOD)}\n{health}\n")["over"]
    assert not etcd_checks.lease_error(whole, whole.networks["over"], found)
    assert not etcd_checks.health_error(whole, whole.networks["over"], found)


@pytest.mark.parametrize(
    ("change", "wanted"),
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
def test_what_differs_in_the_map_is_told(
    tmp_path: Path, change: Mapping[str, Mapping[str, str] | None], wanted: str
) -> None:
    """Lost, poisoned, strange and double leases."""
    whole = inventory(tmp_path)
    leases = {key: said for key, said in (GOOD | dict(change)).items() if said}
    found = etcd_checks.parse(f"etcd over {answer(leases)}\n")["over"]
    assert wanted in etcd_checks.lease_error(whole, whole.networks["over"], found)


def test_an_etcd_that_is_silent_or_ill_is_told(tmp_path: Path) -> None:
    """By its member's host, or by what etcdctl says."""
    whole = inventory(tmp_path)
    network = whole.networks["over"]
    health = "health over https://10.78.0.11:2379 is healthy: took = 1ms\n"
    health += "health over https://10.78.0.12:2379 is unhealthy: failed to commit proposal: x\n"
    found = etcd_checks.parse(f"etcd over {answer(GOOD)}\n{health}")["over"]
    assert (
        etcd_checks.health_error(whole, network, found)
        == "etcd on h2 is unhealthy; etcd on h3 is silent"
    )
    silent = etcd_checks.parse("error over Error: context deadline exceeded\n")["over"]
    assert etcd_checks.health_error(whole, network, silent) == "Error: context deadline exceeded"
    (unanswered,) = status.parse(whole, (network,), "h1", "")
    assert etcd_checks.health_error(whole, network, unanswered.etcd) == "no answer"
    assert etcd_checks.lease_error(whole, network, unanswered.etcd) == "etcd does not answer"


def test_show_has_the_tutorials_look_ups(tmp_path: Path) -> None:
    """Settings, the list of subnets, and each subnet's host."""
    whole = inventory(tmp_path)
    networks = tuple(whole.networks.values())
    found = status.parse(whole, networks, "h1", f"etcd over {answer(GOOD)}\n")
    assert [row[1:3] for row in status.lease_rows(found)] == [
        ("172.16.0.0/24", "h1"),
        ("172.16.1.0/24", "h2"),
        ("172.16.2.0/24", "h3"),
    ]
    assert status.as_json(found)[0]["subnets"][1]["host"] == "h2"


def test_keys_of_a_host_that_is_in_the_file_no_longer_are_removed() -> None:
    """Those that say so themselves: a stranger's are not ours to remove."""
    own = "/provision/demo/over"
    said = {"host": "h1", "prefix": "/coreos.com/network", "cluster": "c", "members": ["h1"]}
    pairs = {"/coreos.com/network/config": "{}", f"{own}/config": json.dumps(said)}
    for number in (1, 2, 3):
        key = f"/coreos.com/network/subnets/172.16.{number}.0-24"
        pairs[key] = json.dumps(lease(number))
        mine = {"key": key, "address": f"10.78.0.1{number}", "cluster": "c"}
        pairs[f"{own}/hosts/h{number}"] = json.dumps(mine)
    pairs["/coreos.com/network/subnets/172.16.9.0-24"] = json.dumps(lease(9))
    text = f"etcd over {printed(pairs)}\npeers 10.78.0.12"
    (found,) = EtcdConfig.parse(text, Origin("h1", "demo"))
    assert found.ours and isinstance(found.resource, EtcdConfig)
    stale = ("/coreos.com/network/subnets/172.16.3.0-24", f"{own}/hosts/h3")
    assert found.resource.stale == stale
    assert not list(EtcdConfig.parse(text, Origin("h2", "demo")))
    (foreign,) = EtcdConfig.parse(text, Origin("h1", "another"))
    assert not foreign.ours


# -- certificates


def request(name: str = "whatever") -> str:
    """A host's request, whose names do not matter."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return asked.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def issue(folder: Path, *, trusted: str = "", server: bool = True) -> Issue:
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
    return {step.path.rsplit("/", 1)[1]: step.text for step in steps if isinstance(step, Put)}


def test_the_controller_chooses_the_names(tmp_path: Path) -> None:
    """Not the request; a client's certificate serves no server."""
    for server in (True, False):
        put = texts(pki.sign((issue(tmp_path, server=server),)))
        found = x509.load_pem_x509_certificate(put["over.member.crt"].encode())
        found.verify_directly_issued_by(x509.load_pem_x509_certificate(put["over.ca.crt"].encode()))
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.IPAddress) == [ip_address("10.78.0.11")]
        assert found.subject.rfc4514_string() == "CN=over.member"
        usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert (ExtendedKeyUsageOID.SERVER_AUTH in usage) is server


def test_the_authority_is_made_once_and_guarded(tmp_path: Path) -> None:
    """For its owner alone; the second certificate is of the same one."""
    first, second = (texts(pki.sign((issue(tmp_path),)))["over.ca.crt"] for _ in range(2))
    assert first == second
    folder = tmp_path / "pki" / "demo"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_lost_or_another_authority_is_told_before_anything(tmp_path: Path) -> None:
    """With the folder to copy."""
    trusted = texts(pki.sign((issue(tmp_path),)))["over.ca.crt"]
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(SupplyError, match=r"over\.key is missing") as lost:
        pki.check([issue(elsewhere, trusted=trusted)])
    assert "copy " in lost.value.hint
    assert not elsewhere.exists()
    pki.sign((issue(elsewhere),))
    with pytest.raises(SupplyError, match="not the authority that the hosts trust"):
        pki.check([issue(elsewhere, trusted=trusted)])


def test_an_altered_request_is_refused(tmp_path: Path) -> None:
    """Its signature is by the key that it brings."""
    body = base64.b64decode("".join(request().splitlines()[1:-1]))
    altered = base64.b64encode(body[:-3] + bytes([body[-3] ^ 1]) + body[-2:]).decode()
    text = f"-----BEGIN CERTIFICATE REQUEST-----\n{altered}\n-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(SupplyError, match="not signed by its own key"):
        pki.sign((replace(issue(tmp_path), request=text),))


# -- the program


def test_a_file_that_is_no_program_is_told(tmp_path: Path) -> None:
    """At its line, before a host is asked."""
    (tmp_path / "flanneld").write_text("#!/bin/sh\n")
    with pytest.raises(Exception, match="is no program for Linux"):
        inventory(tmp_path, ", flanneld: flanneld")
    (tmp_path / "flanneld").write_bytes(b"\x7fELF and so on")
    program = inventory(tmp_path, ", flanneld: flanneld").networks["over"].files["flanneld"]
    assert len(program.sha256) == 64


@pytest.mark.parametrize(
    ("tools", "wanted"), [("", "needs Go 1.26"), ("old", "go1.19.8"), ("new", "needs gcc")]
)
def test_what_the_build_lacks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: str, wanted: str
) -> None:
    """Go, a Go that is new enough, gcc; and always the way around it."""
    version = {"old": "go1.19.8", "new": "go1.26.1"}.get(tools)
    if version:
        go = tmp_path / "go"
        go.write_text(f"#!/bin/sh\necho go version {version} linux/amd64\n")
        go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(binary.sys, "executable", str(tmp_path / "none" / "python"))
    (tmp_path / "sh").symlink_to("/bin/sh")
    assert binary.cached() is None
    with pytest.raises(SupplyError, match=wanted) as error:
        binary.built(print)
    assert "flanneld: FILE" in error.value.hint


def test_the_pinned_version_is_flannels() -> None:
    """One place says it."""
    assert binary.version().startswith("v0.2")


# -- on a host's disk, without a host


def run(steps: Steps) -> None:
    subprocess.run(("sh", "-ec", script.commands(steps)), check=True, capture_output=True)


def test_a_request_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made again it keeps its key, whatever became of the key's mode."""
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


def test_what_is_put_aside_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any point, over what has taken its place; and dropped, nothing is left."""
    monkeypatch.setattr(stash, "STASHES", str(tmp_path / "aside"))
    other = tmp_path / "other"
    other.write_text("of others")  # else nothing would be left to look at
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_text("one")
    run(stash.stash("ab12", str(path)))
    run(stash.stash("ab12", str(path)))
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_text("two")
    run(stash.unstash("ab12", str(path)))
    run(stash.unstash("ab12", str(path)))
    assert path.read_text() == "one"
    run(stash.stash("ab12", str(path)))
    run(stash.drop("ab12", str(path)))
    assert list(tmp_path.iterdir()) == [other]
