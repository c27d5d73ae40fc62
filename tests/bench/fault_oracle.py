"""Judges what a change has left on hosts: reachable, old or new, and told truly. Pure.

A host's state is compared by two plans: those of the variants A and B of the inventory. The plan of
a variant is empty where that variant is applied, and creates everything where nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from provision.model.errors import ExitStatus

Plan = frozenset[str]
"""The changes of one host as text, for example `create route 172.20.1.0/24`."""
_START = ("update container ", "create shared_namespace ")
"""How the lines of a container that has exited begin: also of one in the namespace of another."""
_OF_EXITED = re.compile(r"[-+](\S+ (exited|running)$|raw -A PREROUTING -d )")
"""Lines of a captures' difference that are there because a container has exited."""
NOTHING = ""
"""The name of the state in which no variant is applied."""
PASSING = ("/var/lib/provision/confirmed.", "/etc/mtab", "/etc/openvswitch/")
"""Texts of lines of a capture that differ after a rollback: records, mounts, OVS's database."""

_RULE = re.compile(r"(nat|filter|raw) -A (?!PROV-)")
_ADDRESS = re.compile(r"\b\d+\.\d+\.\d+\.\d+(?=/32\b|:\d)")
_REFUSED_BY = re.compile(r"(?:^|; )(\w+): ")
"""The hosts in the errors of a plan that is refused."""
STATUSES = (
    None,
    ExitStatus.OK,
    ExitStatus.HOST,
    ExitStatus.REVERTED,
    ExitStatus.MIXED,
    ExitStatus.INTERRUPTED,
)
"""Exit statuses that a change may have, whatever disturbs it."""


@dataclass(frozen=True)
class Record:
    """A folder of the guard on a host: txn, reverting, reverted or confirmed; `since`: its time."""

    state: str
    id: str
    since: int = 0
    reason: str = ""
    result: str = ""

    @property
    def pending(self) -> bool:
        """True while the change holds the host."""
        return self.state in ("txn", "reverting")


@dataclass(frozen=True)
class View:
    """One host after a step. `plans` by variant; None if `plan` was refused, for `error`.

    `status`: the host's line of `provision status`; `records`: its own folders; `leftovers`: lines
    about what a change has not cleaned up.
    """

    reachable: bool
    status: str = "unchanged"
    records: tuple[Record, ...] = ()
    plans: Mapping[str, Plan | None] = field(default_factory=dict)
    capture: str = ""
    error: str = ""
    leftovers: str = ""

    @property
    def latest(self) -> Record | None:
        """The record of the change that holds the host, else of the last one."""
        return max(self.records, key=lambda record: (record.pending, record.since), default=None)

    @property
    def plans_known(self) -> bool:
        """True if the host could be compared with every variant."""
        return bool(self.plans) and None not in self.plans.values()


@dataclass(frozen=True)
class Run:
    """A change that was attempted.

    `target`: the variant, or NOTHING for destroy. `status`: the exit status, None if the controller
    was killed; `told`: the state of each host by its report. `faulted`: something disturbed the
    change. `may_differ`: hosts may end differently, if they tell so.
    """

    target: str
    status: int | None = 0
    told: Mapping[str, str] = field(default_factory=dict)
    faulted: bool = False
    may_differ: bool = False
    errors: str = ""


@dataclass(frozen=True)
class Situation:
    """One host before a change.

    `base`: the variant that is applied. `drifted`: somebody changed something of ours by hand, so
    the capture may differ afterwards. `reordered`: Docker has started anew, which changes the order
    of its rules. `exits`: dockerd was killed, which may leave containers exited.
    """

    before: View
    base: str
    drifted: bool = False
    reordered: bool = False
    exits: bool = False


def told_state(view: View) -> str:
    """The state that `status` must tell by the host's own record; a pattern."""
    record = view.latest
    if record is None:
        return "unchanged"
    if record.pending:
        return r"pending until .*"
    if record.state == "confirmed":
        return "confirmed"
    if record.result != "reverted":
        return re.escape(f"unknown (undo incomplete after {record.reason})")
    return "unchanged" if record.reason == "none" else re.escape(f"reverted ({record.reason})")


def judge_status(host: str, view: View) -> Iterator[str]:
    """Violations of one host after its last deadline: SSH, `status`, pending changes."""
    if not view.reachable:
        yield f"{host} does not answer SSH"
        return
    if not re.fullmatch(told_state(view), view.status):
        yield f"{host}: status says {view.status!r}, its record is {view.latest}"
    for record in view.records:
        if record.pending:
            yield f"{host}: change {record.id} is still pending ({record.state})"
        elif record.state == "reverted" and record.result != "reverted":
            yield f"{host}: the undo of change {record.id} is incomplete"


