"""Laws of the difference between two states, tested with random states of toy resources."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from provision.engine.plan import (
    Operation,
    facts_changing_part,
    is_permanent,
    operations,
    plan,
    waves,
)
from provision.engine.undo import inverse
from provision.engine.undo_order import order
from provision.resources.base import Ref, Resource, State, state
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.kinds.package import Package
from tests.fakes import (
    SSH,
    DockerToy,
    EarlyToy,
    LastToy,
    SettingToy,
    Toy,
    VolatileToy,
    World,
    act,
    undo,
)

HOSTS = ("h1", "h2")
LABELS = ("a", "b", "c", "d", "e")
KINDS = {kind.kind: kind for kind in (Toy, VolatileToy)}
REFS = [Ref(host, kind, label) for host in HOSTS for kind in KINDS for label in LABELS]


@st.composite
def states(draw: st.DrawFn) -> State:
    """Random toys that need each other without a cycle, with early, last and setting toys."""
    early = sorted(draw(st.sets(st.sampled_from([(h, x) for h in HOSTS for x in LABELS[:2]]))))
    resources: list[Resource] = [
        EarlyToy(host, label, draw(st.sampled_from("xy")), replaced=True) for host, label in early
    ]
    order = draw(st.lists(st.sampled_from(REFS), unique=True, max_size=6))
    for number, ref in enumerate(order):
        possible = order[:number] + [Ref(h, "zearly", x) for h, x in early if h == ref.host]
        needs = draw(st.sets(st.sampled_from(possible), max_size=2)) if possible else ()
        value, replaced = draw(st.sampled_from("xyz")), draw(st.booleans())
        kind = KINDS[ref.kind]
        resources.append(kind(ref.host, ref.name, value, tuple(sorted(needs)), replaced))
    for host in draw(st.sets(st.sampled_from(HOSTS))):
        first = tuple(ref for ref in order if ref.host == host)[:1]
        resources.append(LastToy(host, "w", draw(st.sampled_from("xy")), first))
    resources += [SettingToy(host, "s", "1") for host in draw(st.sets(st.sampled_from(HOSTS)))]
    return state(draw(st.permutations(resources)))


def difference(before: State, after: State) -> tuple[Operation, ...]:
    return operations(plan(before, after))


def positions(todo: tuple[Operation, ...], *, removing: bool) -> dict[Ref, int]:
    """The position of each removal, or of each creation and update, by ref."""
    return {
        operation.change.ref: number
        for number, operation in enumerate(todo)
        if operation.removes == removing
    }


def interrupted(a: State, b: State, data: st.DataObject) -> World:
    """The state after some of the operations from a to b."""
    todo, world = difference(a, b), dict(a)
    for operation in todo[: data.draw(st.integers(0, len(todo)), label="done")]:
        act(world, operation)
    return world


@given(states())
def test_a_state_has_no_difference_from_itself(a: State) -> None:
    """A second apply has nothing to do."""
    assert plan(a, a).changes == ()


@given(states(), states())
def test_applying_the_difference_gives_the_desired_state(a: State, b: State) -> None:
    """No operation fails on the way, as on a real host."""
    world: World = dict(a)
    for operation in difference(a, b):
        act(world, operation)
    assert world == b
    event(f"{len(plan(a, b).changes) // 5 * 5} changes or more")


@given(states())
def test_the_difference_to_nothing_removes_everything(a: State) -> None:
    """Destroy only deletes."""
    world: World = dict(a)
    for operation in difference(a, {}):
        act(world, operation)
    assert world == {}
    assert {change.verb for change in plan(a, {}).changes} <= {"delete"}


@given(states(), states(), st.data())
def test_after_an_interruption_a_new_plan_reaches_the_desired_state(
    a: State, b: State, data: st.DataObject
) -> None:
    """The new plan starts from whatever the first operations have left."""
    todo = difference(a, b)
    world: World = dict(a)
    for operation in todo[: data.draw(st.integers(0, len(todo)), label="done")]:
        act(world, operation)
    for operation in difference(dict(world), b):
        act(world, operation)
    assert world == b


@given(states(), states(), st.data())
def test_after_an_interruption_a_new_plan_restores_the_state_before(
    a: State, b: State, data: st.DataObject
) -> None:
    """The earlier state is a desired state like any other."""
    world = interrupted(a, b, data)
    for operation in difference(dict(world), a):
        act(world, operation)
    assert world == a


@given(states(), states(), st.data())
def test_the_undo_that_was_rendered_before_restores_the_state(
    a: State, b: State, data: st.DataObject
) -> None:
    """The law of the guard: after any number of operations, the last one perhaps incomplete."""
    todo, world = difference(a, b), dict(a)
    done = data.draw(st.integers(0, len(todo)), label="done")
    begun = min(len(todo), done + data.draw(st.integers(0, 1), label="begun"))
    for operation in todo[:done]:
        act(world, operation)
    for _ in range(
        data.draw(st.integers(1, 2), label="times")
    ):  # an undo may be interrupted and repeated
        for number in order(todo):
            if number < begun:
                undo(world, todo[number], inverse(todo[number], txn="0"))
    assert world == a


def test_the_undo_begins_with_the_ssh_path_and_volatile_resources() -> None:
    """First the SSH path and its dependents without Docker's, then volatile toys, then the rest."""
    ssh_path = Ref("h1", "toy", SSH)
    resources = [Toy("h1", name) for name in ("a", SSH)]
    resources += [Toy("h1", "d", needs=(ssh_path,)), VolatileToy("h1", "b"), Toy("h1", "e")]
    resources += [DockerToy("h1", "f", needs=(ssh_path,))]
    todo = difference({}, state(resources))
    names = [todo[number].change.ref.name for number in order(todo)]
    assert names == ["d", SSH, "b", "f", "e", "a"]


