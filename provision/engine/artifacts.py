"""What this machine must hold before a host is changed: built files, and the authority."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from provision import methods
from provision.engine.fleet import Session
from provision.engine.plan import Plan
from provision.model.inventory import LocalBinary, Network
from provision.resources.kinds.binary import Binary as Sent
from provision.resources.kinds.certificate import Certificate
from provision.resources.steps import Issue, Steps


def check(todo: Plan) -> None:
    """Raises SupplyError where a certificate of this plan could not be issued here."""
    issues = tuple(_issues(todo))
    if issues:
        from provision.engine import pki

        pki.check(issues)


def sign(steps: Steps) -> Steps:
    """The same steps with the certificates in them issued. Raises SupplyError."""
    if not any(isinstance(step, Issue) for step in steps):
        return steps
    from provision.engine import pki

    return pki.signed(steps)


def with_built_files(session: Session, todo: Plan) -> Session:
    """The session with the files that hosts are to get and the controller lacks, built now.

    Raises SupplyError.
    """
    lacking = any(
        isinstance(change.after, Sent) and change.after.source is None for change in todo.changes
    )
    if not lacking:
        return session
    networks = {
        name: replace(network, files={**network.files, **_built(network, session)})
        for name, network in session.inventory.networks.items()
    }
    return replace(session, inventory=replace(session.inventory, networks=networks))


def _built(network: Network, session: Session) -> Mapping[str, LocalBinary]:
    return methods.of(network).build_files(network, session.say)


def _issues(todo: Plan) -> Iterator[Issue]:
    for change in todo.changes:
        if isinstance(change.after, Certificate):
            yield from (step for step in change.after.create() if isinstance(step, Issue))
