"""The shape of an inventory file: its keys and the form of single values, as pydantic sees them.

What values mean to each other is `inventory_rules`' matter, the words of errors `inventory_words`'.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from functools import lru_cache, reduce
from ipaddress import IPv4Address, IPv4Network
from operator import or_
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import create_model

from provision import methods
from provision.model.documents import NetworkDocument
from provision.model.fields.scalars import Address, Cidr


def options_of(method: str) -> Any:
    """The Options dataclass of a method of the shelf."""
    return methods.named(method).Options


@lru_cache
def network_document(method: str) -> type[NetworkDocument]:
    """`NetworkDocument` with the keys of one method."""
    options = options_of(method)
    hints = get_type_hints(options, include_extras=True)
    keys: dict[str, Any] = {
        field.name: (_textual(hints[field.name]), _default(field)) for field in _fields(options)
    }
    return create_model(f"{method}_network", __base__=NetworkDocument, **keys)


def _fields(options: Any) -> list[Field[Any]]:
    """The fields of a dataclass, its own before inherited ones: the order of keys in messages."""
    depth = {
        name: number
        for number, parent in reversed([*enumerate(options.__mro__)])
        for name in vars(parent).get("__annotations__", ())
    }
    return sorted(fields(options), key=lambda field: depth[field.name])


def _default(field: Any) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return ... if field.default is MISSING else field.default


def _textual(hint: Any) -> Any:
    """A field's type with our own reading of addresses in it."""
    if get_origin(hint) in (Union, UnionType):
        return reduce(or_, (_textual(part) for part in get_args(hint)))
    return {IPv4Address: Address, IPv4Network: Cidr}.get(hint, hint)