@given(states(), states())
def test_a_resource_is_created_after_those_that_it_requires(a: State, b: State) -> None:
    """A route, for example, is created after its bridge."""
    position = positions(difference(a, b), removing=False)
    for ref in position:
        for need in b[ref].requires():
            assert position.get(need, -1) < position[ref]


@given(states(), states())
def test_a_resource_is_removed_before_those_that_it_requires(a: State, b: State) -> None:
    """A container, for example, is removed before its network."""
    position = positions(difference(a, b), removing=True)
    for ref in position:
        for need in a[ref].requires():
            assert position[ref] < position.get(need, len(position) + len(b) + 99)


@given(states(), states())
def test_resources_that_run_last_are_created_last_and_removed_first(a: State, b: State) -> None:
    """The follower, for example, watches all other resources."""
    todo = difference(a, b)
    created, removed = positions(todo, removing=False), positions(todo, removing=True)
    for ref in created:
        if b[ref].runs_last:
            assert all(created[toy] < created[ref] for toy in created if not b[toy].runs_last)
    for ref in removed:
        if a[ref].runs_last:
            assert all(removed[ref] < removed[toy] for toy in removed if not a[toy].runs_last)


@given(states(), states())
def test_early_resources_are_created_before_any_removal(a: State, b: State) -> None:
    """The download of an image, for example, may fail."""
    todo = difference(a, b)
    created, removed = positions(todo, removing=False), positions(todo, removing=True)
    for ref in created:
        if b[ref].before_removals and ref not in a:
            assert all(created[ref] < position for position in removed.values())


@given(states(), states(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(a: State, b: State, random: object) -> None:
    """Two controllers make the same plan."""

    def shuffled(state: State) -> State:
        items = list(state.items())
        random.shuffle(items)  # type: ignore[attr-defined]
        return dict(items)

    assert plan(shuffled(a), shuffled(b)) == plan(a, b)
    assert difference(shuffled(a), shuffled(b)) == difference(a, b)


@given(states(), states())
def test_every_change_is_reported_once_and_done(a: State, b: State) -> None:
    """The operations are those of the changes that the plan shows."""
    todo = plan(a, b)
    refs = [change.ref for change in todo.changes]
    assert len(refs) == len(set(refs))
    assert set(refs) == {operation.change.ref for operation in operations(todo)}


@given(states(), states())
def test_waves_contain_every_operation_in_its_hosts_order(a: State, b: State) -> None:
    """The waves only separate hosts in time."""
    todo = difference(a, b)
    for host in HOSTS:
        in_waves = [operation for wave in waves(todo) for operation in wave.get(host, ())]
        assert in_waves == [operation for operation in todo if operation.change.ref.host == host]


def wave_numbers(todo: tuple[Operation, ...], *, removing: bool) -> dict[Ref, int]:
    """The wave of each removal, or of each creation and update, by ref."""
    return {
        operation.change.ref: number
        for number, wave in enumerate(waves(todo))
        for host_operations in wave.values()
        for operation in host_operations
        if operation.removes == removing
    }


@given(states(), states())
def test_a_requirement_on_another_host_is_created_in_an_earlier_wave(a: State, b: State) -> None:
    """Hosts act at the same time within a wave."""
    number = wave_numbers(difference(a, b), removing=False)
    for ref in number:
        for need in b[ref].requires():
            if need in number and need.host != ref.host:
                assert number[need] < number[ref]


@given(states(), states())
def test_a_dependent_on_another_host_is_removed_in_an_earlier_wave(a: State, b: State) -> None:
    """Hosts act at the same time within a wave."""
    number = wave_numbers(difference(a, b), removing=True)
    for ref in number:
        for need in a[ref].requires():
            if need in number and need.host != ref.host:
                assert number[ref] < number[need]


@given(states(), states())
def test_a_new_wave_starts_only_for_a_requirement_on_another_host(a: State, b: State) -> None:
    """Resources of one host need one wave."""
    before = {ref: resource for ref, resource in a.items() if ref.host == "h1"}
    after = {ref: resource for ref, resource in b.items() if ref.host == "h1"}
    assert len(waves(difference(before, after))) <= 1


def test_permanent_resources_are_created_in_a_round_of_their_own() -> None:
    """A rollback keeps installed packages, so they come before a service that it removes."""
    package, daemon = Package("h1", "docker"), OvsDaemon("h2", "demo")
    first = facts_changing_part(plan({}, state([package, daemon])))
    assert (
        first and {change.ref for change in first.changes} == {package.ref} and is_permanent(first)
    )
    second = facts_changing_part(plan({}, state([daemon])))
    assert (
        second
        and {change.ref for change in second.changes} == {daemon.ref}
        and not is_permanent(second)
    )
    assert facts_changing_part(plan({}, state([Toy("h1", "a", "x")]))) is None
