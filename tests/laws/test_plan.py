"""Laws of the difference between two states, over worlds of toy resources."""

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
from tests.fakes import SSH, Docked, Herald, Passing, Setting, Toy, Watcher, World, act, take_back

HOSTS = ("h1", "h2")
LABELS = ("a", "b", "c", "d", "e")
KINDS = {kind.kind: kind for kind in (Toy, Passing)}
REFS = [Ref(host, kind, label) for host in HOSTS for kind in KINDS for label in LABELS]


@st.composite
def states(draw: st.DrawFn) -> State:
    """Any toys that need each other without a cycle, what watches them and what prepares them."""
    heralds = sorted(draw(st.sets(st.sampled_from([(h, x) for h in HOSTS for x in LABELS[:2]]))))
    things: list[Resource] = [
        Herald(host, label, draw(st.sampled_from("xy")), stiff=True) for host, label in heralds
    ]
    order = draw(st.lists(st.sampled_from(REFS), unique=True, max_size=6))
    for number, ref in enumerate(order):
        possible = order[:number] + [Ref(h, "zherald", x) for h, x in heralds if h == ref.host]
        needs = draw(st.sets(st.sampled_from(possible), max_size=2)) if possible else ()
        value, stiff = draw(st.sampled_from("xyz")), draw(st.booleans())
        kind = KINDS[ref.kind]
        things.append(kind(ref.host, ref.name, value, tuple(sorted(needs)), stiff))
    for host in draw(st.sets(st.sampled_from(HOSTS))):
        watched = tuple(ref for ref in order if ref.host == host)[:1]
        things.append(Watcher(host, "w", draw(st.sampled_from("xy")), watched))
    things += [Setting(host, "s", "1") for host in draw(st.sets(st.sampled_from(HOSTS)))]
    return state(draw(st.permutations(things)))


def difference(found: State, wanted: State) -> tuple[Operation, ...]:
    return operations(plan(found, wanted))


def places(todo: tuple[Operation, ...], *, removing: bool) -> dict[Ref, int]:
    return {
        operation.change.ref: number
        for number, operation in enumerate(todo)
        if operation.removes == removing
    }


def interrupted(a: State, b: State, data: st.DataObject) -> World:
    todo, world = difference(a, b), dict(a)
    for operation in todo[: data.draw(st.integers(0, len(todo)), label="done")]:
        act(world, operation)
    return world


@given(states())
def test_nothing_differs_from_itself(a: State) -> None:
    assert plan(a, a).changes == ()


@given(states(), states())
def test_applying_the_difference_gives_the_goal(a: State, b: State) -> None:
    world: World = dict(a)
    for operation in difference(a, b):
        act(world, operation)
    assert world == b
    event(f"{len(plan(a, b).changes) // 5 * 5} changes or more")


@given(states())
def test_to_nothing_removes_all(a: State) -> None:
    world: World = dict(a)
    for operation in difference(a, {}):
        act(world, operation)
    assert world == {}
    assert {change.verb for change in plan(a, {}).changes} <= {"delete"}


@given(states(), states(), st.data())
def test_any_prefix_then_another_look_reaches_the_goal(
    a: State, b: State, data: st.DataObject
) -> None:
    todo = difference(a, b)
    world: World = dict(a)
    for operation in todo[: data.draw(st.integers(0, len(todo)), label="done")]:
        act(world, operation)
    for operation in difference(dict(world), b):
        act(world, operation)
    assert world == b


@given(states(), states(), st.data())
def test_any_prefix_can_be_undone(a: State, b: State, data: st.DataObject) -> None:
    world = interrupted(a, b, data)
    for operation in difference(dict(world), a):
        act(world, operation)
    assert world == a


@given(states(), states(), st.data())
def test_what_was_rendered_before_undoes_any_prefix(
    a: State, b: State, data: st.DataObject
) -> None:
    """The law of the guard: the first k steps, or half of step k + 1, then the undo, gives a."""
    todo, world = difference(a, b), dict(a)
    done = data.draw(st.integers(0, len(todo)), label="done")
    begun = min(len(todo), done + data.draw(st.integers(0, 1), label="begun and cut"))
    for operation in todo[:done]:
        act(world, operation)
    for _ in range(data.draw(st.integers(1, 2), label="times")):  # an undo may be cut, and repeated
        for number in order(todo):
            if number < begun:
                take_back(world, todo[number], inverse(todo[number], txn="0"))
    assert world == a


