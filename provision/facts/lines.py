"""`KEY VALUE` lines, as a host's probes print them."""

from __future__ import annotations

from typing import Any

from provision.resources.lib.shared_json import decode


class KeyedLines:
    """The lines of one probe; a key may come several times."""

    def __init__(self, text: str) -> None:
        self._pairs = [line.partition(" ")[::2] for line in text.splitlines() if line]
        self._last = dict(self._pairs)
        self._decoded: dict[str, Any] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._last

    def only(self, key: str, default: str | None = None) -> str:
        """The value of a key that comes once. Raises KeyError when it is missing, unless there is
        a default."""
        return self._last[key] if default is None else self._last.get(key, default)

    def every(self, key: str) -> tuple[str, ...]:
        """The values of a key, in the order of their lines."""
        return tuple(value for name, value in self._pairs if name == key)

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """The values of a key, each parted at its first blank; the second part may be empty."""
        parted = (value.partition(" ") for value in self.every(key))
        return tuple((first, rest) for first, _, rest in parted)

    def decoded(self, key: str, default: str | None = None) -> Any:
        """The JSON value of a key that comes once, the same object each time.

        Raises KeyError and ValueError.
        """
        if key not in self._decoded:
            self._decoded[key] = decode(self.only(key, default))
        return self._decoded[key]

    def by_interface(self) -> dict[str, list[tuple[str, str]]]:
        """Keys and values of the lines `KEY INTERFACE [VALUE]`, by interface."""
        grouped: dict[str, list[tuple[str, str]]] = {}
        for key, text in self._pairs:
            interface, _, value = text.partition(" ")
            grouped.setdefault(interface, []).append((key, value))
        return grouped
