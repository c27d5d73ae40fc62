"""Laws: a name in a file becomes the name of a file, link, chain or unit, and nothing else."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import tempfile
import types
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, BeforeValidator, TypeAdapter, ValidationError

from provision import methods
from provision.engine import desired
from provision.facts import host_probe
from provision.facts.host import HostFacts, Link
from provision.facts.nics import Nic
from provision.facts.peer_routes import PeerRoute, PeerRoutes
from provision.inventory.load import load
from provision.inventory.schema import network_document
from provision.methods.flannel.options import Etcd, Vni
from provision.methods.wireguard.options import WireguardHost
from provision.model import documents
from provision.model.errors import InventoryError
from provision.model.fields import names
from provision.model.findings import BadValueError
from provision.model.inventory import Inventory
from provision.resources.base import Resource
from provision.resources.kinds.binary import Binary
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.lib.nic_records import NicAddress
from provision.resources.steps import Attempt, Put, Steps, Unless, Upload
from tests.fakes import HOST

REFERENCES = {
    "ComposeDocument.hosts",
    "ComposeDocument.network",
    "ContainerDocument.depends_on",
    "ContainerDocument.host",
    "ContainerDocument.network",
    "ContainerDocument.interfaces.network",
    "ContainerDocument.networks",
    "ContainerDocument.networks.network",
    "TopDocument.hosts_from.only",
    "method",
    "hosts",
    "subnets",
    "etcd.members",
    "reflectors",
}
"""Texts without a form of their own: each must name a host, network or method that exists."""
ODD = [".", "..", "all", "default", "lo", "a/b", "../../../tmp/pwn", "br%d", "br 0", "br:0", "-x"]
ODD += [
    "a" * 16,
    "a" * 129,
    "br\n0",
    "$(id)",
    "`id`",
    "*",
    "[a]",
    "~",
    "'",
    '"',
    "\\",
    "",
    "é",
    "%n",
]
ODD += [
    "x.provision-ab12",
    "x.provision-new",
    "docker0",
    "provision-warm",
    "a\0b",
    "a;b",
    "..a",
    "a..",
]
NAME = st.sampled_from(ODD) | st.text(
    st.sampled_from("aZ0.-_/%:$ \n*'\"\\~é[]{}\0") | st.characters(exclude_categories=("Cs",)),
    max_size=18,
)
FORMS: dict[str, Callable[[str], str]] = {
    form.__name__: form
    for form in (
        names.inventory_name,
        names.host_name,
        names.network_name,
        names.container_name,
        names.container_interface,
        names.nic_name,
        names.bridge_name,
        names.access_interface,
        names.project_name,
        names.group_name,
    )
}
LINKS = ("container_interface", "nic_name", "bridge_name", "access_interface")


def texts(hint: Any, form: bool, path: str) -> Iterator[tuple[str, bool]]:
    """Each text in a document's type by path, and whether a validator checks it."""
    if get_origin(hint) is Annotated:
        inner, *metadata = get_args(hint)
        checked = any(isinstance(entry, AfterValidator | BeforeValidator) for entry in metadata)
        yield from texts(inner, form or checked, path)
    elif hint is str:
        yield path, form
    elif isinstance(hint, type) and issubclass(hint, BaseModel):
        for name, field in hint.model_fields.items():
            checked = any(isinstance(x, AfterValidator | BeforeValidator) for x in field.metadata)
            yield from texts(field.annotation, checked, f"{path}.{name}")
    elif get_origin(hint) is not Literal:
        same = get_origin(hint) in (Union, types.UnionType)
        for part in get_args(hint):
            yield from texts(part, form and same, path)