def judge_leftovers(host: str, view: View) -> Iterator[str]:
    """Violation if a change has left something: a unit, a timer, a stashed container."""
    # The next change removes the folder of a change that was not armed.
    unarmed = re.compile("/(new|provision-arm)[.]")
    if lines := [line for line in view.leftovers.splitlines() if not unarmed.search(line)]:
        yield f"{host} has left: {' | '.join(lines[:8])}"


def is_new(view: View, target: str, nothing: View) -> bool:
    """True if a host has the target of a change, and nothing else."""
    if target == NOTHING:
        return dict(view.plans) == dict(nothing.plans)
    return view.plans.get(target) == frozenset()


def is_old(view: View, situation: Situation) -> bool:
    """True if a host is as before a change.

    The follower and Docker may have repaired some of the drift meanwhile; so a plan of the applied
    variant may have become shorter, never longer.
    """
    before = situation.before.plans
    if situation.base == NOTHING or not situation.drifted:
        return dict(view.plans) == dict(before)
    plan, earlier = view.plans.get(situation.base), before.get(situation.base)
    return plan is not None and earlier is not None and plan <= earlier


def verdict(view: View, situation: Situation, target: str, nothing: View) -> str:
    """The state of a host after a change: old, new, both or between."""
    if not view.plans_known:
        # Docker is stopped, so only the capture can tell. Drift may have been repaired meanwhile.
        lines = differences(view, situation)
        repaired = situation.drifted and situation.base != NOTHING and not any(map(_is_file, lines))
        gone = any(line.startswith("-") for line in lines)
        return "between" if lines and (gone or not repaired) else "old"
    old, new = is_old(view, situation), is_new(view, target, nothing)
    old = old or _exited_before(view, situation)
    new = new or (situation.exits and _only_starts(view.plans.get(target)))
    return {(True, True): "both", (True, False): "old", (False, True): "new"}.get(
        (old, new), "between"
    )


def is_reference(view: View, variant: str) -> bool:
    """True if other captures of the variant may be compared with this one: nothing is missing.

    A host whose dockerd was killed is new, too, but its containers may have exited.
    """
    plan = view.plans.get(variant)
    return plan is not None and not plan


def _only_starts(plan: Plan | None) -> bool:
    """True if the plan does nothing but start containers."""
    return plan is not None and all(text.startswith(_START) for text in plan)


def _exited_before(view: View, situation: Situation) -> bool:
    """True if a change made no step, and only a killed dockerd's containers differ.

    Nothing starts them then: the change has not touched them. Without anything to change, it has
    not even made a record.
    """
    if not situation.exits or is_old(view, situation):
        return False
    if (record := _new_record(view, situation)) and record.reason != "none":
        return False
    before = replace(situation.before, plans=_without_starts(situation.before.plans))
    view = replace(view, plans=_without_starts(view.plans))
    return is_old(view, replace(situation, before=before))


def _new_record(view: View, situation: Situation) -> Record | None:
    """The record of a host that the change has made, None if that is of an earlier one."""
    record, earlier = view.latest, situation.before.latest
    return None if record and earlier and record.id == earlier.id else record


def _without_starts(plans: Mapping[str, Plan | None]) -> dict[str, Plan | None]:
    return {
        variant: plan and frozenset(text for text in plan if not text.startswith(_START))
        for variant, plan in plans.items()
    }


def _is_file(line: str) -> bool:
    """True for a line of a captures' difference that names a file or folder."""
    return "/etc/" in line or "/run/" in line or "/var/lib/" in line


def differences(view: View, situation: Situation) -> list[str]:
    """Lines of the captures from before and after that differ, each with - or +."""
    before, after = lasting(situation.before.capture), lasting(view.capture)
    if situation.reordered:
        before, after = _ours_in_order(before), _ours_in_order(after)
    return _diff(before, after)


def _ours_in_order(lines: list[str]) -> list[str]:
    """The lines sorted, but rules of our own chains as they are."""
    ours = [line for line in lines if "PROV-" in line]
    return [*sorted(line for line in lines if "PROV-" not in line), *ours]


def judge_capture(host: str, expected: str, capture: str, *, files: bool = True) -> Iterator[str]:
    """Violation if a host has not the lines of an earlier capture, in whatever order.

    Without `files`, the files are left out: those of a new apply may differ (keys, times).
    """
    lines = [
        sorted(lasting(text if files else _without_files(text))) for text in (expected, capture)
    ]
    if diff := _diff(*lines):
        yield f"{host} differs from its capture with the same variant: {' | '.join(diff[:12])}"


