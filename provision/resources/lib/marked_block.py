"""Blocks of ours in the files of an administrator, which keep the lines that they replace. Pure.

A block begins and ends with a line of its own, which has the mark. The lines that it replaces stay
in it as comments that begin with `#|`, so the file can be restored to the byte without any record,
also after the administrator has changed other lines of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from provision.resources.on_hosts import Mark
from provision.resources.render import program_text
from provision.resources.steps import Run, sh

_KEPT, _UNFINISHED = "#|", "#~"
"""Prefixes of a replaced line; `#~`: of the last line of a file that ends without a newline."""
_UNWRAP = program_text("host/unwrap_file.sh")


def begin(mark: Mark) -> str:
    """The first line of each block."""
    return f"# {mark.tag} begin: `provision destroy` restores the lines after #|"


def end(mark: Mark) -> str:
    """The last line of each block."""
    return f"# {mark.tag} end"


def wrap(text: str, mark: Mark, blocks: Mapping[range, Sequence[str]]) -> str:
    """`text` with a block in the place of each range of its lines, which count from 0.

    `blocks` gives the new lines of each block; the ranges do not overlap. Ranges that follow each
    other without a line between them become one block.
    """
    blocks = _joined(blocks)
    lines = text.splitlines(keepends=True)
    starts = {lines_of.start: lines_of for lines_of in blocks}
    result, number = [], 0
    while number < len(lines):
        replaced = starts.get(number)
        if replaced is None:
            result.append(lines[number])
            number += 1
        else:
            kept = lines[replaced.start : replaced.stop]
            result += _block(mark, kept, blocks[replaced])
            number = replaced.stop
    return "".join(result)


def _joined(blocks: Mapping[range, Sequence[str]]) -> dict[range, Sequence[str]]:
    joined: dict[range, Sequence[str]] = {}
    for lines in sorted(blocks, key=lambda lines: lines.start):
        last = next(reversed(joined), None)
        if last is not None and last.stop == lines.start:
            joined[range(last.start, lines.stop)] = (*joined.pop(last), *blocks[lines])
        else:
            joined[lines] = blocks[lines]
    return joined


def _block(mark: Mark, kept: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    yield f"{begin(mark)}\n"
    for line in kept:
        yield f"{_KEPT}{line}" if line.endswith("\n") else f"{_UNFINISHED}{line}\n"
    yield from (f"{line}\n" for line in new)
    yield f"{end(mark)}\n"


def unwrap(text: str, mark: Mark) -> str:
    """`text` without the blocks of `mark`, whose replaced lines are back."""
    result, inside = [], False
    for line in text.splitlines(keepends=True):
        bare = line.rstrip("\n")
        if bare == (end(mark) if inside else begin(mark)):
            inside = not inside
        elif not inside:
            result.append(line)
        elif line.startswith(_KEPT):
            result.append(line.removeprefix(_KEPT))
        elif line.startswith(_UNFINISHED):
            result.append(bare.removeprefix(_UNFINISHED))
    return "".join(result)


def is_in_block(text: str, number: int) -> bool:
    """True if a line, counted from 0, is in a block of any inventory."""
    inside = False
    for line in text.splitlines()[: number + 1]:
        if line.startswith("# provision:") and " begin: " in line:
            inside = True
        elif line.startswith("# provision:") and line.endswith(" end"):
            inside = False
    return inside


def restore(path: str, mark: Mark) -> Run:
    """Restore the lines on the host, whatever else the file has by then."""
    return sh(_UNWRAP, path, begin(mark), end(mark))
