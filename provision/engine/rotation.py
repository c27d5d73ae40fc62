"""Gives the hosts of a network new secret keys, one host after the other.

A file on the host asks for the key, so that the next change replaces it: as any change, it is made
under the guard of each host.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from shlex import quote

from provision import methods
from provision.engine import apply
from provision.engine.fleet import Session
from provision.engine.options import ApplyOptions
from provision.engine.outcome import OutcomeKind
from provision.engine.report import Report
from provision.model.errors import ConflictError, HostError, UnfitError, UsageError
from provision.model.inventory import Inventory
from provision.model.text import listed, quoted

TIMEOUT_S = 30.0


def renewal_file(inventory: Inventory, name: str) -> str:
    """The file on a host that asks for another key of a network. Raises UsageError."""
    if name not in inventory.networks:
        networks = listed(tuple(inventory.networks)) or "none"
        raise UsageError(
            f"unknown network {quoted(name)}", f"networks of the inventory: {networks}"
        )
    network = inventory.networks[name]
    path = methods.of(network).renewal_file(inventory, network)
    if not path:
        message = f"network '{name}' has no keys: its method is {network.method}"
        raise UsageError(message, "name a network of method wireguard")
    return path


def rotate(session: Session, name: str, hosts: Iterable[str], options: ApplyOptions) -> Report:
    """Give each of `hosts` a new key, in a change of its own; stop at the first that fails.

    Raises UsageError for a network without keys, and ConflictError if its hosts differ from the
    inventory: a change of the keys is no time for others.
    """
    path, members = renewal_file(session.inventory, name), session.inventory.networks[name].hosts
    planned = apply.preview(session, members, take_over=options.take_over)
    report = Report(members, (), (), planned.errors)
    if planned.errors:
        return report
    _require_no_difference(planned)
    for host in members:
        if host in hosts:
            session.say(f"Changing the key of {host}")
            report = _joined(report, _renewed(session, members, host, path, options))
            if report.errors or report.interrupted:
                break
    return report


def _require_no_difference(planned: Report) -> None:
    if planned.conflicts or planned.results:
        refs = [conflict.ref for conflict in planned.conflicts]
        refs += [result.change.ref for result in planned.results]
        differing = listed(tuple(sorted({ref.host for ref in refs})))
        raise ConflictError(f"{differing}: differs from the inventory", "run apply first")


def _renewed(
    session: Session, members: tuple[str, ...], host: str, path: str, options: ApplyOptions
) -> Report:
    """Change the key of one host."""
    confirmed = False
    try:
        _run(session, host, f"umask 077; : >{quote(path)}")
        report = apply.converge(session, members, options)
        confirmed = report.outcomes[host].kind is OutcomeKind.CONFIRMED
    except HostError as error:
        report = Report(members, (), (), (error,))
    finally:
        if not confirmed:
            # A later apply would change the key after all.
            _withdraw(session, host, path)
    return report


def _withdraw(session: Session, host: str, path: str) -> None:
    try:
        _run(session, host, f"rm -f -- {quote(path)}")
    except HostError as error:
        session.warn(f"warning: {error}: the next apply changes the key of {host}")


def _run(session: Session, host: str, script: str) -> None:
    output = session.transport.run(host, script, timeout_s=TIMEOUT_S)
    if output.status != 0:
        raise UnfitError(host, f"it takes no request for a key: {output.stderr.strip()}")


def _joined(earlier: Report, later: Report) -> Report:
    return replace(
        later,
        results=(*earlier.results, *later.results),
        ended={**earlier.ended, **later.ended},
    )
