"""The pytest plug-in that judges the evidence: one item for each check and source.

An item holds its subjects, such as the pairs of one container with all others. Items of their own
would cost pytest a hundred times as much as their judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

# pytest has no public function for the expressions of its option -k.
from _pytest.mark.expression import Expression

from provision.checks import test_methods
from provision.checks.gather import Evidence
from provision.checks.subjects import KINDS, Check, about, by_source
from provision.model.errors import UsageError

_STOPS = (KeyboardInterrupt, pytest.exit.Exception)


@dataclass(frozen=True, slots=True)
class _Subjects:
    """The subjects of one item, of the kind that the argument `kind` of its function names."""

    kind: str
    values: tuple[Any, ...]


class Judge:
    """Gives the items their subjects, judges them and keeps the verdicts.

    `expression` is that of -k, which selects single subjects. With `junit`, pytest gets a report
    of each subject, and so its JUnit XML has a row for each. `items` and `total` are the numbers of
    items and subjects. Raises UsageError.
    """

    def __init__(self, evidence: Evidence, expression: str | None, *, junit: bool) -> None:
        self._evidence, self._junit = evidence, junit
        self._matches = _matcher(expression)
        self._groups = {name: by_source(kind, evidence) for name, kind in KINDS.items()}
        self._subjects: dict[pytest.Item, _Subjects] = {}
        self.checks: list[Check] = []
        self.items = 0
        self.total = 0

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make an item of each source that has subjects of the check."""
        for name, groups in self._groups.items():
            if name in metafunc.fixturenames:
                function = metafunc.definition.originalname
                chosen = {source: _applicable(name, function, g) for source, g in groups.items()}
                chosen = {source: group for source, group in chosen.items() if group}
                metafunc.parametrize(name, list(chosen.values()), ids=list(chosen))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the subjects that -k selects, and the items that have any."""
        items[:] = [item for item in items if self._select(item)]
        self.items = len(items)
        self.total = sum(len(subjects.values) for subjects in self._subjects.values())

    def _select(self, item: pytest.Item) -> bool:
        """Note the subjects of an item; False if -k selects none of them."""
        assert isinstance(item, pytest.Function)
        ((kind, group),) = item.callspec.params.items()
        if not isinstance(group, list):
            # The inventory has no subject of this kind: pytest's placeholder stands for them.
            self._subjects[item] = _Subjects(kind, ())
            return self._matches(_names(item, item.name))
        label = KINDS[kind].label
        names = partial(_names, item)
        values = tuple(v for v in group if self._matches(names(_name(item, label(v)))))
        self._subjects[item] = _Subjects(kind, values)
        return bool(values)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Function) -> bool:
        """Judge all subjects of an item. There are no fixtures: nothing is set up."""
        kind, values = self._subjects[item].kind, self._subjects[item].values
        check = item.originalname.removeprefix("test_")
        for value in values:
            judgement = partial(item.obj, **{"evidence": self._evidence, kind: value})
            call = pytest.CallInfo.from_call(judgement, "call", reraise=_STOPS)
            self.checks.append(_verdict(about(check, kind, value), call))
            if self._junit:
                _log(item, call, _name(item, KINDS[kind].label(value)))
        return True


def _applicable(kind: str, function: str, group: Sequence[Any]) -> list[Any]:
    """The subjects of a group that a check is for: those of methods are for their networks."""
    if kind != "network_member":
        return list(group)
    return [member for member in group if test_methods.selects(function, member)]


def _name(item: pytest.Function, label: str) -> str:
    return f"{item.originalname}[{label}]"


def _names(item: pytest.Item, name: str) -> Iterator[str]:
    """The names that -k compares: of the subject, and of the file of its check.

    pytest also compares the folders above: `-k drift` would select all checks of a `provision`
    that is installed in a folder with such a name.
    """
    yield name
    yield item.path.name


def _matcher(expression: str | None) -> Callable[[Iterator[str]], bool]:
    """A function that tells whether an expression of -k selects an item with these names."""
    if not expression:
        return lambda _names: True
    try:
        compiled = Expression.compile(expression)
    except Exception as error:  # SyntaxError; before pytest 9, a class of its own
        raise UsageError(f"-k {expression}: pytest cannot read this expression") from error

    def matches(names: Iterator[str]) -> bool:
        lower = [name.lower() for name in names]

        def matches_word(word: str, /, **_: str | int | bool | None) -> bool:
            # pytest, too, looks for a word anywhere in the names, whatever the case.
            return any(word.lower() in name for name in lower)

        return compiled.evaluate(matches_word)

    return matches


def _verdict(check: Check, call: pytest.CallInfo[None]) -> Check:
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, pytest.skip.Exception):
        return replace(check, skipped=str(error))
    # Assertions that pytest rewrites end with the failed expression.
    detail = "" if error is None else str(error).split("\nassert ")[0]
    if error is not None and not isinstance(error, AssertionError | pytest.fail.Exception):
        detail = f"internal error of the check: {error!r}"
    return replace(check, ok=error is None, detail=detail)


def _log(item: pytest.Function, call: pytest.CallInfo[None], name: str) -> None:
    """Report one subject to pytest, under the name that an item of its own would have."""
    report = pytest.TestReport.from_item_and_call(item, call)
    report.nodeid = item.nodeid.removesuffix(item.name) + name
    item.ihook.pytest_runtest_logreport(report=report)
    # JUnit XML ends a test case at its teardown.
    end = pytest.TestReport(report.nodeid, item.location, {}, "passed", None, "teardown")
    item.ihook.pytest_runtest_logreport(report=end)