def test_every_text_of_a_file_has_a_form() -> None:
    """A text that no validator checks names something that the file declares."""
    top = (
        documents.TopDocument,
        documents.SshDocument,
        documents.HostSshDocument,
        documents.HostDocument,
        documents.ContainerDocument,
        documents.ComposeDocument,
    )
    unchecked = {
        path for doc in top for path, checked in texts(doc, False, doc.__name__) if not checked
    }
    for method in methods.names():
        found = texts(network_document(method), False, "")
        unchecked |= {path.removeprefix(".") for path, checked in found if not checked}
    assert unchecked == REFERENCES


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=300, deadline=None)
@given(text=NAME)
def test_an_accepted_name_needs_no_quotes_and_is_one_path_component(form: str, text: str) -> None:
    """Neither a shell, nor systemd, nor the kernel, nor a file system sees anything else in it."""
    try:
        name = FORMS[form](text)
    except BadValueError as error:
        assert str(error).isprintable()
        return
    assert name == text
    assert shlex.quote(name) == name and not re.search(r"[%:@*?\[\]]", name)
    assert PurePosixPath("/folder", name).parts == ("/", "folder", name) and name[0] not in ".-"
    assert len(name.encode()) <= 253
    if form in LINKS:
        assert len(name) <= 15 and name not in ("all", "default")
    if form == "container_name":
        assert not re.search(r"\.provision-[0-9a-f]+$", name)


@pytest.mark.parametrize("form", LINKS)
@pytest.mark.parametrize(
    "text", ["a/b", "../../../tmp/pwn", "br%d", "all", "default", ".", "..", "a" * 16, "a b", "a:b"]
)
def test_links_follow_the_kernels_rule(form: str, text: str) -> None:
    """Each of these made files outside their folder, another link, or failed half way."""
    with pytest.raises(BadValueError):
        FORMS[form](text)


def data(words: dict[str, str]) -> dict[str, Any]:
    """An inventory with a network of each kind; `words` are the names that it gives."""
    network = words["network"]
    interface = {"network": "lan", "name": words["interface"], "address": "10.78.0.99/24"}
    return {
        "name": words["name"],
        "hosts": {"h1": {"address": "10.78.0.11"}, words["host"]: {"address": "10.78.0.12"}},
        "networks": {
            "lan": {
                "method": "pipework",
                "cidr": "10.78.0.0/24",
                "bridge": words["bridge"],
                "nic": words["nic"],
                "host_port": "veth",
            },
            network: {"method": "vxlan", "cidr": "172.20.0.0/16"},
            "over": {"method": "flannel", "cidr": "172.16.0.0/16"},
            "tun": {"method": "ovs-gre", "cidr": "172.30.0.0/16"},
        },
        "containers": {
            words["container"]: {"host": "h1", "network": "none", "interfaces": [interface]}
        },
    }


def facts(inventory: Inventory, nic: str) -> dict[str, HostFacts]:
    """Hosts on one link, whose NIC has the name `nic`."""
    result = {}
    for name, host in inventory.hosts.items():
        base = host_probe.parse(name, HOST)
        interface = IPv4Interface(f"{host.address}/24")
        route = PeerRoute(nic, None)
        result[name] = HostFacts(
            **{key: getattr(base, key) for key in ("host", "systemd", "uid", "docker", "tools")},
            docker_error="",
            live_restore=False,
            rootless=False,
            links={nic: Link(nic, 1500, (interface,))},
            peer_routes=PeerRoutes.of({peer.address: route for peer in inventory.hosts.values()}),
            routes=(),
            nics={
                nic: Nic(
                    nic,
                    mac="0a:00:00:00:00:01",
                    managers=("systemd-networkd",),
                    network=f"[Match]\nName={nic}\n",
                    addresses=(NicAddress(str(IPv4Address(host.address)), 24),),
                )
            },
        )
    return result


def paths(steps: Steps) -> Iterator[str]:
    """Every file that steps write, nested steps included."""
    for step in steps:
        match step:
            case Put(path) | Upload(_, path):
                yield path
            case Unless(_, inner, _) | Attempt(inner, _):
                yield from paths(inner)


def written(resource: Resource) -> Iterator[str]:
    if not (isinstance(resource, Binary) and resource.source is None):
        yield from paths(resource.create())


