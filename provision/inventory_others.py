"""`hosts_from`: hosts and groups of an Ansible inventory, joined to what our own file says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.complaint import KEY, Complaint, Loc, line, quoted
from provision.complaint import Wrong as WrongFile
from provision.errors import Finding
from provision.regular_file import named

if TYPE_CHECKING:
    from provision.ansible.model import Spot
    from provision.yaml_nodes import Node


@dataclass(frozen=True, slots=True)
class Others:
    """Where hosts and groups that our file does not write are written, and what is wrong there."""

    spots: Mapping[Loc, Spot] = field(default_factory=dict)
    complaints: tuple[Complaint, ...] = ()
    troubles: tuple[Finding, ...] = ()
    unread: bool = False
    """Nothing is known of its hosts, so every other complaint would be about that."""

    def place(self, loc: Loc, root: Node) -> Spot | None:
        """The line of another file that a complaint is about; None: it is about our own."""
        spot = self.spots.get(loc[:2]) if len(loc) > 1 else None
        if spot is None:
            return None
        section = root.value.get(str(loc[0])) if isinstance(root.value, dict) else None
        own = section.value.value if section else None
        return None if isinstance(own, dict) and loc[1] in own else spot

    def findings(self, complaints: Iterable[Complaint]) -> Iterator[Finding]:
        """What is wrong in the other file."""
        yield from self.troubles
        for one in complaints:
            spot = self.spots[one.loc[:2]]
            hint = one.hint
            if one.loc[-2:] == ("address", KEY):
                hint = f"set ansible_host, or in our file hosts: {{{one.loc[1]}: {{address: …}}}}"
            yield Finding(spot.path, spot.line, 1, line(one.message), line(hint))


def with_others(data: Any, folder: Path) -> tuple[Any, Others]:
    """A file's data with the hosts and groups of the inventory that it names in `hosts_from`."""
    text = data.get("hosts_from") if isinstance(data, dict) else None
    if not isinstance(text, str) or not text or "\0" in text:
        return data, Others()
    # Here, as most inventories name no other, and it costs a second YAML reader.
    from provision.ansible.model import Wrong
    from provision.ansible.read import read

    loc: Loc = ("hosts_from",)
    try:
        found = read(named(text, folder))
    except WrongFile as error:
        return data, _unread(loc, error.message, error.hint)
    except Wrong as error:
        if error.spot.line:
            return data, Others(troubles=(_finding(error),), unread=True)
        return data, _unread(loc, f"{quoted(text)}: {error.message}", error.hint)
    spots: dict[Loc, Spot] = {("hosts", name): spot for name, spot in found.spots.items()}
    spots |= {("groups", name): spot for name, spot in found.group_spots.items()}
    troubles = tuple(_finding(problem) for problem in found.problems)
    hosts = _joined(found.hosts, data.get("hosts"))
    groups = {**found.groups, **(data.get("groups") or {})}
    return {**data, "hosts": hosts, "groups": groups}, Others(spots, (), troubles)


def _unread(loc: Loc, message: str, hint: str) -> Others:
    return Others(complaints=(Complaint(loc, message, hint),), unread=True)


def _finding(error: Any) -> Finding:
    spot = error.spot
    return Finding(spot.path, spot.line, 1, line(error.message), line(error.hint))


def _joined(found: Mapping[str, dict[str, Any]], own: Any) -> Any:
    """Ansible's hosts, then ours; what our file says of one of Ansible's counts, key by key."""
    if own is not None and not isinstance(own, dict):
        return own
    hosts: dict[str, Any] = dict(found)
    for name, value in (own or {}).items():
        earlier = hosts.get(name)
        if earlier is None or not isinstance(value, dict):
            hosts[name] = value if value is not None or earlier is None else earlier
            continue
        ssh = {**earlier.get("ssh", {}), **(value.get("ssh") or {})}
        hosts[name] = {**earlier, **value} | ({"ssh": ssh} if ssh else {})
    return hosts
