"""Load an inventory file: an `Inventory`, or every finding about it at once.

Reads the named file, the SSH keys and image archives that it names, and the Ansible inventory of
`hosts_from`. Contacts no host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from provision import methods
from provision.inventory.ansible_hosts import merge_hosts_from
from provision.inventory.decode import decode
from provision.inventory.rules import interfaces, networks
from provision.inventory.rules.subnets import lay_out
from provision.inventory.yaml_reader import Node, read
from provision.model.documents import ContainerDocument, Decoded, Layout
from provision.model.errors import InventoryError
from provision.model.fields import containers, images, ssh_keys
from provision.model.fields.files import read_regular
from provision.model.findings import (
    BadValueError,
    Finding,
    FindingError,
    Loc,
    Position,
    in_file_order,
)
from provision.model.inventory import (
    Container,
    Host,
    Image,
    Inventory,
    LocalBinary,
    MethodOptions,
    Network,
    Port,
    Ssh,
)
from provision.model.text import single_line

MAX_BYTES = 1 << 20
# busybox alone runs a shell, which ends at once without input. Its sleep knows `infinity`:
# tried with Debian's busybox 1.35, 1.37 and 1.38.
SLEEP = ("sleep", "infinity")
# Control characters, and line ends of YAML 1.1 that editors do not count as such (a lone CR, NEL,
# U+2028, U+2029): after one of these, the line numbers of findings would be wrong.
_FORBIDDEN = re.compile(
    r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\r(?!\n)"
)
_T = TypeVar("_T")


def load(path: Path) -> Inventory:
    """Load the inventory in a file. Raises InventoryError with all findings in file order."""
    root, yaml_findings = _yaml(path)
    data, ansible = merge_hosts_from(root.plain(), path.parent)
    if ansible.unreadable:
        own = _located(path, root, ansible.own_findings)
        raise InventoryError((*in_file_order((*yaml_findings, *own)), *ansible.findings))
    decoded = decode(data)
    layout = lay_out(decoded)
    files = _Files(decoded, path.parent)
    findings = (*decoded.findings, *networks.findings(decoded, layout), *files.findings)
    ours = [finding for finding in findings if not ansible.owns(finding.loc, root)]
    theirs = [finding for finding in findings if ansible.owns(finding.loc, root)]
    located = (
        *in_file_order((*yaml_findings, *_located(path, root, ours))),
        *ansible.findings,
        *ansible.located(theirs),
    )
    if located:
        raise InventoryError(located)
    return _inventory(path, decoded, layout, files)


def _yaml(path: Path) -> tuple[Node, tuple[Finding, ...]]:
    """The root node of a file, and findings that leave its values usable (duplicate keys)."""
    try:
        text = _decoded(path, read_regular(path, MAX_BYTES))
    except BadValueError as error:
        raise InventoryError((Finding((), error.message, error.hint, Position(path)),)) from error
    except FindingError as error:
        raise InventoryError((error.finding,)) from error
    document = read(path, text)
    if document.root is None:
        raise InventoryError(document.findings)
    return document.root, document.findings


def _located(path: Path, root: Node, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Findings with the positions of their entries, as printable lines."""
    for finding in findings:
        message, hint = single_line(finding.message), single_line(finding.hint)
        position = Position(path, *root.locate(finding.loc))
        yield replace(finding, message=message, hint=hint, position=position)