def test_the_way_of_ssh_is_undone_first_then_what_the_kernel_drops_at_once() -> None:
    """With what was made on it, but for what hangs where Docker does; all else from the last."""
    way = Ref("h1", "toy", SSH)
    things = [Toy("h1", name) for name in ("a", SSH)]
    things += [Toy("h1", "d", needs=(way,)), Passing("h1", "b"), Toy("h1", "e")]
    things += [Docked("h1", "f", needs=(way,))]
    todo = difference({}, state(things))
    names = [todo[number].change.ref.name for number in order(todo)]
    assert names == ["d", SSH, "b", "f", "e", "a"]


@given(states(), states())
def test_makes_come_after_what_they_require(a: State, b: State) -> None:
    place = places(difference(a, b), removing=False)
    for ref in place:
        for need in b[ref].requires():
            assert place.get(need, -1) < place[ref]


@given(states(), states())
def test_removals_come_before_what_they_stood_on(a: State, b: State) -> None:
    place = places(difference(a, b), removing=True)
    for ref in place:
        for need in a[ref].requires():
            assert place[ref] < place.get(need, len(place) + len(b) + 99)


@given(states(), states())
def test_watchers_are_made_last_and_removed_first(a: State, b: State) -> None:
    todo = difference(a, b)
    made, gone = places(todo, removing=False), places(todo, removing=True)
    for ref in made:
        if b[ref].runs_last:
            assert all(made[other] < made[ref] for other in made if not b[other].runs_last)
    for ref in gone:
        if a[ref].runs_last:
            assert all(gone[ref] < gone[other] for other in gone if not a[other].runs_last)


@given(states(), states())
def test_preparations_come_before_any_removal(a: State, b: State) -> None:
    todo = difference(a, b)
    made, gone = places(todo, removing=False), places(todo, removing=True)
    for ref in made:
        if b[ref].before_removals and ref not in a:
            assert all(made[ref] < other for other in gone.values())


@given(states(), states(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(a: State, b: State, random: object) -> None:
    def shuffled(one: State) -> State:
        items = list(one.items())
        random.shuffle(items)  # type: ignore[attr-defined]
        return dict(items)

    assert plan(shuffled(a), shuffled(b)) == plan(a, b)
    assert difference(shuffled(a), shuffled(b)) == difference(a, b)


@given(states(), states())
def test_every_change_is_reported_once_and_done(a: State, b: State) -> None:
    todo = plan(a, b)
    refs = [change.ref for change in todo.changes]
    assert len(refs) == len(set(refs))
    assert set(refs) == {operation.change.ref for operation in operations(todo)}


@given(states(), states())
def test_waves_hold_every_operation_in_its_hosts_order(a: State, b: State) -> None:
    todo = difference(a, b)
    for host in HOSTS:
        flat = [one for wave in waves(todo) for one in wave.get(host, ())]
        assert flat == [one for one in todo if one.change.ref.host == host]


def wave_of(todo: tuple[Operation, ...], *, removing: bool) -> dict[Ref, int]:
    return {
        operation.change.ref: number
        for number, wave in enumerate(waves(todo))
        for some in wave.values()
        for operation in some
        if operation.removes == removing
    }


@given(states(), states())
def test_a_need_on_another_host_is_made_in_an_earlier_wave(a: State, b: State) -> None:
    number = wave_of(difference(a, b), removing=False)
    for ref in number:
        for need in b[ref].requires():
            if need in number and need.host != ref.host:
                assert number[need] < number[ref]


@given(states(), states())
def test_what_stood_on_another_host_is_removed_in_an_earlier_wave(a: State, b: State) -> None:
    number = wave_of(difference(a, b), removing=True)
    for ref in number:
        for need in a[ref].requires():
            if need in number and need.host != ref.host:
                assert number[ref] < number[need]


@given(states(), states())
def test_a_new_wave_starts_only_where_an_edge_crosses_hosts(a: State, b: State) -> None:
    one = {ref: thing for ref, thing in a.items() if ref.host == "h1"}
    other = {ref: thing for ref, thing in b.items() if ref.host == "h1"}
    assert len(waves(difference(one, other))) <= 1


def test_what_stays_comes_before_what_is_undone() -> None:
    """The undo goes back to how packages have left a host, not to how a service of ours has."""
    package, daemon = Package("h1", "docker"), OvsDaemon("h2", "demo")
    first = facts_changing_part(plan({}, state([package, daemon])))
    assert first and {one.ref for one in first.changes} == {package.ref} and is_permanent(first)
    second = facts_changing_part(plan({}, state([daemon])))
    assert (
        second and {one.ref for one in second.changes} == {daemon.ref} and not is_permanent(second)
    )
    assert facts_changing_part(plan({}, state([Toy("h1", "a", "x")]))) is None
