"""What the inventory leans on: names, blocks, suggestions, image archives, host keys, --limit."""

from __future__ import annotations

import io
import json
import tarfile
from base64 import b64encode
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from provision.inventory.known_keys import known_keys
from provision.inventory.limit import select
from provision.inventory.schema import network_document
from provision.model import names, suggest
from provision.model.documents import ContainerDocument
from provision.model.errors import UsageError
from provision.model.fields import addresses, images, ssh_keys
from provision.model.fields.image_archives import saved_image
from provision.model.findings import BadValueError
from provision.model.inventory import Host, Inventory
from provision.model.text import quoted

NAMES = ("h1", "h2", "h3", "web-1", "web-2")
FLEET = Inventory(
    name="demo",
    path=Path("demo.yml"),
    hosts={name: Host(name, IPv4Address("10.0.0.1")) for name in NAMES},
    groups={"edge": ("h3", "h1"), "web": ("web-1", "web-2"), "nobody": ()},
    networks={},
    containers={},
)


def test_blocks() -> None:
    cidr = IPv4Network("172.20.0.0/16")
    assert names.block_count(cidr, 24) == 256
    assert names.block_count(cidr, 12) == 0
    assert names.nth_block(cidr, 24, 255) == IPv4Network("172.20.255.0/24")
    assert names.gateway(IPv4Network("172.20.1.0/24")) == IPv4Address("172.20.1.1")
    assert names.container_capacity(IPv4Network("172.20.1.0/29")) == 5


def test_names_are_stable() -> None:
    """They are on hosts already: another hash would leave the old links and chains behind."""
    assert names.interface_name("br-", "demo", "blue") == "br-blue-v242wt"
    assert names.chain_name("demo", "blue") == "PROV-demo-blue-v242wt"
    assert names.host_veth_name("demo", "web", "eth1") == "pw-web-vybjw7"


def test_hashed_numbers_are_stable() -> None:
    """Values of version 0.1.0, which its hosts hold."""
    assert names.hashed_mac("demo", "web", "eth1") == "02:b7:06:ba:f0:27"
    assert names.hashed_mac("x") == "02:2d:71:16:42:b7"
    assert names.hashed_mac("m eth0", first_byte=0x0A) == "0a:9c:dd:a3:2f:93"
    assert names.vtep_mac("demo", "blue", "h1") == "0a:e4:58:f1:d4:cc"
    assert names.default_vni("demo", "blue") == 4198637


@pytest.mark.parametrize("network", ["a", "abcdefghijklmno", "a-b-c-d-e-f-g-h"])
def test_names_fit(network: str) -> None:
    assert len(names.interface_name("prefix", "abcdefghij", network)) <= 15
    assert len(names.chain_name("abcdefghij", network)) <= 28


def test_names_differ() -> None:
    pairs = [("a", "b-c"), ("a-b", "c"), ("demo", "x" * 14 + "1"), ("demo", "x" * 14 + "2")]
    assert len({names.chain_name(*pair) for pair in pairs}) == 4
    assert len({names.interface_name("br-", *pair) for pair in pairs}) == 4


def test_addresses() -> None:
    assert addresses.ipv4("169.254.1.1") == IPv4Address("169.254.1.1")
    assert addresses.cidr("10.0.0.0/8") == IPv4Network("10.0.0.0/8")
    assert addresses.cidr("10.0.0.8/29") == IPv4Network("10.0.0.8/29")


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("vxlna", "vxlan"),
        ("adress", "address"),
        ("NETWORK", "network"),
        ("sub-net-size", "subnet_size"),
        ("cotnainre", "container"),
        ("completely", None),
        ("x", None),
        ("", None),
        ("address" * 1000, None),
    ],
)
def test_suggestions(word: str, near: str | None) -> None:
    known = ("vxlan", "address", "network", "subnet_size", "container")
    assert suggest.nearest(word, known) == near


def test_known_keys_follow_lists_unions_and_dataclasses() -> None:
    """Also into what a method adds to a network, such as flannel's `etcd`."""
    assert known_keys(ContainerDocument, ("image",)) == ("archive",)
    assert known_keys(ContainerDocument, ("interfaces", 3, "rules", 0)) == (
        "source",
        "to",
        "table",
        "priority",
    )
    etcd = known_keys(network_document("flannel"), ("etcd",))
    assert etcd == ("members", "prefix", "client_port", "peer_port")
    assert known_keys(ContainerDocument, ("env", "A")) == ()


def test_quoted_text_is_one_printable_line() -> None:
    shown = quoted("a\nb\x1b[31m\0\u202e" + "x" * 100)
    assert shown.startswith(r"'a\nb\x1b[31m\x00\u202exxx")
    assert shown.endswith("…'")
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("busybox", "busybox:latest"),
        ("busybox:1.36", "busybox:1.36"),
        ("library/busybox", "library/busybox:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("Registry.Example.com/a__b/c-d.e:T_1", "Registry.Example.com/a__b/c-d.e:T_1"),
    ],
)
def test_references(text: str, reference: str) -> None:
    assert images.reference(text) == reference


@pytest.mark.parametrize(
    "text", ["a" * 300, "a" * 100_000, "a-" * 250, "x:y:z", "a/", "/a", "a//b"]
)
def test_no_references(text: str) -> None:
    with pytest.raises(BadValueError):
        images.reference(text)


