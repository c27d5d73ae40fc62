"""The files of the network managers of a host that has a `pipework` bridge. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from provision.facts.lines import KeyedLines
from provision.facts.probe import FactsProbe
from provision.resources.lib import marked_block
from provision.resources.lib.base64_text import decode_text
from provision.resources.lib.managers.base import (
    ManagerFiles,
    ManagerSetting,
    NicManager,
    UnreadFile,
)
from provision.resources.on_hosts import Mark
from provision.resources.render import program_text


def _parse(text: str) -> ManagerFiles:
    lines = KeyedLines(text)
    return ManagerFiles(
        texts={path: decode_text(content) for content, path in lines.pairs("file")},
        unread=tuple(_unread(lines)),
        profiles=dict(lines.pairs("profile")),
        metrics=dict(lines.pairs("metric")),
        settings=tuple(_settings(lines)),
    )


def _unread(lines: KeyedLines) -> Iterator[UnreadFile]:
    for rest in lines.every("unread"):
        number, content, path = rest.split(" ", 2)
        yield UnreadFile(path, int(number), content)


def _settings(lines: KeyedLines) -> Iterator[ManagerSetting]:
    for rest in lines.every("setting"):
        number, content, path = rest.split(" ", 2)
        key, _, value = content.partition("=")
        yield ManagerSetting(path, int(number), key, value)


PROBE = FactsProbe("managers", program_text("look/managers.sh"), _parse)


def without_bridge(files: ManagerFiles, manager: NicManager, mark: Mark) -> ManagerFiles:
    """The files as they would be without the bridge of `mark`."""
    added = manager.paths(mark)
    texts = {
        path: marked_block.unwrap(text, mark)
        for path, text in files.texts.items()
        if path not in added
    }
    return replace(files, texts=texts)
