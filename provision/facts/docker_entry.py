"""Containers as Docker lists them, and which of them a guest of the inventory is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any, Protocol, TypeVar

from provision.model.fields.containers import ONE_OFF
from provision.model.inventory import Guest
from provision.resources.kinds.docker_network import LABEL
from provision.resources.lib.docker_api import RUNNING
from provision.resources.on_hosts import Mark


class Selectable(Protocol):
    """A container that a guest can be."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def running(self) -> bool: ...


T = TypeVar("T", bound=Selectable)


@dataclass(frozen=True, slots=True)
class DockerEntry:
    """A container, ours or not.

    `mode` is Docker's NetworkMode. `addresses` are those in its Docker networks, by network, None
    while Docker has given none; `fixed` are those that somebody chose.
    """

    name: str
    mark: Mark
    running: bool
    mode: str
    addresses: Mapping[str, IPv4Address | None]
    fixed: Mapping[str, IPv4Address | None]
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse(entries: Iterable[dict[str, Any]]) -> tuple[DockerEntry, ...]:
    """The containers of Docker's answer to `/containers/json`."""
    return tuple(map(_entry, entries))


def _entry(entry: dict[str, Any]) -> DockerEntry:
    labels = entry.get("Labels") or {}
    networks = (entry.get("NetworkSettings") or {}).get("Networks") or {}
    return DockerEntry(
        # A container that others link to has names such as /web/db besides its own, the shortest.
        min(entry.get("Names") or [entry["Id"]], key=len).removeprefix("/"),
        Mark.parse(labels.get(LABEL, "")),
        entry["State"] in RUNNING,
        (entry.get("HostConfig") or {}).get("NetworkMode", ""),
        {name: _address((end or {}).get("IPAddress")) for name, end in networks.items()},
        {
            name: _address(((end or {}).get("IPAMConfig") or {}).get("IPv4Address"))
            for name, end in networks.items()
        },
        labels,
    )


def _address(text: str | None) -> IPv4Address | None:
    return IPv4Address(text) if text else None


def matches(guest: Guest, containers: Iterable[T]) -> tuple[T, ...]:
    """The containers that a guest can be: those that run, if any does, else all.

    The host chooses in the same way (`guest_find` of templates/host/guest.sh). Compose makes the
    new container before it removes the old one, which does not run any more.
    """
    if guest.selector == "container":
        selected = [each for each in containers if each.name == guest.text]
    else:
        key, _, label = guest.text.partition("=")
        selected = [
            each
            for each in containers
            if each.labels.get(key) == label and each.labels.get(ONE_OFF) != "True"
        ]
    return tuple(each for each in selected if each.running) or tuple(selected)


def single(guest: Guest, containers: Iterable[T]) -> T | None:
    """The container that is the guest; None if there is none, or several."""
    candidates = matches(guest, containers)
    return candidates[0] if len(candidates) == 1 else None