def _decoded(path: Path, raw: bytes) -> str:
    """The text of a file. Raises BadValueError or FindingError unless it is plain UTF-8."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadValueError("is UTF-16", "save it as UTF-8")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        position = _end(path, raw[: error.start].decode())
        raise FindingError.at(position, "this is not UTF-8", "save it as UTF-8") from error
    if text.startswith("\ufeff"):
        raise BadValueError("begins with a byte order mark", "save it as UTF-8 without one")
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        name = f"control character U+{ord(forbidden[0]):04X}"
        position = _end(path, text[: forbidden.start()])
        raise FindingError.at(position, f"{name} is not allowed", "remove it")
    return text


def _end(path: Path, text: str) -> Position:
    """The position right after `text`, the beginning of a file."""
    return Position(path, text.count("\n") + 1, len(text) - text.rfind("\n"))


class _Files:
    """Keys, programs and image archives that an inventory names; each file is read once."""

    def __init__(self, decoded: Decoded, folder: Path) -> None:
        self.folder = folder
        self.findings: list[Finding] = []
        self.key = self._key(decoded.ssh.key, ("ssh", "key"))
        self.host_keys = {
            name: self._key(ssh.key, ("hosts", name, "ssh", "key"))
            for name, ssh in decoded.host_ssh.items()
        }
        self.of_networks = {
            name: self._of_network(name, network.method, decoded.options[name])
            for name, network in decoded.networks.items()
        }
        self.archives: dict[str, Image | BadValueError] = {}
        for name, container in decoded.containers.items():
            if container.image is not None and not isinstance(container.image, str):
                self._archive(name, container.image.archive)

    def _key(self, text: str | None, loc: Loc) -> Path | None:
        try:
            return None if text is None else ssh_keys.private_key(text, self.folder)
        except BadValueError as error:
            self.findings.append(Finding(loc, error.message, error.hint))
            return None

    def _of_network(
        self, network: str, method: str, options: MethodOptions
    ) -> dict[str, LocalBinary]:
        """The controller's files that a network's hosts get, by the option that names them."""
        files: dict[str, LocalBinary] = {}
        for option, file in methods.named(method).controller_files(options, self.folder).items():
            if isinstance(file, BadValueError):
                loc = ("networks", network, option)
                self.findings.append(Finding(loc, file.message, file.hint))
            else:
                files[option] = file
        return files

    def _archive(self, container: str, text: str) -> None:
        if text not in self.archives:
            self.archives[text] = self._image(text)
        error = self.archives[text]
        if isinstance(error, BadValueError):
            loc = ("containers", container, "image", "archive")
            self.findings.append(Finding(loc, error.message, error.hint))

    def _image(self, text: str) -> Image | BadValueError:
        from provision.model.fields.image_archives import saved_image

        try:
            return saved_image(text, self.folder)
        except BadValueError as error:
            return error

    def image(self, container: ContainerDocument) -> Image:
        """The image of a container; busybox where the file names none."""
        if container.image is None or isinstance(container.image, str):
            return Image(container.image or images.DEFAULT)
        image = self.archives[container.image.archive]
        assert isinstance(image, Image)  # otherwise `findings` is not empty
        return image


def _inventory(path: Path, decoded: Decoded, layout: Layout, files: _Files) -> Inventory:
    return Inventory(
        name=decoded.name,
        path=path,
        packages=decoded.packages,
        hosts=_frozen(
            {
                name: Host(name, host.address, host.nic, host.host_key, _ssh(name, decoded, files))
                for name, host in decoded.hosts.items()
            }
        ),
        groups=_frozen(
            {name: tuple(dict.fromkeys(members)) for name, members in decoded.groups.items()}
        ),
        networks=_frozen(
            {name: _network(name, decoded, layout, files) for name in decoded.networks}
        ),
        containers=_frozen(
            {
                name: _container(name, c, files, decoded.name)
                for name, c in decoded.containers.items()
            }
        ),
    )


def _ssh(host: str, decoded: Decoded, files: _Files) -> Ssh:
    """The login of one host: its own `ssh`, then the `ssh` of all hosts, key by key."""
    common, special = decoded.ssh, decoded.host_ssh.get(host)
    if special is None:
        return Ssh(common.user, files.key, common.port, common.jump, common.sudo)
    return Ssh(
        user=special.user or common.user,
        key=files.host_keys[host] or files.key,
        port=special.port or common.port,
        jump=special.jump or common.jump,
        sudo=common.sudo if special.sudo is None else special.sudo,
        address=special.address,
    )


def _frozen(mapping: dict[str, _T]) -> Mapping[str, _T]:
    return MappingProxyType(mapping)


def _network(name: str, decoded: Decoded, layout: Layout, files: _Files) -> Network:
    document = decoded.networks[name]
    return Network(
        name=name,
        method=document.method,
        cidr=document.cidr,
        subnets=_frozen(dict(layout.subnets[name])),
        mtu=document.mtu,
        egress=document.egress,
        options=decoded.options[name],
        files=_frozen(files.of_networks[name]),
    )


def _ports(document: ContainerDocument) -> Iterator[Port]:
    for text in document.ports:
        yield from containers.ports(text)


def _container(name: str, document: ContainerDocument, files: _Files, inventory: str) -> Container:
    image = files.image(document)
    default = SLEEP if image.ref == images.DEFAULT else ()
    return Container(
        name=name,
        host=document.host,
        network=document.network,
        image=image,
        command=default if document.command is None else tuple(document.command),
        address=document.address,
        restart=document.restart,
        env=tuple(sorted(document.env.items())),
        volumes=tuple(sorted(document.volumes)),
        ports=tuple(sorted(_ports(document), key=str)),
        mac=document.mac,
        interfaces=tuple(interfaces.interfaces(inventory, name, document)),
    )
