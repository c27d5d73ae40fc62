"""What refuses a change before its first host: conflicts, another file, lost rules, a lock."""

from __future__ import annotations

from collections.abc import Iterable

from provision.engine import applied_from
from provision.engine.conflict_hints import hints
from provision.engine.fleet import Fleet, Session
from provision.engine.plan import Change, Conflict, Plan
from provision.model.errors import ConflictError
from provision.resources.kinds.docker_firewall import DockerFirewall


def of_other_files(session: Session, fleet: Fleet, plan: Plan) -> tuple[Conflict, ...]:
    """A conflict for each host to which another file of this inventory was applied last."""
    return applied_from.conflicts(session.inventory, fleet.facts, plan.changes)


def require_no_conflict(conflicts: tuple[Conflict, ...]) -> None:
    """Raises ConflictError with all conflicts, and the hints of each."""
    if conflicts:
        raise ConflictError(_lines(conflicts), "; ".join(hints(conflicts)))


def require_same_file(conflicts: tuple[Conflict, ...]) -> None:
    """Raises ConflictError with the conflicts of `of_other_files`."""
    if conflicts:
        raise ConflictError(_lines(conflicts), applied_from.HINT)


def _lines(conflicts: Iterable[Conflict]) -> str:
    return "\n".join(f"{conflict.ref.host}: {conflict.message}" for conflict in conflicts)


def require_docker_rules(changes: Iterable[Change]) -> None:
    """Raises ConflictError where only a restart of Docker brings its firewall rules back."""
    gone = [change.after for change in changes if isinstance(change.after, DockerFirewall)]
    if gone:
        lines = [f"{rules.host}: {rules.loss}: the firewall was flushed" for rules in gone]
        restart = f"run `systemctl restart docker` on {', '.join(rules.host for rules in gone)}"
        raise ConflictError("\n".join(lines), f"{restart}, or apply --restart-docker")


def require_unlocked(session: Session, fleet: Fleet, hosts: Iterable[str]) -> None:
    """Raises LockedError if a change is under way on one of `hosts`."""
    for host in sorted(hosts):
        if fleet.snapshots[host].facts.in_transaction:
            from provision.engine import guard
            from provision.engine.records import readable_records
            from provision.engine.status import locked

            output = session.transport.run(host, guard.status(), timeout_s=session.snapshot_s)
            raise locked(host, readable_records(output.stdout))
