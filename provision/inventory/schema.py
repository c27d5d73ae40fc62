"""The pydantic model of a network: the common keys and those of its method.

The package `rules` checks how values relate to each other; `schema_errors` words the messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from functools import lru_cache, reduce
from ipaddress import IPv4Address, IPv4Network
from operator import or_
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import create_model

from provision import methods
from provision.model.documents import HostDocument, NetworkDocument
from provision.model.fields.scalars import Address, Cidr
from provision.model.help import Help


def options_of(method: str) -> Any:
    """The Options dataclass of a method."""
    return methods.named(method).Options


@lru_cache  # building a pydantic model takes milliseconds, and a file may have many networks
def network_document(method: str) -> type[NetworkDocument]:
    """`NetworkDocument` with the keys of one method."""
    options = options_of(method)
    hints = get_type_hints(options, include_extras=True)
    keys: dict[str, Any] = {
        field.name: (_textual(hints[field.name]), _default(field)) for field in _fields(options)
    }
    return create_model(f"{method}_network", __base__=NetworkDocument, **keys)


def method_keys(names: Iterable[object]) -> tuple[str, ...]:
    """Those of the names that are the keys of methods in an entry of `hosts`."""
    known = (name for name in names if isinstance(name, str) and methods.is_known(name))
    return tuple(sorted(name for name in known if methods.named(name).HostOptions is not None))


@lru_cache
def host_document(keys: tuple[str, ...] = ()) -> type[HostDocument]:
    """`HostDocument` with these keys of methods."""
    if not keys:
        return HostDocument
    types: dict[str, Any] = {key: methods.named(key).HostOptions for key in keys}
    documents: dict[str, Any] = {key: (document | None, None) for key, document in types.items()}
    return create_model("host", __base__=HostDocument, **documents)


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
    """A type with its addresses and networks parsed by `fields.scalars` instead of pydantic."""
    if get_origin(hint) is Annotated:
        content, *metadata = get_args(hint)
        checks = [each for each in metadata if not isinstance(each, Help)]
        return Annotated[(_textual(content), *checks)] if checks else _textual(content)
    if get_origin(hint) in (Union, UnionType):
        return reduce(or_, (_textual(part) for part in get_args(hint)))
    return {IPv4Address: Address, IPv4Network: Cidr}.get(hint, hint)
