"""Deployment of candidates on the hosts: free ranges, and each candidate applied and removed."""

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
    BASELINE,
    CANDIDATES,
    ECHO_PORT,
    IPERF_PORT,
    PUBLISHED_ECHO_PORT,
    PUBLISHED_IPERF_PORT,
    SWITCH_MARK,
    Candidate,
    Site,
)
from provision.compare.pool import find_pool
from provision.compare.probe import MeasuredPath
from provision.engine.applied_ranges import applied_ranges
from provision.engine.apply import converge
from provision.engine.fleet import Fleet, Session, observe
from provision.engine.options import ApplyOptions
from provision.engine.status import describe_all
from provision.inventory.load import load
from provision.model.errors import ProvisionError, UnfitError, VerifyError
from provision.model.fields import images
from provision.model.inventory import Inventory

ANY_ADDRESS = IPv4Address("0.0.0.0")


def find_site(
    session: Session,
    hosts: tuple[str, ...],
    chosen: Iterable[Candidate],
    pool: str | None,
    *,
    strict: bool,
) -> tuple[Site, Fleet, dict[str, str]]:
    """The site for candidates, the hosts' facts, and candidates that it has no room for, with why.

    Raises HostError for a host that does not answer, and with `strict` UnfitError instead of
    leaving a candidate out.
    """
    fleet = observe(session, hosts)
    for error in fleet.errors.values():
        raise error
    inventory = session.inventory
    # A test network must hide neither a route of the hosts nor a network of the inventory that
    # is not applied yet.
    used = [route.dst for facts in fleet.facts.values() for route in facts.routes]
    used += [network.cidr for network in inventory.networks.values()]
    # Nor a part of another inventory's network that no host uses yet.
    used += [entry.cidr for entry in applied_ranges(fleet.state(hosts, ours=False))]
    site = Site(
        tuple(inventory.hosts[name] for name in hosts),
        candidates.free_ranges(used),
        inventory.packages,
    )
    on_lan = [candidate.name for candidate in chosen if candidate.on_lan]
    if pool is None and not on_lan:
        return site, fleet, {}
    try:
        lan, free_pool = find_pool(session, fleet, hosts, pool)
    except UnfitError as error:
        if strict:
            raise
        return site, fleet, dict.fromkeys(on_lan, str(error))
    return replace(site, lan=lan, pool=free_pool), fleet, {}


def baseline_path(inventory: Inventory, target: str) -> MeasuredPath:
    """The path from host to host, without containers."""
    address = inventory.hosts[target].address
    return MeasuredPath(BASELINE, 0, 0, address, address, IPERF_PORT, ECHO_PORT)


def remove_leftovers(session: Session, hosts: tuple[str, ...]) -> None:
    """Remove what a comparison that was killed has left on the hosts. Raises HostError."""
    # An inventory is found on a host by its name alone, so an empty one of that name is enough.
    for mark in (*(candidate.mark for candidate in CANDIDATES), SWITCH_MARK):
        _change(_for_destroy(session, hosts, mark, session.inventory.path), hosts, destroy=True)


def _for_destroy(session: Session, hosts: tuple[str, ...], mark: str, file: Path) -> Session:
    """A session for the inventory `mark` without networks and containers, enough to destroy it."""
    by_name = {name: session.inventory.hosts[name] for name in hosts}
    return _quiet(session, Inventory(mark, file, MappingProxyType(by_name), {}, {}, {}))


def _change(session: Session, hosts: tuple[str, ...], *, destroy: bool) -> float:
    """Apply or destroy an inventory; return the seconds it took.

    Raises ConflictError and HostError. Raises KeyboardInterrupt if Ctrl-C interrupted the engine,
    which has rolled back by then.
    """
    start = time.monotonic()
    # The names of its inventories are those of comparisons only; each run has another folder.
    report = converge(session, hosts, ApplyOptions(destroy=destroy, take_over=True))
    if report.interrupted:
        raise KeyboardInterrupt
    for error in report.errors:
        # An error of one host does not tell if the hosts are mixed; the report does.
        error.exit_status = report.exit_status
        raise error
    if report.exit_status:
        states = ", ".join(f"{h} {state}" for h, state in describe_all(report.outcomes).items())
        unclear = ProvisionError(f"the outcome of the change is unclear: {states}")
        unclear.exit_status = report.exit_status
        raise unclear
    return time.monotonic() - start


