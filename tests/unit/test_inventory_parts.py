"""Parts of an inventory: names, subnets, suggestions, image archives, host keys, --limit."""

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


def test_a_range_is_divided_into_blocks() -> None:
    """Blocks are the subnets of hosts, and their first address is the gateway."""
    cidr = IPv4Network("172.20.0.0/16")
    assert names.block_count(cidr, 24) == 256
    assert names.block_count(cidr, 12) == 0
    assert names.nth_block(cidr, 24, 255) == IPv4Network("172.20.255.0/24")
    assert names.gateway(IPv4Network("172.20.1.0/24")) == IPv4Address("172.20.1.1")
    assert names.container_capacity(IPv4Network("172.20.1.0/29")) == 5


def test_names_on_hosts_never_change() -> None:
    """Another hash would leave the links and chains of the earlier version on hosts."""
    assert names.interface_name("br-", "demo", "blue") == "br-blue-v242wt"
    assert names.chain_name("demo", "blue") == "PROV-demo-blue-v242wt"
    assert names.host_veth_name("demo", "web", "eth1") == "pw-web-vybjw7"


def test_hashed_numbers_on_hosts_never_change() -> None:
    """Hosts have these values since version 0.1.0."""
    assert names.hashed_mac("demo", "web", "eth1") == "02:b7:06:ba:f0:27"
    assert names.hashed_mac("x") == "02:2d:71:16:42:b7"
    assert names.hashed_mac("m eth0", first_byte=0x0A) == "0a:9c:dd:a3:2f:93"
    assert names.vtep_mac("demo", "blue", "h1") == "0a:e4:58:f1:d4:cc"
    assert names.default_vni("demo", "blue") == 4198637


@pytest.mark.parametrize("network", ["a", "abcdefghijklmno", "a-b-c-d-e-f-g-h"])
def test_names_fit_the_limits_of_the_kernel(network: str) -> None:
    """An interface name has at most 15 characters, a chain name at most 28."""
    assert len(names.interface_name("prefix", "abcdefghij", network)) <= 15
    assert len(names.chain_name("abcdefghij", network)) <= 28


def test_different_networks_have_different_names() -> None:
    """Even if the joined or shortened names are equal."""
    pairs = [("a", "b-c"), ("a-b", "c"), ("demo", "x" * 14 + "1"), ("demo", "x" * 14 + "2")]
    assert len({names.chain_name(*pair) for pair in pairs}) == 4
    assert len({names.interface_name("br-", *pair) for pair in pairs}) == 4


def test_addresses_and_ranges_are_parsed() -> None:
    """Each text becomes a value of `ipaddress`."""
    assert addresses.ipv4("169.254.1.1") == IPv4Address("169.254.1.1")
    assert addresses.cidr("10.0.0.0/8") == IPv4Network("10.0.0.0/8")
    assert addresses.cidr("10.0.0.8/29") == IPv4Network("10.0.0.8/29")


@pytest.mark.parametrize(
    ("text", "suggestion"),
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
def test_a_similar_name_is_suggested(text: str, suggestion: str | None) -> None:
    """No name is suggested for a text that resembles none."""
    known = ("vxlan", "address", "network", "subnet_size", "container")
    assert suggest.nearest(text, known) == suggestion


def test_the_known_keys_of_any_mapping_are_listed() -> None:
    """The mapping may be in a list, a union, a dataclass, or a key of a method, such as `etcd`."""
    assert known_keys(ContainerDocument, ("image",)) == ("archive",)
    assert known_keys(ContainerDocument, ("interfaces", 3, "rules", 0)) == (
        "source",
        "to",
        "table",
        "priority",
    )
    etcd = known_keys(network_document("flannel"), ("etcd",))
    own = ("members", "prefix", "client_port", "peer_port")
    assert etcd == (*own, "endpoints", "ca", "cert", "key")
    assert known_keys(ContainerDocument, ("env", "A")) == ("file", "from_env")


def test_quoted_text_is_one_printable_line() -> None:
    """Control characters are escaped, and long text is cut."""
    text = quoted("a\nb\x1b[31m\0\u202e" + "x" * 100)
    assert text.startswith(r"'a\nb\x1b[31m\x00\u202exxx")
    assert text.endswith("…'")
    assert text.isprintable()


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
def test_an_image_reference_gets_its_default_tag(text: str, reference: str) -> None:
    """Docker means the tag `latest` if there is none."""
    assert images.reference(text) == reference


@pytest.mark.parametrize(
    "text", ["a" * 300, "a" * 100_000, "a-" * 250, "x:y:z", "a/", "/a", "a//b"]
)
def test_an_invalid_image_reference_is_refused(text: str) -> None:
    """Long texts are refused quickly, too."""
    with pytest.raises(BadValueError):
        images.reference(text)


def _key(kind: str) -> str:
    """A public key of a type, as known_hosts has it."""
    blob = len(kind).to_bytes(4, "big") + kind.encode() + bytes(40)
    return f"{kind} {b64encode(blob).decode()}"


@pytest.mark.parametrize("kind", ssh_keys.TYPES)
def test_a_host_key_of_each_type_is_accepted(kind: str) -> None:
    """Its comment is left out."""
    assert ssh_keys.host_key(_key(kind) + " root@h1\n") == _key(kind)


def test_two_host_keys_are_refused() -> None:
    """`host_key` is one line."""
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


def test_an_image_archive_has_its_name_and_layers(tmp_path: Path) -> None:
    """They come from the archive's manifest and configuration."""
    _tar(tmp_path / "b.tar", manifest_json=[_entry()], config_json=CONFIG, layer=bytes(1 << 20))
    image = saved_image("b.tar", tmp_path)
    assert image.ref == "busybox:1.36"
    assert image.archive == tmp_path / "b.tar"
    assert image.layers == ("sha256:" + "a" * 64,)


@pytest.mark.parametrize(
    ("files", "message"),
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
def test_an_unusable_archive_is_refused(
    tmp_path: Path, files: dict[str, object], message: str
) -> None:
    """The error has its reason and a hint."""
    _tar(tmp_path / "b.tar", **files)
    with pytest.raises(BadValueError) as caught:
        saved_image("b.tar", tmp_path)
    assert caught.value.message.startswith(f"archive 'b.tar': {message}")
    assert caught.value.hint


@pytest.mark.parametrize("raw", [b"", b"\x1f\x8b\x08", b"x" * 10_000, b"\xff" * 512])
def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path, raw: bytes) -> None:
    """Whatever bytes it has."""
    (tmp_path / "b.tar").write_bytes(raw)
    with pytest.raises(BadValueError):
        saved_image("b.tar", tmp_path)


def test_an_incomplete_archive_is_refused_or_read(tmp_path: Path) -> None:
    """The only error is BadValueError, at whatever byte the file ends."""
    _tar(tmp_path / "b.tar", layer=bytes(4096), manifest_json=[_entry()], config_json=CONFIG)
    complete = (tmp_path / "b.tar").read_bytes()
    for length in range(0, 8192, 100):
        (tmp_path / "b.tar").write_bytes(complete[:length])
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
def test_a_limit_selects_hosts_in_the_order_of_the_file(pattern: str | None, hosts: str) -> None:
    """Names, groups, wildcards, intersections and exclusions."""
    assert " ".join(select(FLEET, pattern)) == hosts


@pytest.mark.parametrize(
    ("pattern", "message"),
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
def test_a_limit_that_matches_no_host_is_refused(pattern: str, message: str) -> None:
    """So is a part of it that names no host or group."""
    with pytest.raises(UsageError) as caught:
        select(FLEET, pattern)
    assert message in caught.value.message
    assert caught.value.hint
