"""OpenSSH client configurations as one text: `Include` resolved, what nobody reads refused.

Paramiko knows `Host`, and `Match` with the words below; it takes any other criterion for one that
holds, and passes over `Include`. Pure but for reading the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from provision.model.errors import UsageError
from provision.model.findings import quoted

USER, SYSTEM = Path("~/.ssh/config"), Path("/etc/ssh/ssh_config")
DEEPEST = 16  # as OpenSSH
_MATCHES = ("all", "canonical", "final", "host", "originalhost", "user", "localuser", "exec")
_LINE = re.compile(r"\s*(?P<word>\w+)(?:\s*=\s*|\s+)(?P<rest>.*?)\s*")
_NO_VALUE = ("all", "canonical", "final")
UNREAD = (
    *("certificatefile", "identityagent", "knownhostscommand", "pkcs11provider"),
    *("revokedhostkeys", "securitykeyprovider", "canonicalizehostname"),
)
"""Options that change who is trusted or how one logs in, and that are not used here."""


def text(path: Path | None) -> str:
    """The configuration in `path`, or the user's and the system's. Raises UsageError."""
    if path is not None:
        return "\n".join(_lines(path, USER.expanduser().parent, 0))  # as `ssh -F` has it
    user, system = USER.expanduser(), SYSTEM
    found = [_lines(file, file.parent, 0) for file in (user, system) if file.is_file()]
    # The first value counts; a header opens each part, as the one before ends in any block.
    return "\n".join(line for lines in found for line in ("Host *", *lines))


def _lines(path: Path, folder: Path, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise UsageError(f"{path}: Include nested deeper than {DEEPEST}", "does it name itself?")
    header = "Host *"
    for number, line in enumerate(_read(path).splitlines(), 1):
        match = _LINE.fullmatch(line)
        word = match["word"].lower() if match else ""
        if match and word == "include":
            for included in _included(match["rest"], folder):
                # A block of the included file must not go on here, nor this one there.
                yield header
                yield from _lines(included, folder, depth + 1)
                yield header
            continue
        if match and word == "match":
            _refuse_unknown(match["rest"], f"{path}:{number}")
        if word in ("host", "match"):
            header = line
        yield line


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", "check the path and who may read it"
        ) from error


def _included(patterns: str, folder: Path) -> Iterator[Path]:
    for pattern in patterns.replace('"', "").split():
        whole = folder / Path(pattern).expanduser()
        found = whole.parent.glob(whole.name) if whole.parent.is_dir() else ()
        yield from (path for path in sorted(found) if path.is_file())


def _refuse_unknown(criteria: str, where: str) -> None:
    words = criteria.split()
    while words:
        word = words.pop(0).lower().removeprefix("!").partition("=")[0]
        if word not in _MATCHES:
            raise UsageError(
                f"{where}: Match {quoted(word)} is not known here",
                f"known are {', '.join(_MATCHES)}; or name another file by --ssh-config",
            )
        if word == "exec":
            return  # what follows is a command line
        if word not in _NO_VALUE and words:
            words.pop(0)
