"""The example inventories with the addresses of a lab's ranges, in `.provision/inventories`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from provision.lab.layout import Lab
from provision.lab.ranges import DEFAULT, Ranges

_CHECKOUT = Path(__file__).parents[2]


def folder(lab: Lab) -> Path:
    return lab.dot / "inventories"


def ensure(lab: Lab, ranges: Ranges) -> tuple[Path, ...]:
    """Write the examples that are missing; none for the default ranges. Returns what is the lab's.

    A file that exists stays, since the user may have edited it.
    """
    texts = _texts(lab, ranges)
    if not texts:
        return ()
    folder(lab).mkdir(exist_ok=True)
    for path, text in texts.items():
        if not path.exists():
            path.write_text(text)
    return (folder(lab), *texts)


def remove(lab: Lab, ranges: Ranges) -> None:
    """Delete the examples that nobody has edited."""
    for path, text in _texts(lab, ranges).items():
        if path.is_file() and path.read_text() == text:
            path.unlink()
    with contextlib.suppress(OSError):
        folder(lab).rmdir()


def _texts(lab: Lab, ranges: Ranges) -> Mapping[Path, str]:
    """The text of each example by its path; an example without a lab's addresses is left out."""
    if ranges == DEFAULT:
        return {}
    texts = {}
    for path in _sources(lab):
        text = original = path.read_text()
        for old, new in zip(DEFAULT.both, ranges.both, strict=True):
            text = text.replace(_prefix(old), _prefix(new))
        if text != original:
            texts[folder(lab) / path.name] = text
    return texts


def _sources(lab: Lab) -> Iterator[Path]:
    """The examples in the lab's folder, else those of the checkout that this program runs from."""
    for place in (lab.folder, _CHECKOUT):
        if paths := sorted((place / "inventories").glob("*.yml")):
            yield from paths
            return


def _prefix(network: object) -> str:
    """The part of a /24 that all its addresses begin with, such as `10.78.0.`."""
    return str(network).removesuffix("0/24")
