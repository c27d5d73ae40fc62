"""`hosts_from`: merge the hosts and groups of an Ansible inventory with those of our own file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.inventory.unused import ALL, mapping, unused_groups, unused_hosts
from provision.model.fields.files import resolve
from provision.model.findings import (
    KEY,
    BadValueError,
    Finding,
    FindingError,
    Loc,
    Position,
    in_file_order,
)
from provision.model.suggest import did_you_mean
from provision.model.text import quoted, single_line

if TYPE_CHECKING:
    from provision.inventory.ansible.read import AnsibleInventory
    from provision.inventory.ansible.sources import Sources
    from provision.inventory.yaml_reader import Node


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Imported hosts, with their findings, and imported groups that count as absent."""

    hosts: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AnsibleEntries:
    """Positions of the hosts and groups that Ansible's inventory defines, and its mistakes."""

    positions: Mapping[Loc, Position] = field(default_factory=dict)
    own_findings: tuple[Finding, ...] = ()
    """Findings about the key `hosts_from` in our own file."""
    findings: tuple[Finding, ...] = ()
    """Findings about Ansible's files, with their positions; each `loc` begins with its host."""
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Lines about variables of each host that have no effect."""
    ours: Path = Path("our file")
    """Our own file."""
    local: frozenset[str] = frozenset()
    """Hosts that are the controller itself."""
    ignored: tuple[str, ...] = ()
    """Lines about mistakes that Ansible warns of and goes on."""
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
            section, host, *rest = finding.loc
            if section == "hosts" and rest == [KEY] and finding.message.startswith("'address'"):
                entry = f"hosts: {{{host}: {{address: …}}}}"
                hint = f"set ansible_host, or write {entry} in {self.ours.name}"
            located = replace(finding, hint=hint, position=self.positions[finding.loc[:2]])
            yield _printable(located)

    def left_out(self, data: Any, root: Node, findings: Iterable[Finding]) -> LeftOut:
        """The imported hosts and groups that have findings, and that our own file does not use.

        `data` is that of both files, `findings` are those about it.
        """
        if not self.positions:
            return LeftOut()
        theirs = [loc for loc in self.positions if self.owns(loc, root)]
        imported = {
            section: [str(loc[1]) for loc in theirs if loc[0] == section]
            for section in ("hosts", "groups")
        }
        hosts = unused_hosts(data, imported["hosts"], self.local)
        faults: dict[str, list[Finding]] = {}
        about = [finding for finding in findings if finding.loc[:2] in self.positions]
        for finding in (*self.findings, *self.located((*about, *_same_addresses(data, hosts)))):
            if finding.loc[0] == "hosts" and finding.loc[1] in hosts:
                faults.setdefault(str(finding.loc[1]), []).append(finding)
        known = mapping(data.get("hosts"))
        if len(faults) == len(known):
            return LeftOut()  # it would be an inventory without hosts
        wrong = {finding.loc[1] for finding in about if finding.loc[0] == "groups"}
        groups = unused_groups(data, imported["groups"]) & wrong - known.keys()
        return LeftOut({name: tuple(about_it) for name, about_it in faults.items()}, groups)

    def without(self, left_out: LeftOut) -> AnsibleEntries:
        """The entries without the findings about hosts that were left out."""
        findings = (finding for finding in self.findings if finding.loc[1] not in left_out.hosts)
        return replace(self, findings=tuple(findings))

    @property
    def reported(self) -> tuple[Finding, ...]:
        """The findings; one about a variable of a group once rather than for each of its hosts."""
        unique = {
            (finding.position, finding.message.split(" of ")[0]): finding
            for finding in self.findings
        }
        return tuple(unique.values())


def _same_addresses(data: Any, unused: Collection[str]) -> Iterator[Finding]:
    """Findings about unused hosts that have the address of a used one, such as its alias."""
    addresses = {
        name: str(host["address"])
        for name, host in mapping(data.get("hosts")).items()
        if isinstance(host, dict) and "address" in host
    }
    owners = {address: name for name, address in addresses.items() if name not in unused}
    for name in unused:
        owner = owners.get(addresses.get(name, ""))
        if owner:
            yield Finding(("hosts", name, "address"), f"{name} has the address of {owner}")


def merge_hosts_from(data: Any, path: Path) -> tuple[Any, AnsibleEntries]:
    """The data of a file together with the inventory that its key `hosts_from` names, if any.

    `path` is that of the file; `hosts_from` is relative to its folder.
    """
    named = data.get("hosts_from") if isinstance(data, dict) else None
    mapped = named if isinstance(named, dict) else {"file": named}
    texts, only = mapped.get("file"), mapped.get("only")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(map(_is_path, texts)):
        return data, AnsibleEntries()  # `decode` reports a value of another type
    # Imported here because most inventories have no hosts_from, and this costs a YAML loader.
    from provision.inventory.ansible.read import read
    from provision.inventory.ansible.sources import Sources

    try:
        paths = tuple(resolve(text, path.parent) for text in texts)
        sources = Sources(paths, path.parent, str(mapped.get("reader", "auto")))
        ansible = read(sources)
        if sources.asks_ansible:
            ansible = _evaluated(ansible, sources, data)
    except BadValueError as error:
        return data, _unreadable(error.message, error.hint)
    except FindingError as error:
        return data, _failed(error.finding, texts)
    return _merged_data(data, path, ansible, only)


def _is_path(text: object) -> bool:
    return isinstance(text, str) and text != "" and "\0" not in text


def _failed(finding: Finding, texts: list[str]) -> AnsibleEntries:
    """The entries of an inventory that cannot be read."""
    if finding.position.line:
        return AnsibleEntries(findings=(_printable(finding),), unreadable=True)
    name = finding.position.path.name
    text = next((text for text in texts if Path(text).name == name), texts[0])
    return _unreadable(f"{quoted(text)}: {finding.message}", finding.hint)


def _evaluated(ansible: AnsibleInventory, sources: Sources, data: Any) -> AnsibleInventory:
    """The inventory with the templates and vaults of used hosts as Ansible evaluates them."""
    hosts = {name: host for name, host in ansible.hosts.items() if ansible.templates[name]}
    if not hosts:
        return ansible
    merged = {
        **data,
        "hosts": {**ansible.hosts, **mapping(data.get("hosts"))},
        "groups": {**ansible.groups, **mapping(data.get("groups"))},
    }
    used = set(hosts) - unused_hosts(merged, list(ansible.hosts), ansible.local)
    ours = mapping(data.get("hosts"))
    open_hosts = {
        finding.loc[1]
        for finding in ansible.findings
        if finding.loc[1] in used and not _is_answered(finding.loc[2:], ours.get(finding.loc[1]))
    }
    if not open_hosts:
        return ansible
    from provision.inventory.ansible.program import evaluated
    from provision.inventory.ansible.read import read

    names = sorted(str(name) for name in open_hosts)
    variables = frozenset[str]().union(*(ansible.templates[name] for name in names))
    return read(sources, evaluated(sources.paths, sources.config, names, variables))


def _merged_data(
    data: Any, path: Path, ansible: AnsibleInventory, only: Any
) -> tuple[Any, AnsibleEntries]:
    unknown: list[Finding] = []
    if isinstance(only, list) and all(isinstance(name, str) for name in only):
        unknown = list(_unknown(only, ansible))
        ansible = ansible.part(only)
    positions: dict[Loc, Position] = {("hosts", name): at for name, at in ansible.positions.items()}
    positions |= {("groups", name): at for name, at in ansible.group_positions.items()}
    ours = data.get("hosts") if isinstance(data.get("hosts"), dict) else {}
    findings = tuple(
        _printable(replace(finding, hint=finding.hint.replace("our own file", path.name)))
        for finding in ansible.findings
        if not _is_answered(finding.loc[2:], ours.get(finding.loc[1]))
    )
    hosts = _merged(ansible.hosts, data.get("hosts"), _host)
    groups = _merged(ansible.groups, data.get("groups"), _ours)
    ignored = tuple(str(_printable(finding)) for finding in in_file_order(ansible.ignored))
    entries = AnsibleEntries(
        positions, tuple(unknown), findings, ansible.notes, path, ansible.local, ignored
    )
    return {**data, "hosts": hosts, "groups": groups}, entries


def _unknown(only: Iterable[str], ansible: AnsibleInventory) -> Iterator[Finding]:
    known = (*ansible.hosts, *ansible.groups)
    for k, name in enumerate(only):
        if name != ALL and name not in known:
            hint = did_you_mean(name, known, "hosts and groups")
            yield Finding(("hosts_from", "only", k), f"unknown host or group {quoted(name)}", hint)


def _is_answered(key: Loc, host: Any) -> bool:
    """True if the entry of a host in our own file replaces the variable that a finding is about.

    `key` is the key that does so.
    """
    if not isinstance(host, dict) or not key:
        return False
    ssh = host.get("ssh")
    if not isinstance(ssh, dict):
        return key == ("ssh", "address") and "address" in host
    # An `ssh` of ours says how to connect.
    return (
        key in (("ssh",), ("ssh", "options"))
        or key[-1] in ssh
        or (key == ("ssh", "address") and "address" in host)
    )


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