def _quiet(session: Session, inventory: Inventory) -> Session:
    """A session for another inventory, without the engine's own progress lines."""
    return replace(session, inventory=inventory, say=lambda _line: None)


class Deployment:
    """Applies candidates to the hosts of a site; their inventories are written to `folder`."""

    def __init__(self, session: Session, hosts: tuple[str, ...], site: Site, folder: Path) -> None:
        self.session, self.hosts, self.site = session, hosts, site
        self.file = folder / "compare.yml"

    def apply(self, candidate: Candidate, *, switching: bool = False) -> float:
        """Apply a candidate; return the seconds it took. Raises ConflictError, HostError."""
        inventory = self._inventory(candidate, switching=switching)
        return _change(_quiet(self.session, inventory), self.hosts, destroy=False)

    def verify(self, candidate: Candidate) -> float:
        """Verify a candidate like `provision verify`; return the seconds it took.

        Raises VerifyError, HostError, and KeyboardInterrupt if Ctrl-C interrupted the checks, which
        pytest ends on its own.
        """
        start = time.monotonic()
        session = _quiet(self.session, self._inventory(candidate))
        result = run_checks(session, self.hosts, junit=False, expression=None)
        if result.interrupted:
            raise KeyboardInterrupt
        for error in result.errors:
            raise error
        if not result.ok:
            failed = [check for check in result.checks if not check.ok and not check.skipped]
            details = [f"{c.check} {c.source} → {c.target}: {c.detail}" for c in failed[:3]]
            raise VerifyError(
                f"{candidate.name}: {len(failed)} checks failed: {'; '.join(details)}"
            )
        return time.monotonic() - start

    def path(self, candidate: Candidate) -> MeasuredPath:
        """The path to measure. Raises VerifyError for a container that does not run."""
        session = _quiet(self.session, self._inventory(candidate))
        containers = live_containers(session, self.hosts)
        source, target = (containers[f"{candidate.mark}-{number}"] for number in (1, 2))
        if candidate.method is None:
            address = self.session.inventory.hosts[target.host].address
            server = (address, PUBLISHED_IPERF_PORT, PUBLISHED_ECHO_PORT)
        elif target.address is None:
            raise VerifyError(f"{target.name} has no address")
        else:
            server = (target.address, IPERF_PORT, ECHO_PORT)
        return MeasuredPath(candidate.name, source.pid, target.pid, ANY_ADDRESS, *server)

    def destroy(self, candidate: Candidate | None) -> float:
        """Remove a candidate, or with None the one switched to; return the seconds it took.

        Raises HostError.
        """
        mark = candidate.mark if candidate else SWITCH_MARK
        session = _for_destroy(self.session, self.hosts, mark, self.file)
        return _change(session, self.hosts, destroy=True)

    def _inventory(self, candidate: Candidate, *, switching: bool = False) -> Inventory:
        """The candidate's inventory, loaded from a file, with the user's own hosts and logins."""
        self.file.write_text(candidates.text(candidate, self.site, switching=switching))
        hosts = MappingProxyType({host.name: host for host in self.site.hosts})
        return replace(_with_archive(load(self.file), self.session.inventory), hosts=hosts)


def _with_archive(inventory: Inventory, user_inventory: Inventory) -> Inventory:
    """The inventory with the user's archive of the default image, for hosts without a registry."""
    archived = [
        container.image
        for container in user_inventory.containers.values()
        if container.image.archive and container.image.ref == images.DEFAULT
    ]
    if not archived:
        return inventory
    containers = {
        name: replace(container, image=archived[0])
        for name, container in inventory.containers.items()
    }
    return replace(inventory, containers=MappingProxyType(containers))