WORDS = {
    "name": st.sampled_from(["demo", "a-b", "a"]),
    "network": st.sampled_from(["blue", "b-c"]),
    "host": st.sampled_from(["h2", "h2.example.org"]),
    "bridge": st.sampled_from(["bri0", "b.0", "bri-nic"]),
    "nic": st.sampled_from(["eth1", "eth1.100"]),
    "interface": st.sampled_from(["eth1", "net0"]),
    "container": st.sampled_from(["web", "w..b", "docker_bri1"]),
}


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries(WORDS),
    st.sampled_from(sorted(WORDS)),
    st.none() | NAME,
)
@example(dict.fromkeys(WORDS, "eth1") | {"host": "h2"}, "bridge", "../../../tmp/pwn")
def test_files_of_any_inventory_stay_in_our_folders(
    words: dict[str, str], key: str, odd: str | None
) -> None:
    """Whatever one name is, each file is one that belongs to the inventory, and links are links."""
    words |= {} if odd is None else {key: odd}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inventory.yml")
        path.write_text(json.dumps(data(words)))
        try:
            inventory = load(path)
        except InventoryError:
            return
    wanted = desired.wanted(inventory, facts(inventory, words["nic"]))
    name = re.escape(inventory.name)
    ours = re.compile(
        rf"/etc/provision/{name}/.+|/var/lib/provision/(was|bin)/{name}/.+"
        rf"|/etc/systemd/network/05-provision-{name}-[^/]+"
        rf"|/etc/systemd/system/provision-{name}-[^/]+\.service"
        rf"|/var/lib/provision-[a-z]+/{name}/.+|/etc/provision/{name}\.[a-z]+"
    )
    for resource in wanted.values():
        for file in written(resource):
            assert ours.fullmatch(file) and ".." not in PurePosixPath(file).parts, file
        for link in resource.names():
            assert link.startswith("/") or is_link(link), link
        if isinstance(resource, IptablesChain):
            assert len(resource.chain) <= 28


def is_link(name: str) -> bool:
    """The kernel's rule for names of interfaces, without what it would fill in."""
    return len(name) <= 15 and name not in (".", "..") and not re.search(r"[\s/:%]", name)


def test_the_devices_of_flannel_are_links() -> None:
    """Their names have the number of the network, which VXLAN would let have eight digits."""
    vni = TypeAdapter(Vni)
    numbers = [10**k + less for k in range(9) for less in (-1, 0)]
    accepted = []
    for number in numbers:
        with contextlib.suppress(ValidationError):
            accepted.append(vni.validate_python(number))
    assert 10**7 - 1 in accepted
    assert all(is_link(f"flannel.{number}") for number in accepted)


@pytest.mark.parametrize(
    "text", ["5_1", "+5", " 5", "5 ", "\n5", "٣", "0", "65536", "", "9" * 5000, "5:5", "\x1b[31m"]
)
def test_an_endpoint_of_wireguard_has_a_port(text: str) -> None:
    """The text lands in a file that `wg` reads: what Python takes for a number is not enough."""
    with pytest.raises(ValidationError) as caught:
        WireguardHost(endpoint=f"203.0.113.7:{text}")
    (error,) = caught.value.errors()
    assert str(error["ctx"]["error"]).isprintable() and len(str(error["ctx"]["error"])) < 120
    assert WireguardHost(endpoint="203.0.113.7:51820").endpoint == "203.0.113.7:51820"


@pytest.mark.parametrize("text", ["/a/../b", "/.", "/..", "/a/.", "//", "/a/", "a"])
def test_a_prefix_in_etcd_has_no_part_that_flanneld_resolves(text: str) -> None:
    """flanneld would read other keys than those that are written."""
    with pytest.raises(ValidationError):
        Etcd(prefix=text)
    assert Etcd(prefix="/a/..b/c.d").prefix == "/a/..b/c.d"
