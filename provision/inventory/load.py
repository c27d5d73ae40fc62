"""An inventory's file → `Inventory`, or every finding about it at once.

Reads the named file, its ssh key and its image archives; contacts no host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from provision.inventory.ansible_hosts import with_others
from provision.inventory.decode import decode
from provision.inventory.rules import interfaces, networks
from provision.inventory.rules.subnets import layout
from provision.inventory.yaml_reader import Node, Remark, read
from provision.model.documents import ContainerDocument, Decoded, Layout
from provision.model.errors import Finding, InventoryError
from provision.model.fields import containers, images, ssh_keys
from provision.model.fields.files import content
from provision.model.findings import Complaint, Loc, Wrong, line
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

LARGEST = 1 << 20
SLEEP = ("sleep", "infinity")  # seen with Debian's busybox 1.35, 1.37 and 1.38
# Also what YAML 1.1 takes for the end of a line and editors do not: lines would be counted wrong.
_UNPRINTABLE = re.compile(
    r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\r(?!\n)"
)
_T = TypeVar("_T")


def load(path: Path) -> Inventory:
    """The inventory in a file; raises InventoryError with all findings in file order."""
    try:
        text = _text(content(path, LARGEST))
    except Wrong as error:
        raise InventoryError((Finding(path, 0, 0, error.message, error.hint),)) from error
    except _Misplaced as error:
        raise InventoryError((_finding(path, error.remark),)) from error
    reading = read(text)
    if reading.root is None:
        raise InventoryError(tuple(_finding(path, remark) for remark in reading.remarks))
    data, others = with_others(reading.root.plain(), path.parent)
    if others.unread:
        here = _placed(reading.root, others.complaints)
        told = [_finding(path, one) for one in sorted({*reading.remarks, *here})]
        raise InventoryError((*told, *others.troubles))
    decoded = decode(data)
    laid = layout(decoded)
    files = _Files(decoded, path.parent)
    complaints = (
        *decoded.complaints,
        *networks.complaints(decoded, laid),
        *files.complaints,
        *others.complaints,
    )
    near: list[Complaint] = []
    afar: list[Complaint] = []
    for one in complaints:
        (afar if others.place(one.loc, reading.root) else near).append(one)
    findings = [
        *(_finding(path, one) for one in sorted({*reading.remarks, *_placed(reading.root, near)})),
        *others.findings(afar),
    ]
    if findings:
        raise InventoryError(tuple(findings))
    return _inventory(path, decoded, laid, files)


class _Misplaced(Exception):
    def __init__(self, remark: Remark) -> None:
        self.remark = remark


def _finding(path: Path, remark: Remark) -> Finding:
    return Finding(path, *remark)


def _placed(root: Node, complaints: Iterable[Complaint]) -> list[Remark]:
    return [Remark(*root.place(c.loc), line(c.message), line(c.hint)) for c in complaints]


def _text(raw: bytes) -> str:
    """The file as text without what no editor should have written."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Wrong("is UTF-16", "save it as UTF-8")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        head = raw[: error.start].decode()
        raise _misplaced(head, "this is not UTF-8", "save it as UTF-8") from error
    if text.startswith("\ufeff"):
        raise Wrong("begins with a byte order mark", "save it as UTF-8 without one")
    unfit = _UNPRINTABLE.search(text)
    if unfit:
        name = f"control character U+{ord(unfit[0]):04X}"
        raise _misplaced(text[: unfit.start()], f"{name} is not allowed", "remove it")
    return text


def _misplaced(head: str, message: str, hint: str) -> _Misplaced:
    row = head.count("\n") + 1
    return _Misplaced(Remark(row, len(head) - head.rfind("\n"), message, hint))


