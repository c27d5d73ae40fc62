"""`compose`: merge the services of Compose files with the containers of our own file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from provision.inventory.schema_errors import finding as schema_finding
from provision.model.documents import ComposeDocument
from provision.model.fields.files import resolve
from provision.model.findings import KEY, BadValueError, Finding, FindingError, Loc, Position
from provision.model.suggest import did_you_mean
from provision.model.text import quoted, single_line

if TYPE_CHECKING:
    from provision.inventory.compose.placement import Placed
    from provision.inventory.compose.project import Project
    from provision.inventory.yaml_reader import Node


@dataclass(slots=True)
class ComposeEntries:
    """The containers of Compose files, and the mistakes of these files.

    `own_findings` are about the key `compose` of our own file; `findings` have their positions.
    `unset` are the variables without value in the text at a position, none where .env has a
    mistake; `users` are the first service of each volume.
    """

    placed: dict[str, Placed] = field(default_factory=dict)
    own_findings: list[Finding] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    secrets: list[Path] = field(default_factory=list)
    unset: dict[Position, tuple[str, ...]] = field(default_factory=dict)
    users: dict[tuple[str, str], tuple[str, set[str]]] = field(default_factory=dict)

    def without_theirs(self, findings: Iterable[Finding]) -> list[Finding]:
        """The findings about entries that no Compose file defines."""
        return [finding for finding in findings if not self._owns(finding.loc)]

    def by_file(
        self, findings: Iterable[Finding], path: Path
    ) -> tuple[list[Finding], list[Finding]]:
        """The findings of and about Compose files: those in the file `path`, and the others."""
        about = self._located(finding for finding in findings if self._owns(finding.loc))
        located = [
            self._explained(finding)
            for finding in (*self.findings, *about)
            if self.unset.get(finding.position) != ()  # follows from a mistake in .env
        ]
        return (
            [finding for finding in located if finding.position.path == path],
            [finding for finding in located if finding.position.path != path],
        )

    def _owns(self, loc: Loc) -> bool:
        """True if a Compose file defines the entry that `loc` leads to."""
        return loc[:1] == ("containers",) and len(loc) > 1 and loc[1] in self.placed

    def _located(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """Findings about containers of Compose files, with their positions."""
        refused = {finding.position for finding in self.findings}
        for each in findings:
            position = self.placed[str(each.loc[1])].position(each.loc[2:])
            if position in refused:
                continue  # what is wrong with the value in the Compose file is reported already
            yield replace(
                each,
                message=single_line(each.message),
                hint=single_line(each.hint),
                position=position,
            )

    def _explained(self, finding: Finding) -> Finding:
        """A finding about a text that lacks a variable; the text alone does not tell the cause."""
        names = self.unset.get(finding.position)
        if not names:
            return finding
        listing = " and ".join(map(quoted, names))
        text = f"variable {listing} is" if len(names) == 1 else f"variables {listing} are"
        message = f"{finding.message}: the {text} not set"
        hint = f"write ${{{names[0]}:-…}}, or set {names[0]} in .env beside the Compose file"
        return replace(finding, message=message, hint=hint)


def merge_compose(data: Any, path: Path, root: Node) -> tuple[Any, ComposeEntries]:
    """The data of a file together with the services of the Compose files that it names.

    `path` is that of the file and `root` its content, for positions.
    """
    entries = ComposeEntries()
    items = data.get("compose") if isinstance(data, dict) else None
    containers = data.get("containers") if isinstance(data, dict) else None
    if not isinstance(items, list) or not isinstance(containers, dict | None):
        return data, entries  # `decode` reports a value of another type
    names = set(containers or ())
    declared = data.get("networks")
    networks = tuple(declared) if isinstance(declared, dict) else ()
    for k, item in enumerate(items):
        document = _document(item, ("compose", k), entries)
        if document is not None:
            _merge_item(document, k, path, root, names, networks, entries)
            names |= entries.placed.keys()
    placed = {name: container.entry for name, container in entries.placed.items()}
    return {**data, "containers": {**(containers or {}), **placed}}, entries


def _document(item: Any, loc: Loc, entries: ComposeEntries) -> ComposeDocument | None:
    try:
        return ComposeDocument.model_validate(item)
    except ValidationError as error:
        details = error.errors(include_url=False)
        entries.own_findings += [schema_finding(each, loc, ComposeDocument) for each in details]
        return None


def _merge_item(
    document: ComposeDocument,
    k: int,
    path: Path,
    root: Node,
    names: Iterable[str],
    networks: Collection[str],
    entries: ComposeEntries,
) -> None:
    # Imported here because most inventories have no compose.
    from provision.inventory.compose.placement import Placement
    from provision.inventory.compose.project import read_project
    from provision.inventory.compose.shape import Target

    try:
        project = read_project(resolve(document.file, path.parent), document.project)
    except BadValueError as error:
        loc: Loc = ("compose", k, "file")
        message = f"{quoted(document.file)}: {error.message}"
        entries.own_findings.append(Finding(loc, message, error.hint))
        return
    except FindingError as error:
        entries.findings.append(error.finding)
        return
    entries.own_findings += _unknown_services(document.hosts, k, project)
    hosts = {
        service: [host] if isinstance(host, str) else host
        for service, host in document.hosts.items()
    }
    locs: list[Loc] = [("network",), *(("hosts", service) for service in hosts)]
    positions = {loc: Position(path, *root.locate(("compose", k, *loc))) for loc in locs}
    target = Target(hosts, document.network, positions, networks)
    for container in Placement(project, target, set(names), entries.users).containers():
        entries.placed[container.name] = container
    entries.findings += [
        replace(each, message=single_line(each.message), hint=single_line(each.hint))
        for each in project.findings
    ]
    entries.unset |= project.unset
    entries.notes += map(single_line, project.notes)
    entries.secrets += project.secrets


def _unknown_services(hosts: Mapping[str, Any], k: int, project: Project) -> Iterator[Finding]:
    for service in hosts if project.services else ():  # without any, the file has a finding
        if service not in project.services:
            hint = did_you_mean(service, project.services, "services")
            loc: Loc = ("compose", k, "hosts", service, KEY)
            yield Finding(loc, f"unknown service {quoted(service)}", hint)
