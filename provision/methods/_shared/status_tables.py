"""Tables and JSON of `show` for methods with one status for each network of a host. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Protocol, TypeVar

from provision.methods._parts import Row
from provision.model.inventory import Network


class NetworkStatus(Protocol):
    """The status of a network on one host. `error` is empty if the host has answered."""

    @property
    def host(self) -> str: ...

    @property
    def network(self) -> str: ...

    @property
    def error(self) -> str: ...


_Status = TypeVar("_Status", bound=NetworkStatus)


def of_network(statuses: Iterable[_Status], network: Network) -> _Status:
    """The status of a network, of those of a host."""
    return next(status for status in statuses if status.network == network.name)


def tables(
    title: str,
    columns: Row,
    statuses: Mapping[str, Iterable[_Status]],
    rows: Callable[[_Status], Iterator[Row]],
) -> Iterator[tuple[str, Row, tuple[Row, ...]]]:
    """Yield the table of all hosts, unless it has no rows; `rows` lack the host and the network."""
    every = tuple(
        (status.host, status.network, *row)
        for status in chain.from_iterable(statuses.values())
        for row in rows(status)
    )
    if every:
        yield title, ("host", "network", *columns), every


def as_json(
    key: str,
    statuses: Mapping[str, Iterable[_Status]],
    fields: Callable[[_Status], Mapping[str, Any]],
) -> Mapping[str, Any]:
    """The key of `show --json`: an object for each network and host; empty without a status."""
    entries = [
        {
            "host": status.host,
            "network": status.network,
            "error": status.error or None,
            **fields(status),
        }
        for status in chain.from_iterable(statuses.values())
    ]
    return {key: entries} if entries else {}
