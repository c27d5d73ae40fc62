"""The reading of what hosts print: whatever cannot be read is the host's problem, never a crash."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from json import JSONDecodeError
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from provision.model.errors import FactsError, HostError
from provision.model.text import quoted

_EXCERPT = 120
"""Characters of the host's output in a message."""
_SECRETS = ('"Env"', '"Config"', '"HostConfig"', '"NetworkSettings"', "@secret ")
"""Keys of an inspected container, which also has the values of its variables, and the word with
which lines about files with secrets begin: no message shows a text that has any of them."""
_VARIABLE = re.compile(r'"[A-Za-z_][A-Za-z0-9_]*=')
"""The beginning of a variable in JSON: a line whose head is lost has none of these keys."""


@contextmanager
def reading(
    host: str,
    subject: str,
    text: str,
    *,
    passing: tuple[type[Exception], ...] = (),
    is_secret: bool = False,
) -> Iterator[None]:
    """Turn every error of the parser of `text` into a FactsError about the host's `subject`.

    Errors of the classes `passing` pass unchanged. `is_secret`: no message shows a part of the
    text, not even the value at which the parser stopped.
    Every one, because a parser's own slips show only when a host answers what nobody expected:
    `next()` without a match raises StopIteration, and RuntimeError inside a generator.
    """
    try:
        yield
    except HostError:
        raise
    except passing:
        raise
    except Exception as error:
        reason = f"{error!r}{_excerpt(error, text)}"
        if is_secret:
            # These name a missing key and a place, other errors the value at which they arose.
            plain = isinstance(error, KeyError | JSONDecodeError)
            reason = repr(error) if plain else type(error).__name__
        raise FactsError(host, f"its {subject} cannot be read: {reason}") from error


def _excerpt(error: Exception, text: str) -> str:
    """What the host printed at the place of the error, or at the beginning."""
    start = 0
    if isinstance(error, JSONDecodeError):
        text, start = error.doc, max(0, error.pos - _EXCERPT // 2)
    if any(word in text for word in _SECRETS) or _VARIABLE.search(text) or not text.strip():
        return ""
    return f"; it printed {quoted(text[start : start + _EXCERPT])}"


def require_types(value: object) -> None:
    """Raise TypeError unless every field of a dataclass has a value of its declared type.

    JSON of a host may have null or a number where each version of a tool prints text: without this
    check the value would only fail where a command is made of it.
    """
    for name, accepts in _fields(type(value)):
        if not accepts(getattr(value, name)):
            raise TypeError(f"{name} is {getattr(value, name)!r}")


Predicate = Callable[[Any], bool]


_known: dict[type, tuple[tuple[str, Predicate], ...]] = {}
"""The result of `_fields` for each class: hosts have thousands of resources of few classes."""


_REMEMBERED = 1 << 16
_accepted: dict[int, Any] = {}
"""Values whose fields are right, by their id: the hosts of a fleet share values such as routes."""


def _fields(cls: type) -> tuple[tuple[str, Predicate], ...]:
    """The fields of a dataclass, each with the test of its values; none of another class."""
    if cls not in _known:
        hints = get_type_hints(cls) if is_dataclass(cls) else {}
        shape = fields(cls) if is_dataclass(cls) else ()
        _known[cls] = tuple((field.name, _predicate(hints[field.name])) for field in shape)
    return _known[cls]


def _predicate(hint: Any) -> Predicate:
    """A test of values for a type: classes, unions, literals, tuples, sets, mappings."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda _value: True
    if origin is None:
        return _class_predicate(hint)
    if origin in (Union, types.UnionType):
        options = tuple(map(_predicate, arguments))
        return lambda value: any(accepts(value) for accepts in options)
    if origin is Literal:
        return lambda value: value in arguments
    if origin is tuple and arguments[-1:] != (...,):
        parts = tuple(map(_predicate, arguments))
        return lambda value: (
            isinstance(value, tuple)
            and len(value) == len(parts)
            and all(accepts(part) for accepts, part in zip(parts, value, strict=True))
        )
    item = _predicate(arguments[0])
    if issubclass(origin, Mapping):
        kept = _predicate(arguments[1])
        return lambda value: (
            isinstance(value, Mapping) and all(item(k) and kept(v) for k, v in value.items())
        )
    return lambda value: isinstance(value, origin) and all(map(item, value))


def _class_predicate(cls: Any) -> Predicate:
    if isinstance(cls, type) and is_dataclass(cls):

        def accepts(value: Any) -> bool:
            if _accepted.get(id(value)) is value:
                return True
            accepted = isinstance(value, cls) and all(
                test(getattr(value, name)) for name, test in _fields(type(value))
            )
            if accepted and len(_accepted) < _REMEMBERED:
                _accepted[id(value)] = value
            return accepted

        return accepts
    if cls is int:  # True is an int
        return lambda value: type(value) is int
    return lambda value: isinstance(value, cls)
