"""The journal of the controller: a file for each change, with the token that confirms it.

Each decision is noted before the controller acts on it. Where a host's own record differs from the
journal, the record is right.
"""

from __future__ import annotations

import errno
import json
import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from provision.model import file_lock
from provision.model.errors import UsageError

LEFT = "left to a person"
_HINT = "set XDG_STATE_HOME to a folder that you can write"


def folder(inventory: Path) -> Path:
    """The folder with the journals of one inventory. Raises UsageError if there is no home."""
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise UsageError(
            "this user has no home folder, in which journals of changes are kept",
            "set XDG_STATE_HOME to a folder that you can write",
        ) from error
    digest = sha256(str(inventory.resolve()).encode()).hexdigest()[:16]
    return Path(state) / "provision" / digest / "runs"


class Journal:
    """The journal of one change, locked while this process lives, so that others can tell."""

    def __init__(self, inventory: Path, txn: str) -> None:
        journals = folder(inventory)
        try:
            journals.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"the folder of the journals, {journals}, cannot be made: {error.strerror}",
                _HINT,
            ) from error
        self._path = journals / f"{txn}.jsonl"
        # O_APPEND: each write is one line at the end of the file, also from several threads.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self._file = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        file_lock.lock(self._file)
        self._begun = False
        self.error: OSError | None = None
        """Why the journal ends before the change."""

    def note(self, decision: str, **fields: Any) -> None:
        """Add a line, and wait until it is on the disk.

        Raises UsageError if that fails for the first one, which has the token. Later on, hosts wait
        for the end of the change, which a full disk of this machine must not stop.
        """
        if self.error is not None:
            return  # behind a line that was cut off, another one could not be read
        line = json.dumps({"at": round(time.time(), 3), "decision": decision, **fields}) + "\n"
        try:
            if os.write(self._file, line.encode()) < len(line.encode()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # After a power cut the token would be lost otherwise, with hosts waiting for it.
            os.fsync(self._file)
        except OSError as error:
            if not self._begun:
                raise self._unwritable(error) from error
            self.error = error
        self._begun = True

    def _unwritable(self, error: OSError) -> UsageError:
        message = f"the journal of the change, {self._path}, cannot be written: {error.strerror}"
        return UsageError(message, _HINT)

    def close(self) -> None:
        """Close the file and release its lock."""
        os.close(self._file)


def abandoned(inventory: Path, txn: str) -> bool:
    """Return True if a run of this controller made the change, and died or gave up on a host."""
    try:
        # A run that goes on holds the lock; another controller's run has no journal here.
        with file_lock.locked(folder(inventory) / f"{txn}.jsonl", wait=False):
            entries = notes(inventory, txn)
    except OSError:
        return False
    return not entries or entries[-1].get("decision") != LEFT


def notes(inventory: Path, txn: str) -> tuple[dict[str, Any], ...]:
    """The notes of a change; empty if another controller made it."""
    try:
        lines = (folder(inventory) / f"{txn}.jsonl").read_text().splitlines()
    except OSError:
        return ()
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break  # the controller died while it wrote this line
    return tuple(entry for entry in entries if isinstance(entry, dict))


def token(inventory: Path, txn: str) -> str | None:
    """The token that confirms a change; None if another controller made it."""
    tokens = [str(entry["word"]) for entry in notes(inventory, txn) if "word" in entry]
    return tokens[0] if tokens else None