def _key(kind: str) -> str:
    blob = len(kind).to_bytes(4, "big") + kind.encode() + bytes(40)
    return f"{kind} {b64encode(blob).decode()}"


@pytest.mark.parametrize("kind", ssh_keys.TYPES)
def test_host_keys(kind: str) -> None:
    assert ssh_keys.host_key(_key(kind) + " root@h1\n") == _key(kind)


def test_two_lines_are_no_host_key() -> None:
    with pytest.raises(BadValueError):
        ssh_keys.host_key(f"{_key('ssh-rsa')}\n{_key('ssh-rsa')}")


def _tar(path: Path, **files: object) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name.replace("_json", ".json"))
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))


CONFIG = {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "a" * 64]}}


def _entry(**changes: object) -> dict[str, object]:
    return {"Config": "config.json", "RepoTags": ["busybox:1.36"], "Layers": []} | changes


def test_archive(tmp_path: Path) -> None:
    _tar(tmp_path / "b.tar", manifest_json=[_entry()], config_json=CONFIG, layer=bytes(1 << 20))
    found = saved_image("b.tar", tmp_path)
    assert found.ref == "busybox:1.36"
    assert found.archive == tmp_path / "b.tar"
    assert found.layers == ("sha256:" + "a" * 64,)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "is not an archive of `docker save`: 'manifest.json' is missing"),
        ({"manifest_json": b"{"}, "its 'manifest.json' is not valid JSON"),
        ({"manifest_json": b"[" * 100_000}, "its 'manifest.json' is not valid JSON"),
        ({"manifest_json": b" " * (5 << 20)}, "its 'manifest.json' is too large"),
        ({"manifest_json": {}}, "its manifest.json lists no images"),
        ({"manifest_json": [1]}, "its manifest.json lists no images"),
        ({"manifest_json": [_entry(), _entry()]}, "holds 2 images, not 1"),
        ({"manifest_json": [_entry()]}, "is not an archive of `docker save`: 'config.json' is"),
        (
            {"manifest_json": [_entry(Config=7)]},
            "is not an archive of `docker save`: '7' is missing",
        ),
        (
            {"manifest_json": [_entry(RepoTags=None)], "config_json": CONFIG},
            "its image has no name",
        ),
        ({"manifest_json": [_entry(RepoTags=["A B"])], "config_json": CONFIG}, "image 'A B' is no"),
        ({"manifest_json": [_entry()], "config_json": []}, "its configuration lists no layers"),
        ({"manifest_json": [_entry()], "config_json": {"rootfs": {"diff_ids": [1]}}}, "its config"),
    ],
)
def test_unusable_archives(tmp_path: Path, files: dict[str, object], told: str) -> None:
    _tar(tmp_path / "b.tar", **files)
    with pytest.raises(BadValueError) as caught:
        saved_image("b.tar", tmp_path)
    assert caught.value.message.startswith(f"archive 'b.tar': {told}")
    assert caught.value.hint


@pytest.mark.parametrize("raw", [b"", b"\x1f\x8b\x08", b"x" * 10_000, b"\xff" * 512])
def test_no_archives(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "b.tar").write_bytes(raw)
    with pytest.raises(BadValueError):
        saved_image("b.tar", tmp_path)


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    _tar(tmp_path / "b.tar", layer=bytes(4096), manifest_json=[_entry()], config_json=CONFIG)
    whole = (tmp_path / "b.tar").read_bytes()
    for length in range(0, 8192, 100):
        (tmp_path / "b.tar").write_bytes(whole[:length])
        try:
            assert saved_image("b.tar", tmp_path).ref == "busybox:1.36"
        except BadValueError:
            continue


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        (None, "h1 h2 h3 web-1 web-2"),
        ("all", "h1 h2 h3 web-1 web-2"),
        ("*", "h1 h2 h3 web-1 web-2"),
        ("h2", "h2"),
        ("h3,h1", "h1 h3"),
        ("h3:h1", "h1 h3"),
        ("edge", "h1 h3"),
        ("h*", "h1 h2 h3"),
        ("w*:!web-2", "web-1"),
        ("!web", "h1 h2 h3"),
        ("!web,all", "h1 h2 h3"),
        ("h*,&edge", "h1 h3"),
        ("&edge", "h1 h3"),
        ("h*:&edge:!h1", "h3"),
        ("!h1:h*:&edge", "h3"),
        ("h[12]", "h1 h2"),
        (" h1 , h2 ,", "h1 h2"),
    ],
)
def test_limit(pattern: str | None, hosts: str) -> None:
    assert " ".join(select(FLEET, pattern)) == hosts


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("h4", "no host or group matches 'h4'"),
        ("wbe", "no host or group matches 'wbe'"),
        ("x*", "no host or group matches 'x*'"),
        ("!h4", "no host or group matches 'h4'"),
        ("&h4", "no host or group matches 'h4'"),
        ("h1,!h1", "matches no host"),
        ("nobody", "matches no host"),
        ("", "matches no host"),
        (",", "matches no host"),
        ("!", "no host or group matches ''"),
    ],
)
def test_limit_refuses(pattern: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(FLEET, pattern)
    assert told in caught.value.message
    assert caught.value.hint
