"""What this machine must hold before a host is changed: flanneld, and the authority."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from provision.engine.fleet import Session
from provision.engine.plan import Plan
from provision.model.inventory import Inventory, LocalBinary
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


def with_flanneld(session: Session, todo: Plan) -> Session:
    """The session with a flanneld for the hosts that get one: it is built where there is none.

    Raises SupplyError.
    """
    lacking = any(
        isinstance(change.after, Sent) and change.after.source is None for change in todo.changes
    )
    if not lacking:
        return session
    from provision.methods.flannel import binary

    program = binary.built(session.say)
    return replace(session, inventory=_with(session.inventory, program))


def _with(inventory: Inventory, program: LocalBinary) -> Inventory:
    networks = {
        name: replace(network, binary=program)
        if getattr(network.options, "flanneld", "") is None
        else network
        for name, network in inventory.networks.items()
    }
    return replace(inventory, networks=networks)


def _issues(todo: Plan) -> Iterator[Issue]:
    for change in todo.changes:
        if isinstance(change.after, Certificate):
            yield from (step for step in change.after.create() if isinstance(step, Issue))
