"""`hosts_from`: merge the hosts and groups of an Ansible inventory with those of our own file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.model.fields.files import resolve
from provision.model.findings import (
    KEY,
    BadValueError,
    Finding,
    FindingError,
    Loc,
    Position,
)
from provision.model.text import quoted, single_line

if TYPE_CHECKING:
    from provision.inventory.yaml_reader import Node


@dataclass(frozen=True, slots=True)
class AnsibleEntries:
    """Positions of the hosts and groups that Ansible's inventory defines, and its mistakes."""

    positions: Mapping[Loc, Position] = field(default_factory=dict)
    own_findings: tuple[Finding, ...] = ()
    """Findings about the key `hosts_from` in our own file."""
    findings: tuple[Finding, ...] = ()
    """Findings about Ansible's files, with their positions."""
    unreadable: bool = False
    """No host of Ansible's inventory is known; other checks would only report that."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that define the hosts and groups."""
        return tuple(sorted({position.path for position in self.positions.values()}))

    def owns(self, loc: Loc, root: Node) -> bool:
        """True if only Ansible's inventory defines the entry that `loc` leads to."""
        if loc[:2] not in self.positions:
            return False
        section = root.value.get(str(loc[0])) if isinstance(root.value, dict) else None
        entries = section.value.value if section else None
        return not (isinstance(entries, dict) and loc[1] in entries)

    def located(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """Findings about entries that Ansible's inventory defines, with their positions."""
        for finding in findings:
            hint = finding.hint
            if finding.loc[-2:] == ("address", KEY):
                host = finding.loc[1]
                hint = f"set ansible_host, or in our file hosts: {{{host}: {{address: …}}}}"
            located = replace(finding, hint=hint, position=self.positions[finding.loc[:2]])
            yield _printable(located)


def merge_hosts_from(data: Any, folder: Path) -> tuple[Any, AnsibleEntries]:
    """The data of a file together with the inventory that its key `hosts_from` names, if any.

    `folder` is that of the file; `hosts_from` is relative to it.
    """
    text = data.get("hosts_from") if isinstance(data, dict) else None
    if not isinstance(text, str) or not text or "\0" in text:
        return data, AnsibleEntries()  # `decode` reports a value of another type
    # Imported here because most inventories have no hosts_from, and this costs a YAML loader.
    from provision.inventory.ansible.read import read

    try:
        ansible = read(resolve(text, folder))
    except BadValueError as error:
        return data, _unreadable(error.message, error.hint)
    except FindingError as error:
        finding = error.finding
        if finding.position.line:
            return data, AnsibleEntries(findings=(_printable(finding),), unreadable=True)
        return data, _unreadable(f"{quoted(text)}: {finding.message}", finding.hint)
    positions: dict[Loc, Position] = {("hosts", name): at for name, at in ansible.positions.items()}
    positions |= {("groups", name): at for name, at in ansible.group_positions.items()}
    findings = tuple(_printable(finding) for finding in ansible.findings)
    hosts = _merged(ansible.hosts, data.get("hosts"), _host)
    groups = _merged(ansible.groups, data.get("groups"), _ours)
    return {**data, "hosts": hosts, "groups": groups}, AnsibleEntries(positions, (), findings)


def _unreadable(message: str, hint: str) -> AnsibleEntries:
    finding = Finding(("hosts_from",), message, hint)
    return AnsibleEntries(own_findings=(finding,), unreadable=True)


def _printable(finding: Finding) -> Finding:
    hint = single_line(finding.hint)
    return replace(finding, message=single_line(finding.message), hint=hint)


def _merged(theirs: Mapping[str, Any], ours: Any, both: Callable[[Any, Any], Any]) -> Any:
    """Ansible's entries, then ours; `both` merges an entry that is in both files.

    A section of ours that is not a mapping is returned as it is, for `decode` to refuse.
    """
    if ours is None:
        return dict(theirs)
    if not isinstance(ours, dict):
        return ours
    return {
        **theirs,
        **{
            key: both(theirs[key], entry) if key in theirs else entry for key, entry in ours.items()
        },
    }


def _ours(_theirs: Any, ours: Any) -> Any:
    return ours


def _host(theirs: dict[str, Any], ours: Any) -> Any:
    """Merge one host, key by key; a key of our own file wins."""
    if ours is None:
        return theirs
    if not isinstance(ours, dict):
        return ours
    return {**theirs, **ours, **_ssh(theirs, ours)}


def _ssh(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    if "ssh" not in theirs and "ssh" not in ours:
        return {}
    return {"ssh": _merged(theirs.get("ssh", {}), ours.get("ssh"), _ours)}
