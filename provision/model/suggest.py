"""The known name that a user probably meant, for hints. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice

from provision.model.text import listed, quoted

_MAX_LENGTH = 40  # nobody mistypes longer names, such as hashes, and comparing them is slow
# difflib needs about 20 µs for a pair, which is minutes for thousands of unknown names among
# thousands of hosts: in a large vocabulary only names with the same beginning or end are compared.
_LARGE, _MAX_CANDIDATES = 64, 20


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None if none resembles it.

    Case, `-` and `_` do not count.
    """
    if len(name) > _MAX_LENGTH:
        return None
    by_folded, folded = _by_folded(tuple(known)), _fold(name)
    candidates = by_folded if len(by_folded) <= _LARGE else _same_ends(folded, by_folded)
    matches = get_close_matches(folded, candidates, n=1)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str], noun: str, limit: int = 8) -> str:
    """A hint: the nearest known name, else the first `limit` known names."""
    names = tuple(known)
    match = nearest(name, names)
    if match is not None:
        return f"did you mean {quoted(match)}?"
    return f"known {noun}: {listed(names, limit)}" if names else f"there are no {noun}"


@lru_cache(maxsize=64)
def _by_folded(names: tuple[str, ...]) -> dict[str, str]:
    return {_fold(name): name for name in reversed(names) if len(name) <= _MAX_LENGTH}


def _fold(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _same_ends(name: str, known: Iterable[str]) -> list[str]:
    """Known names that begin or end like `name`, as after a slip of a single key."""
    half = (len(name) + 1) // 2
    head, tail = name[:half], name[-half:]
    return [*islice((k for k in known if k.startswith(head) or k.endswith(tail)), _MAX_CANDIDATES)]