class _Files:
    """What the files that an inventory names turn out to be; each is read once."""

    def __init__(self, decoded: Decoded, folder: Path) -> None:
        self.folder = folder
        self.complaints: list[Complaint] = []
        self.key = self._key(decoded.ssh.key, ("ssh", "key"))
        self.host_keys = {
            name: self._key(ssh.key, ("hosts", name, "ssh", "key"))
            for name, ssh in decoded.host_ssh.items()
        }
        self.programs = {name: self._program(name, o) for name, o in decoded.options.items()}
        self.archives: dict[str, Image | Wrong] = {}
        for name, container in decoded.containers.items():
            if container.image is not None and not isinstance(container.image, str):
                self._archive(name, container.image.archive)

    def _key(self, text: str | None, loc: Loc) -> Path | None:
        try:
            return None if text is None else ssh_keys.private_key(text, self.folder)
        except Wrong as error:
            self.complaints.append(Complaint(loc, error.message, error.hint))
            return None

    def _program(self, network: str, options: MethodOptions) -> LocalBinary | None:
        """What a network's hosts are to run, where its method has them run something."""
        if not hasattr(options, "flanneld"):
            return None
        from provision.methods.flannel import binary

        try:
            named: str | None = options.flanneld
            return binary.cached() if named is None else binary.file(named, self.folder)
        except Wrong as error:
            loc = ("networks", network, "flanneld")
            self.complaints.append(Complaint(loc, error.message, error.hint))
            return None

    def _archive(self, container: str, text: str) -> None:
        if text not in self.archives:
            self.archives[text] = self._image(text)
        found = self.archives[text]
        if isinstance(found, Wrong):
            loc = ("containers", container, "image", "archive")
            self.complaints.append(Complaint(loc, found.message, found.hint))

    def _image(self, text: str) -> Image | Wrong:
        from provision.model.fields.image_archives import saved_image

        try:
            return saved_image(text, self.folder)
        except Wrong as error:
            return error

    def image(self, container: ContainerDocument) -> Image:
        if container.image is None or isinstance(container.image, str):
            return Image(container.image or images.DEFAULT)
        found = self.archives[container.image.archive]
        assert isinstance(found, Image)
        return found


def _inventory(path: Path, decoded: Decoded, laid: Layout, files: _Files) -> Inventory:
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
        networks=_frozen({name: _network(name, decoded, laid, files) for name in decoded.networks}),
        containers=_frozen(
            {
                name: _container(name, c, files, decoded.name)
                for name, c in decoded.containers.items()
            }
        ),
    )


def _ssh(host: str, decoded: Decoded, files: _Files) -> Ssh:
    """How to log in to one host: its own words before those for all."""
    every = decoded.ssh
    ssh = Ssh(every.user, files.key, every.port, every.jump, every.sudo)
    own = decoded.host_ssh.get(host)
    if own is None:
        return ssh
    return Ssh(
        user=own.user or ssh.user,
        key=files.host_keys[host] or ssh.key,
        port=own.port or ssh.port,
        jump=own.jump or ssh.jump,
        sudo=ssh.sudo if own.sudo is None else own.sudo,
        address=own.address,
    )


def _frozen(mapping: dict[str, _T]) -> Mapping[str, _T]:
    return MappingProxyType(mapping)


def _network(name: str, decoded: Decoded, laid: Layout, files: _Files) -> Network:
    document = decoded.networks[name]
    return Network(
        name=name,
        method=document.method,
        cidr=document.cidr,
        subnets=_frozen(dict(laid.subnets[name])),
        mtu=document.mtu,
        egress=document.egress,
        options=decoded.options[name],
        program=files.programs[name],
    )


def _ports(document: ContainerDocument) -> Iterator[Port]:
    for text in document.ports:
        yield from containers.ports(text)


def _container(name: str, document: ContainerDocument, files: _Files, inventory: str) -> Container:
    found = files.image(document)
    # Busybox alone would be a shell without input, which ends at once and restarts for ever.
    own = SLEEP if found.ref == images.DEFAULT else ()
    return Container(
        name=name,
        host=document.host,
        network=document.network,
        image=found,
        command=own if document.command is None else tuple(document.command),
        address=document.address,
        restart=document.restart,
        env=tuple(sorted(document.env.items())),
        volumes=tuple(sorted(document.volumes)),
        ports=tuple(sorted(_ports(document), key=str)),
        mac=document.mac,
        interfaces=tuple(interfaces.interfaces(inventory, name, document)),
    )
