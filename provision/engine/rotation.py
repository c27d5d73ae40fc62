"""Gives the hosts of a network new secret keys, one host after the other.

A file on the host asks for the key, so that the next change replaces it: as any change, it is made
under the guard of each host.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from shlex import quote

from provision import methods
from provision.engine import apply
from provision.engine.fleet import Session
from provision.engine.options import ApplyOptions
from provision.engine.outcome import Outcome, OutcomeKind
from provision.engine.report import Report
from provision.model.errors import (
    ConflictError,
    ExitStatus,
    HostConflictError,
    HostError,
    UnfitError,
    UsageError,
)
from provision.model.inventory import Inventory
from provision.model.text import listed, quoted

TIMEOUT_S = 30.0
_SEVERITY = (
    OutcomeKind.REVERTED,
    OutcomeKind.UNREACHABLE,
    OutcomeKind.PENDING,
    OutcomeKind.UNKNOWN,
)
"""Outcomes of hosts that do not keep a change, the worst last."""


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


def rotate(session: Session, name: str, hosts: Collection[str], options: ApplyOptions) -> Report:
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
    renewed: list[str] = []
    for host in (member for member in members if member in hosts):
        session.say(f"Changing the key of {host}")
        report = _joined(report, _renewed(session, members, host, path, options), renewed)
        if report.exit_status is not ExitStatus.OK:
            _report_stop(session, host, renewed)
            break
        renewed.append(host)
    return report


def _report_stop(session: Session, host: str, renewed: list[str]) -> None:
    if renewed:
        session.warn(f"Stopping at {host}: {listed(tuple(renewed))} keep their new keys")


def _require_no_difference(planned: Report) -> None:
    if planned.conflicts or planned.results:
        refs = [conflict.ref for conflict in planned.conflicts]
        refs += [result.change.ref for result in planned.results]
        differing = listed(tuple(sorted({ref.host for ref in refs})))
        raise ConflictError(f"{differing}: differs from the inventory", "run apply first")


def _renewed(
    session: Session, members: tuple[str, ...], host: str, path: str, options: ApplyOptions
) -> Report:
    """Change the key of one host; every end but a UsageError is a report."""
    confirmed = False
    try:
        _run(session, host, f"umask 077; : >{quote(path)}")
        report = apply.converge(session, members, options)
        confirmed = report.outcomes[host].kind is OutcomeKind.CONFIRMED
    except HostError as error:
        report = Report(members, (), (), (error,))
    except ConflictError as error:
        message = f"its key was not replaced:\n{error.message}"
        report = Report(members, (), (), (HostConflictError(host, message, error.hint),))
    except KeyboardInterrupt:
        # Not during the change, which `converge` would roll back.
        report = Report(members, (), (), (), interrupted=True)
    finally:
        if not confirmed:
            # A later apply would change the key after all.
            _withdraw(session, host, path)
    if not confirmed and report.exit_status is ExitStatus.OK:
        # Somebody has deleted the file meanwhile.
        report = replace(report, errors=(UnfitError(host, "its key was not replaced"),))
    return report


def _withdraw(session: Session, host: str, path: str) -> None:
    try:
        _run(session, host, f"rm -f -- {quote(path)}")
    except (HostError, KeyboardInterrupt) as error:
        reason = str(error) or "interrupted"
        session.warn(f"warning: {reason}: the next apply may change the key of {host}")


def _run(session: Session, host: str, script: str) -> None:
    output = session.transport.run(host, script, timeout_s=TIMEOUT_S)
    if output.status != 0:
        raise UnfitError(host, f"it takes no request for a key: {output.stderr.strip()}")


def _joined(earlier: Report, later: Report, renewed: Collection[str]) -> Report:
    """Both reports as one; the hosts in `renewed` have a new key by the earlier one."""
    ended = dict(later.ended)
    for host, outcome in earlier.ended.items():
        ended[host] = _joined_outcome(outcome, later.ended.get(host), renewed=host in renewed)
    return replace(later, results=(*earlier.results, *later.results), ended=ended)


def _joined_outcome(earlier: Outcome, later: Outcome | None, *, renewed: bool) -> Outcome:
    """The worse of two outcomes of a host; one that has its new key keeps it after a rollback."""
    if later is None or (renewed and later.kind is OutcomeKind.REVERTED):
        return earlier
    return max(later, earlier, key=_severity)


def _severity(outcome: Outcome) -> int:
    return _SEVERITY.index(outcome.kind) if outcome.kind in _SEVERITY else -1
