"""`hosts_from`: hosts and groups of an Ansible inventory, joined to what our own file says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.model.errors import Finding
from provision.model.fields.files import named
from provision.model.findings import KEY, Complaint, Loc, Wrong, line, quoted

if TYPE_CHECKING:
    from provision.inventory.ansible.model import Spot
    from provision.inventory.yaml_reader import Node


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
    from provision.inventory.ansible.model import Misread
    from provision.inventory.ansible.read import read

    loc: Loc = ("hosts_from",)
    try:
        found = read(named(text, folder))
    except Wrong as error:
        return data, _unread(loc, error.message, error.hint)
    except Misread as error:
        if error.spot.line:
            return data, Others(troubles=(_finding(error),), unread=True)
        return data, _unread(loc, f"{quoted(text)}: {error.message}", error.hint)
    spots: dict[Loc, Spot] = {("hosts", name): spot for name, spot in found.spots.items()}
    spots |= {("groups", name): spot for name, spot in found.group_spots.items()}
    troubles = tuple(_finding(problem) for problem in found.problems)
    hosts = _joined(found.hosts, data.get("hosts"), _host)
    groups = _joined(found.groups, data.get("groups"), lambda _found, own: own)
    return {**data, "hosts": hosts, "groups": groups}, Others(spots, (), troubles)


def _unread(loc: Loc, message: str, hint: str) -> Others:
    return Others(complaints=(Complaint(loc, message, hint),), unread=True)


def _finding(error: Any) -> Finding:
    spot = error.spot
    return Finding(spot.path, spot.line, 1, line(error.message), line(error.hint))


def _joined(found: Mapping[str, Any], own: Any, both: Callable[[Any, Any], Any]) -> Any:
    """Ansible's entries, then ours; `both` says what becomes of one that is in both files.

    What is no mapping stays as it is: the decoder refuses it, with its place.
    """
    if own is None:
        return dict(found)
    if not isinstance(own, dict):
        return own
    return {**found, **{k: both(found[k], v) if k in found else v for k, v in own.items()}}


def _host(found: dict[str, Any], own: Any) -> Any:
    """One host: what our file says of it counts, key by key."""
    if own is None:
        return found
    if not isinstance(own, dict):
        return own
    return {**found, **own, **_joined_ssh(found, own)}


def _joined_ssh(found: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    if "ssh" not in found and "ssh" not in own:
        return {}
    return {"ssh": _joined(found.get("ssh", {}), own.get("ssh"), lambda _found, own: own)}
