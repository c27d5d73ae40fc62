"""Hosts as the ground on which candidates stand: what is free there, and each made and removed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType

from provision.checks.live import live_containers
from provision.checks.run import run_checks
from provision.compare import candidates
from provision.compare.candidates import (
    ASK,
    IPERF,
    LIMIT,
    PUBLISHED_ASK,
    PUBLISHED_IPERF,
    SWITCH,
    TABLE,
    Candidate,
    Testbed,
)
from provision.compare.pool import pool as found_pool
from provision.compare.probe import Endpoints
from provision.engine import apply as engine
from provision.engine.fleet import Fleet, Session, observe
from provision.engine.status import describe_all
from provision.inventory.load import load
from provision.model.errors import ProvisionError, UnfitError, VerifyError
from provision.model.fields import images
from provision.model.inventory import Inventory

ANYWHERE = IPv4Address("0.0.0.0")


def surveyed(
    session: Session,
    hosts: tuple[str, ...],
    chosen: Iterable[Candidate],
    pool: str | None,
    *,
    strict: bool,
) -> tuple[Testbed, Fleet, dict[str, str]]:
    """Where candidates can be put, and which of `chosen` cannot be, and why.

    Raises HostError for a host that does not answer, and with `strict` for what cannot be.
    """
    fleet = observe(session, hosts)
    for error in fleet.errors.values():
        raise error
    inventory = session.inventory
    own = tuple(inventory.hosts[name] for name in hosts)
    taken = [route.dst for facts in fleet.facts.values() for route in facts.routes]
    taken += [network.cidr for network in inventory.networks.values()]
    ground = Testbed(own, candidates.free(taken), inventory.packages)
    on_lan = [one.name for one in chosen if one.on_lan]
    if pool is None and not on_lan:
        return ground, fleet, {}
    try:
        lan, free = found_pool(session, fleet, hosts, pool)
    except UnfitError as error:
        if strict:
            raise
        return ground, fleet, dict.fromkeys(on_lan, str(error))
    return replace(ground, lan=lan, pool=free), fleet, {}


def host_lane(inventory: Inventory, target: str) -> Endpoints:
    """The limit: from host to host, no container between."""
    address = inventory.hosts[target].address
    return Endpoints(LIMIT, 0, 0, address, address, IPERF, ASK)


def sweep(session: Session, hosts: tuple[str, ...]) -> None:
    """Remove all that a comparison may have left that was killed. Raises HostError."""
    for mark in (*(one.mark for one in TABLE), SWITCH):
        path = session.inventory.path
        _changed(_named(session, hosts, mark, path), hosts, destroy=True)


def _named(session: Session, hosts: tuple[str, ...], mark: str, path: Path) -> Session:
    """Enough of an inventory to destroy by."""
    known = {name: session.inventory.hosts[name] for name in hosts}
    bare = Inventory(mark, path, MappingProxyType(known), {}, {}, {})
    return _quiet(session, bare)


def _changed(session: Session, hosts: tuple[str, ...], *, destroy: bool) -> float:
    """Make or remove; seconds that it took.

    Raises ConflictError, HostError, and KeyboardInterrupt, also where the engine has answered it.
    """
    begin = time.monotonic()
    report = engine.change(session, hosts, engine.ApplyOptions(destroy=destroy))
    if report.interrupted:
        raise KeyboardInterrupt
    for error in report.errors:
        error.exit_status = report.exit_status  # only the whole knows whether it is mixed
        raise error
    if report.exit_status:
        states = ", ".join(
            f"{host} {state}" for host, state in describe_all(report.outcomes).items()
        )
        unknown = ProvisionError(f"it is not known what became of the hosts: {states}")
        unknown.exit_status = report.exit_status
        raise unknown
    return time.monotonic() - begin


def _quiet(session: Session, inventory: Inventory) -> Session:
    # Its own rounds and waves are not what a comparison tells of.
    return replace(session, inventory=inventory, say=lambda _line: None)


class Deployment:
    """Candidates on the hosts, each by the inventory that it makes, in `folder`."""

    def __init__(
        self, session: Session, hosts: tuple[str, ...], ground: Testbed, folder: Path
    ) -> None:
        self.session, self.hosts, self.ground = session, hosts, ground
        self.path = folder / "compare.yml"

    def apply(self, one: Candidate, *, switching: bool = False) -> float:
        """Make it; seconds that it took. Raises ConflictError, HostError."""
        return _changed(
            _quiet(self.session, self._inventory(one, switching=switching)),
            self.hosts,
            destroy=False,
        )

    def verify(self, one: Candidate) -> float:
        """Prove it, as `provision verify` does; seconds. Raises VerifyError, HostError."""
        begin = time.monotonic()
        result = run_checks(
            _quiet(self.session, self._inventory(one)), self.hosts, junit=None, expression=None
        )
        for error in result.errors:
            raise error
        if not result.ok:
            bad = [c for c in result.checks if not c.ok and not c.skipped]
            told = [f"{c.check} {c.source} → {c.target}: {c.detail}" for c in bad[:3]]
            raise VerifyError(f"{one.name}: {len(bad)} checks failed: {'; '.join(told)}")
        return time.monotonic() - begin

    def lane(self, one: Candidate) -> Endpoints:
        """How it is measured. Raises VerifyError for a container that does not run."""
        inventory = self._inventory(one)
        found = live_containers(_quiet(self.session, inventory), self.hosts)
        source, target = (found[f"{one.mark}-{number}"] for number in (1, 2))
        if one.method is None:
            where = self.session.inventory.hosts[target.host].address
            ends = (where, PUBLISHED_IPERF, PUBLISHED_ASK)
        elif target.address is None:
            raise VerifyError(f"{target.name} has no address")
        else:
            ends = (target.address, IPERF, ASK)
        return Endpoints(one.name, source.pid, target.pid, ANYWHERE, *ends)

    def destroy(self, one: Candidate | None) -> float:
        """Remove it, or with None what was switched; seconds. Raises HostError."""
        session = _named(self.session, self.hosts, one.mark if one else SWITCH, self.path)
        return _changed(session, self.hosts, destroy=True)

    def _inventory(self, one: Candidate, *, switching: bool = False) -> Inventory:
        """The candidate's inventory, read as a file of it would be; logins are the user's own."""
        self.path.write_text(candidates.text(one, self.ground, switching=switching))
        own = MappingProxyType({host.name: host for host in self.ground.hosts})
        return replace(_with_image(load(self.path), self.session.inventory), hosts=own)


def _with_image(inventory: Inventory, users: Inventory) -> Inventory:
    """With the archive of the usual image, where the user's inventory brings one."""
    brought = [
        container.image
        for container in users.containers.values()
        if container.image.archive and container.image.ref == images.DEFAULT
    ]
    if not brought:
        return inventory
    containers = {
        name: replace(container, image=brought[0])
        for name, container in inventory.containers.items()
    }
    return replace(inventory, containers=MappingProxyType(containers))
