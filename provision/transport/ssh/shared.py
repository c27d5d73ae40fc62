"""A connection that several threads share: the first one opens it, the others wait for that."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from threading import Lock
from typing import Generic, Protocol, TypeVar

from provision.transport.ssh.errors import JumpHostError


class Openable(Protocol):
    """A connection to a jump host."""

    @property
    def name(self) -> str:
        """The name of the jump host."""
        ...

    @property
    def is_connected(self) -> bool:
        """False before `open`, and once the connection is lost."""
        ...

    def open(self) -> None:
        """Connect and log in."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


T = TypeVar("T", bound=Openable)


class Shared(Generic[T]):
    """A connection to a jump host, opened once."""

    def __init__(self, connection: T) -> None:
        self.connection = connection
        self._lock = Lock()
        self._attempt: Future[None] | None = None

    def opened(self) -> T:
        """The open connection. Raises JumpHostError, in each thread that has waited for it."""
        with self._lock:
            attempt = self._attempt
            lost = attempt is not None and attempt.done() and not self.connection.is_connected
            mine = attempt is None or lost
            if mine:
                attempt = self._attempt = Future()
        assert attempt is not None
        if mine:
            self._open(attempt)
        try:
            attempt.result()
        except JumpHostError:
            raise
        except Exception as error:
            raise JumpHostError(self.connection.name, error) from error
        return self.connection

    def _open(self, attempt: Future[None]) -> None:
        try:
            self.connection.open()
        except BaseException as error:
            attempt.set_exception(error)
        else:
            attempt.set_result(None)

    def close(self) -> None:
        """Close the connection, whether it is open or not."""
        with suppress(Exception):
            self.connection.close()
