"""The controller's own notes of what it decided, a file for each change: written before it is
acted on. The hosts' records count over it; it holds the word that confirms a change."""

from __future__ import annotations

import fcntl
import json
import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from provision.model.errors import UsageError

LEFT = "left to a person"


def folder(inventory: Path) -> Path:
    """Where the runs of one inventory are noted."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    digest = sha256(str(inventory.resolve()).encode()).hexdigest()[:16]
    return Path(state) / "provision" / digest / "runs"


class Journal:
    """The notes of one change; locked as long as this process lives, so that others can tell."""

    def __init__(self, inventory: Path, txn: str) -> None:
        where = folder(inventory)
        try:
            where.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{where} cannot be made, where each change is noted: {error.strerror}",
                "set XDG_STATE_HOME to a folder of yours",
            ) from error
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(where / f"{txn}.jsonl", flags, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def note(self, decision: str, **words: Any) -> None:
        """Add a line that lasts."""
        line = json.dumps({"at": round(time.time(), 3), "decision": decision, **words}) + "\n"
        os.write(self._file, line.encode())
        os.fsync(self._file)

    def close(self) -> None:
        """Nothing more will be noted."""
        os.close(self._file)


def abandoned(inventory: Path, txn: str) -> bool:
    """Whether a change was made from here by a run that has died, or that gave up on a host."""
    try:
        file = os.open(folder(inventory) / f"{txn}.jsonl", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(file)
    found = notes(inventory, txn)
    return not found or found[-1].get("decision") != LEFT


def notes(inventory: Path, txn: str) -> tuple[dict[str, Any], ...]:
    """What was noted of a change, none when it was not made from here."""
    try:
        lines = (folder(inventory) / f"{txn}.jsonl").read_text().splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            break  # the controller died while it wrote this
    return tuple(note for note in found if isinstance(note, dict))


def word(inventory: Path, txn: str) -> str | None:
    """The word that confirms a change, when it was made from here."""
    words = [str(note["word"]) for note in notes(inventory, txn) if "word" in note]
    return words[0] if words else None
