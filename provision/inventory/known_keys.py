"""The keys that a mapping inside a document may have, from the types of its fields. Pure."""

from __future__ import annotations

from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from provision.model.documents import Document
from provision.model.findings import Loc


def known_keys(schema: type[Document], path: Loc) -> tuple[str, ...]:
    """Keys of the mapping at `path` below a document, such as ("interfaces", 0, "routes", 1)."""
    hints: list[Any] = [schema]
    for step in path:
        hints = [inner for hint in hints for inner in _inside(hint, step)]
    return tuple(dict.fromkeys(key for hint in hints for key in _keys(hint)))


def _inside(hint: Any, step: str | int) -> list[Any]:
    """The types of the value at a key of a mapping, or of an item of a list."""
    if isinstance(step, int):
        return _alternatives(get_args(hint)[0]) if get_origin(hint) is list else []
    if get_origin(hint) is dict:
        return _alternatives(get_args(hint)[1])
    keys = _keys(hint)
    return _alternatives(keys[step]) if step in keys else []


def _alternatives(hint: Any) -> list[Any]:
    """The members of a union, without their validators."""
    if get_origin(hint) is Annotated:
        return _alternatives(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return [inner for part in get_args(hint) for inner in _alternatives(part)]
    return [hint]


def _keys(hint: Any) -> dict[str, Any]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return {name: field.annotation for name, field in hint.model_fields.items()}
    return get_type_hints(hint) if is_dataclass(hint) else {}