def exact_differences(before: str, after: str) -> list[str]:
    """Lines of two captures that differ; only the containers' mounts in /etc/mtab may."""
    return _diff(
        *([x for x in text.splitlines() if "/etc/mtab" not in x] for text in (before, after))
    )


def _without_files(capture: str) -> str:
    head, _, rest = capture.partition("# files\n")
    return head + rest.partition("# processes\n")[2]


def lasting(capture: str) -> list[str]:
    """The lines of a capture that a rollback restores.

    A container that starts again may get another address from Docker, which is in Docker's rules.
    """
    lines = (line for line in capture.splitlines() if not any(text in line for text in PASSING))
    return [_ADDRESS.sub("ADDRESS", line) if _RULE.match(line) else line for line in lines]


def _diff(before: list[str], after: list[str]) -> list[str]:
    # Imported here: `difflib` is slow to import, and most captures are equal.
    import difflib

    if before == after:
        return []
    lines = difflib.unified_diff(before, after, lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def judge_host(
    host: str, view: View, situation: Situation, run: Run, nothing: View
) -> Iterator[str]:
    """Violations of one host after a change: old or new, as its record and the report tell."""
    state = verdict(view, situation, run.target, nothing)
    if state == "between":
        yield f"{host} is neither old nor new: {_describe(view, situation)}"
        return
    if record := _new_record(view, situation):
        if record.state == "confirmed" and state == "old":
            yield f"{host}: its record says confirmed, but its state is old"
        if record.state == "reverted" and state == "new":
            yield f"{host}: its record says reverted ({record.reason}), but its state is new"
    yield from _judge_report(host, run.told.get(host, ""), state)
    if state != "old" or situation.drifted:
        return
    diff = differences(view, situation)
    if _exited_before(view, situation):
        diff = [line for line in diff if not _OF_EXITED.match(line)]
    if diff:
        yield f"{host} is not as before: " + " | ".join(diff[:12])


def _judge_report(host: str, told: str, state: str) -> Iterator[str]:
    if told == "confirmed" and state == "old":
        yield f"{host} was reported confirmed, but its state is old"
    if told.startswith(("reverted", "unchanged", "unreachable")) and state == "new":
        yield f"{host} was reported {told}, but its state is new"


def _describe(view: View, situation: Situation) -> str:
    if not view.plans_known:
        lines = differences(view, situation)[:12]
        return f"plan is refused ({view.error}), captures differ: {' | '.join(lines)}"
    plans = (
        f"plan {variant}: {', '.join(sorted(plan or ())) or 'empty'} "
        f"(before: {', '.join(sorted(situation.before.plans.get(variant) or ())) or 'empty'})"
        for variant, plan in view.plans.items()
    )
    return f"{'; '.join(plans)}; base {situation.base or 'nothing'}"


def judge_run(
    views: Mapping[str, View],
    situations: Mapping[str, Situation],
    run: Run,
    nothing: Mapping[str, View],
) -> Iterator[str]:
    """Violations of a whole change: its exit status, and all hosts or none."""
    states = {
        host: verdict(view, situations[host], run.target, nothing[host])
        for host, view in views.items()
    }
    blind = not all(view.plans_known for view in views.values())
    if run.status not in STATUSES:
        yield f"exit status {run.status} of a change: {run.errors}"
    if not run.faulted and not blind and run.status != ExitStatus.OK:
        yield f"exit status {run.status} though nothing disturbed the change: {run.errors}"
    if run.status == ExitStatus.OK and not blind:
        for host in sorted(host for host, state in states.items() if state == "old"):
            yield f"exit status 0, but {host} is old"
    if run.status in (ExitStatus.REVERTED, ExitStatus.HOST):
        for host in sorted(host for host, state in states.items() if state == "new"):
            yield f"exit status {run.status}, but {host} is new"
    if not run.may_differ and {"old", "new"} <= set(states.values()):
        yield f"some hosts are old and others new: {states}"


def judge_fault(host: str, view: View, situation: Situation, *, recovers: bool) -> Iterator[str]:
    """Violations of one host after a fault without a change.

    `recovers`: the host must repair everything without the controller, as after a reboot. Nobody
    can tell whether it has, while other hosts are such that `plan` is refused.
    """
    if view.latest != situation.before.latest:
        yield f"{host}: its record changed from {situation.before.latest} to {view.latest}"
    others = not view.plans_known and host not in _REFUSED_BY.findall(view.error)
    if recovers and not (situation.drifted or others) and not is_old(view, situation):
        yield f"{host} does not recover: {_describe(view, situation)}"
