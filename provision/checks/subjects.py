"""Subjects of the checks: hosts, containers, ports, pairs; and their names in reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provision import methods
from provision.checks import ports
from provision.checks.access_probe import AccessProbe
from provision.checks.gather import Evidence, named_pairs, pairs
from provision.checks.lan_probe import LanProbe, end_key
from provision.checks.ports import Publication
from provision.model.grouping import grouped
from provision.model.inventory import Container, Network, Port

PublishedPort = tuple[Container, Port]
Pair = tuple[Container, Container]
NetworkMember = tuple[str, Network]
"""A host and a network that it belongs to."""


@dataclass(frozen=True, slots=True)
class Check:
    """One judged check; `source` and `target` are containers or hosts, `port` a published one.

    `on_host`: it is about one host, which is both. `measured`: what a passed one has measured.
    `host_ends` are those of `from` and `to` that are hosts, whose names containers may have.
    """

    check: str
    source: str
    target: str
    port: str | None = None
    ok: bool = False
    skipped: str | None = None
    detail: str = ""
    on_host: bool = False
    measured: str = ""
    host_ends: tuple[str, ...] = ()

    @property
    def end_keys(self) -> tuple[str, str]:
        """The keys of source and target among hosts and containers (`end_key`)."""
        source = end_key(self.source, is_host="from" in self.host_ends)
        return source, end_key(self.target, is_host="to" in self.host_ends)


@dataclass(frozen=True, slots=True)
class SubjectKind:
    """Subjects of one kind; a check asks for them by an argument of the kind's name.

    `select` lists them, `label` is the name of one in JUnit XML (`-k` matches it), and `ends` gives
    its source, target and published port for the report. `host_ends` tells which of both are hosts.
    """

    select: Callable[[Evidence], Iterable[Any]]
    label: Callable[[Any], str]
    ends: Callable[[Any], tuple[str, str, str | None]]
    on_host: bool = False
    host_ends: Callable[[Any], tuple[str, ...]] = lambda _: ()


def by_source(kind: SubjectKind, evidence: Evidence) -> Mapping[str, Sequence[Any]]:
    """The subjects of a kind, by their source."""
    return grouped(kind.select(evidence), lambda subject: kind.ends(subject)[0])


def about(check: str, kind: str, subject: Any) -> Check:
    """The check of one subject, not judged yet."""
    of_kind = KINDS[kind]
    host_ends = ("from", "to") if of_kind.on_host else of_kind.host_ends(subject)
    return Check(check, *of_kind.ends(subject), on_host=of_kind.on_host, host_ends=host_ends)


def _container_name(container: Container) -> str:
    return container.name


def _containers(condition: Callable[[Container], bool]) -> SubjectKind:
    def select(evidence: Evidence) -> Iterable[Container]:
        return filter(condition, evidence.containers)

    return SubjectKind(select, _container_name, lambda c: (c.name, c.name, None))


def _lan_probes(*kinds: str) -> SubjectKind:
    def select(evidence: Evidence) -> Iterable[LanProbe]:
        return (probe for probe in evidence.lan_probes if probe.kind in kinds)

    def label(probe: LanProbe) -> str:
        return f"{probe.source.name}-{probe.target}"

    def ends(probe: LanProbe) -> tuple[str, str, None]:
        return probe.source.name, probe.target, None

    return SubjectKind(select, label, ends, host_ends=lambda probe: probe.host_ends)


def _access_probes(*, stranger: bool) -> SubjectKind:
    def select(evidence: Evidence) -> Iterable[AccessProbe]:
        every = evidence.access_probes
        return (probe for probe in every if (probe.stranger is not None) == stranger)

    def ends(probe: AccessProbe) -> tuple[str, str, None]:
        return str(probe.stranger or probe.source), probe.target.name, None

    def label(probe: AccessProbe) -> str:
        return "-".join(ends(probe)[:2])

    # A stranger has an address that no host has.
    hosts = () if stranger else ("from",)
    return SubjectKind(select, label, ends, host_ends=lambda _: hosts)


def _pairs(select: Callable[[Evidence], Iterable[Pair]]) -> SubjectKind:
    def label(pair: Pair) -> str:
        return f"{pair[0].name}-{pair[1].name}"

    return SubjectKind(select, label, lambda pair: (pair[0].name, pair[1].name, None))


def _segment_pairs(evidence: Evidence) -> Iterable[Pair]:
    return pairs(evidence.inventory, evidence.containers, evidence.choice, evidence.facts)


def _network_pairs(evidence: Evidence) -> Iterable[Pair]:
    networks = evidence.inventory.networks
    return (pair for pair in _segment_pairs(evidence) if pair[0].network in networks)


def _named_pairs(evidence: Evidence) -> Iterable[Pair]:
    return named_pairs(evidence.inventory, evidence.containers, evidence.choice)


def _network_members(evidence: Evidence) -> Iterable[NetworkMember]:
    for host in evidence.hosts:
        for network in evidence.inventory.networks.values():
            if host in network.hosts and methods.of(network).checks:
                yield host, network


def _published_ports(evidence: Evidence) -> Iterable[PublishedPort]:
    return ((container, port) for container in evidence.containers for port in container.ports)


def _published_ends(subject: PublishedPort) -> tuple[str, str, str]:
    container, port = subject
    return container.host, container.name, str(port)


def _publication_ends(publication: Publication) -> tuple[str, str, str]:
    return publication.source, publication.target.name, str(publication.port)


KINDS: Mapping[str, SubjectKind] = {
    "host": SubjectKind(
        lambda evidence: evidence.hosts, str, lambda host: (host, host, None), on_host=True
    ),
    "network_member": SubjectKind(
        _network_members,
        lambda member: f"{member[0]}-{member[1].name}",
        lambda member: (member[0], member[0], None),
        on_host=True,
    ),
    "container": _containers(lambda _: True),
    "sharer": SubjectKind(
        lambda evidence: [c for c in evidence.containers if c.namespace_owner],
        _container_name,
        lambda c: (c.name, c.namespace_owner, None),
    ),
    "isolated": _containers(lambda c: c.network == "none" and not c.interfaces),
    "published_port": SubjectKind(
        _published_ports,
        lambda subject: f"{subject[0].name}-{subject[1]}",
        _published_ends,
        host_ends=lambda _: ("from",),
    ),
    "publication": SubjectKind(
        lambda evidence: ports.publications(evidence.inventory, evidence.hosts, evidence.choice),
        lambda publication: "-".join(_publication_ends(publication)),
        _publication_ends,
        host_ends=lambda publication: () if publication.caller else ("from",),
    ),
    "pair": _pairs(_segment_pairs),
    "network_pair": _pairs(_network_pairs),
    "named_pair": _pairs(_named_pairs),
    "allowed_host": _access_probes(stranger=False),
    "stranger": _access_probes(stranger=True),
    "arp_probe": _lan_probes("reach", "router"),
    "ping_probe": _lan_probes("reach"),
    "own_probe": _lan_probes("own"),
    "vlan_probe": _lan_probes("apart"),
}
"""The kinds of subjects, by the argument of the checks."""
