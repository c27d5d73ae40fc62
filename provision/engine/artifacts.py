"""Files that hosts get from the controller: certificates, preshared keys, built programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from provision import methods
from provision.engine import preshared
from provision.engine.fleet import Session
from provision.engine.plan import Plan
from provision.model.inventory import LocalBinary, Network
from provision.resources.kinds.binary import Binary
from provision.resources.kinds.certificate import Certificate
from provision.resources.kinds.wireguard_psk import WireguardPsk
from provision.resources.steps import Issue, Preshare, Steps


def check(plan: Plan) -> None:
    """Raises SupplyError if this controller cannot make a certificate or a key of the plan."""
    issues = tuple(_issues(plan))
    if issues:
        from provision.engine import pki

        pki.check(issues)
    preshared.check(
        step
        for change in plan.changes
        if isinstance(change.after, WireguardPsk)
        for step in change.after.create()
        if isinstance(step, Preshare)
    )


def sign(steps: Steps) -> Steps:
    """The steps with every certificate and preshared key made. Raises SupplyError."""
    steps = tuple(preshared.made(step) if isinstance(step, Preshare) else step for step in steps)
    if not any(isinstance(step, Issue) for step in steps):
        return steps
    from provision.engine import pki

    return pki.sign(steps)


def with_built_files(session: Session, plan: Plan) -> Session:
    """The session with the files that hosts get, built if the controller lacks them.

    Returns `session` itself if nothing is lacking. Raises SupplyError.
    """
    lacks_file = any(
        isinstance(change.after, Binary) and change.after.source is None for change in plan.changes
    )
    if not lacks_file:
        return session
    networks = {
        name: replace(network, files={**network.files, **_built(network, session)})
        for name, network in session.inventory.networks.items()
    }
    return replace(session, inventory=replace(session.inventory, networks=networks))


def _built(network: Network, session: Session) -> Mapping[str, LocalBinary]:
    return methods.of(network).build_files(network, session.say)


def _issues(plan: Plan) -> Iterator[Issue]:
    for change in plan.changes:
        if isinstance(change.after, Certificate):
            yield from (step for step in change.after.create() if isinstance(step, Issue))
