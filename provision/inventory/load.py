"""Load an inventory file: an `Inventory`, or every finding about it at once.

Reads the named file, the SSH keys and image archives that it names, and the Ansible inventory of
`hosts_from`. Contacts no host.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from provision.inventory.ansible_hosts import merge_hosts_from
from provision.inventory.build import build
from provision.inventory.compose.merge import merge_compose
from provision.inventory.decode import decode
from provision.inventory.named_files import NamedFiles
from provision.inventory.rules import networks
from provision.inventory.rules.subnets import lay_out
from provision.inventory.source_text import file_text
from provision.inventory.unused import without
from provision.inventory.yaml_reader import Node, read
from provision.model.documents import Decoded, Layout
from provision.model.errors import InventoryError
from provision.model.findings import (
    KEY,
    BadValueError,
    Finding,
    FindingError,
    Position,
    in_file_order,
)
from provision.model.inventory import Guest, Inventory
from provision.model.text import single_line

MAX_FINDINGS = 10_000
"""The rules' findings of one file. The nearest of 20,000 names takes some ms to look up: for
100,000 unknown names, that would be minutes."""


def load(path: Path) -> Inventory:
    """Load the inventory in a file. Raises InventoryError with all findings in file order."""
    root, yaml_findings = _yaml(path)
    data, compose = merge_compose(root.plain(), path, root)
    data, ansible = merge_hosts_from(data, path)
    if ansible.unreadable:
        own_findings = (*compose.own_findings, *ansible.own_findings)
        ours = [*yaml_findings, *_located(path, root, own_findings)]
        raise InventoryError((*in_file_order(ours), *ansible.findings, *compose.findings))
    checked = _check(data, path)
    left_out = ansible.left_out(data, root, checked.findings)
    if left_out.hosts or left_out.groups:
        data, ansible = without(data, left_out.hosts, left_out.groups), ansible.without(left_out)
        checked = _check(data, path)
    theirs = [finding for finding in checked.findings if ansible.owns(finding.loc, root)]
    names = frozenset(checked.decoded.declared["hosts"])
    shared = [finding for finding in theirs if _is_shared_name(finding, names)]
    theirs = [finding for finding in theirs if not _is_shared_name(finding, names)]
    mistakes = [finding for finding in checked.findings if not ansible.owns(finding.loc, root)]
    mistakes = compose.without_theirs(mistakes)
    mistakes = [*ansible.own_findings, *compose.own_findings, *mistakes]
    # An entry of `compose` may be what is wrong with a container: its host or its network.
    in_ours, in_compose = compose.by_file(checked.findings, path)
    located = (
        *in_file_order((*yaml_findings, *in_ours, *_located(path, root, mistakes))),
        *ansible.reported,
        *ansible.located(theirs),
        *in_file_order(in_compose),
    )
    if located:
        raise InventoryError(tuple(each for each in located if each.hosts <= names) or located)
    inventory = build(path, checked.decoded, checked.layout, checked.files)
    remarks = (
        *(f"{host} is left out: {finding}" for host, (finding, *_) in left_out.hosts.items()),
        *(
            f"{finding.position}: {finding.message}, which counts alone"
            for finding in ansible.located(shared)
        ),
    )
    notes = (note for host in inventory.hosts for note in ansible.notes.get(host, ()))
    return replace(
        inventory,
        sources=ansible.files,
        left_out=left_out.hosts,
        remarks=remarks,
        notes=(*ansible.ignored, *notes, *compose.notes),
        secrets=(*inventory.secrets, *compose.secrets),
        guests=MappingProxyType(
            {name: _located_guest(g, path, root) for name, g in inventory.guests.items()}
        ),
    )


def _located_guest(guest: Guest, path: Path, root: Node) -> Guest:
    """A guest with its line: some of its mistakes are known only when its host is asked."""
    position = Position(Path(path.name), *root.locate(("guests", guest.name, KEY)))
    return replace(guest, position=str(position))


def _is_shared_name(finding: Finding, hosts: Collection[str]) -> bool:
    """True for an imported group that has the name of a host, which Ansible accepts."""
    section, *rest = finding.loc
    return section == "groups" and rest[1:] == [KEY] and rest[0] in hosts


@dataclass(frozen=True, slots=True)
class _Checked:
    """The data of an inventory, decoded, and the findings about it."""

    decoded: Decoded
    layout: Layout
    files: NamedFiles
    findings: tuple[Finding, ...]


def _check(data: Any, path: Path) -> _Checked:
    decoded = decode(data)
    layout = lay_out(decoded)
    files = NamedFiles(decoded, path.parent)
    rules = tuple(_first(networks.findings(decoded, layout)))
    return _Checked(decoded, layout, files, (*decoded.findings, *rules, *files.findings))


def _yaml(path: Path) -> tuple[Node, tuple[Finding, ...]]:
    """The root node of a file, and findings that leave its values usable (duplicate keys)."""
    try:
        text = file_text(path)
    except BadValueError as error:
        raise InventoryError((Finding((), error.message, error.hint, Position(path)),)) from error
    except FindingError as error:
        raise InventoryError((error.finding,)) from error
    document = read(path, text)
    if document.root is None:
        raise InventoryError(document.findings)
    return document.root, document.findings


def _first(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the first findings, and one that says that there are more."""
    iterator = iter(findings)
    yield from islice(iterator, MAX_FINDINGS)
    if next(iterator, None) is not None:
        message = f"there are more than {MAX_FINDINGS:,} mistakes of this kind"
        yield Finding((), message, "mend the others first")


def _located(path: Path, root: Node, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Findings with the positions of their entries, as printable lines."""
    for finding in findings:
        message, hint = single_line(finding.message), single_line(finding.hint)
        position = Position(path, *root.locate(finding.loc))
        yield replace(finding, message=message, hint=hint, position=position)
