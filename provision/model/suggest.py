"""The nearest known word, for messages. Pure.

Two words are near when deleting a letter or two of each makes them equal. An index of such
remainders stays fast where thousands of words are unknown, which comparing all pairs is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache

from provision.model.text import listed, quoted

_LONGEST = 40  # remainders of long words are too many, and nobody mistypes hashes
_FEW = 64  # in a small vocabulary two letters may differ
_CANDIDATES = 20
Index = dict[str, tuple[str, ...]]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or None."""
    words = tuple(known)
    if len(word) > _LONGEST:
        return None
    depth = 2 if len(words) <= _FEW else 1
    index = _index(words, depth)
    shapes = sorted(_remainders(word, depth))
    candidates = dict.fromkeys(near for shape in shapes for near in index.get(shape, ()))
    ranked = [(-_likeness(word, near), near) for near in list(candidates)[:_CANDIDATES]]
    return min(ranked, default=(0.0, None))[1]


def did_you_mean(word: str, known: Iterable[str], noun: str) -> str:
    """A hint: the nearest word, else the words there are."""
    words = tuple(known)
    near = nearest(word, words)
    if near is not None:
        return f"did you mean {quoted(near)}?"
    return f"known {noun}: {listed(words)}" if words else f"there are no {noun}"


@lru_cache(maxsize=64)
def _index(words: tuple[str, ...], depth: int) -> Index:
    index: dict[str, list[str]] = {}
    for word in words:
        if len(word) <= _LONGEST:
            for shape in _remainders(word, depth):
                index.setdefault(shape, []).append(word)
    return {shape: tuple(near) for shape, near in index.items()}


def _remainders(word: str, depth: int) -> set[str]:
    """The word with up to `depth` letters taken out, but never more than a third of it."""
    folded = word.lower().replace("_", "").replace("-", "")
    shapes = {folded}
    for _ in range(min(depth, len(folded) // 3)):
        shapes |= {s[:i] + s[i + 1 :] for s in shapes for i in range(len(s))}
    return shapes


def _likeness(word: str, near: str) -> float:
    return SequenceMatcher(None, word, near, autojunk=False).ratio()
