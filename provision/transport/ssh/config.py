"""OpenSSH client configuration as one text that paramiko reads correctly.

paramiko ignores `Include`, and takes a `Match` criterion that it does not know for one that
holds. So `Include` is resolved here, and an unknown criterion is an error. Pure but for reading
the files. Format: ssh_config(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from provision.model.errors import UsageError
from provision.model.text import quoted

USER, SYSTEM = Path("~/.ssh/config"), Path("/etc/ssh/ssh_config")
DEEPEST = 16  # READCONF_MAX_DEPTH of OpenSSH
_CRITERIA = ("all", "canonical", "final", "host", "originalhost", "user", "localuser", "exec")
_LINE = re.compile(r"\s*(?P<keyword>\w+)(?:\s*=\s*|\s+)(?P<value>.*?)\s*")
_NO_VALUE = ("all", "canonical", "final")
IGNORED = (
    *("certificatefile", "identityagent", "knownhostscommand", "pkcs11provider"),
    *("revokedhostkeys", "securitykeyprovider", "canonicalizehostname"),
)
"""Options about trust and login that OpenSSH follows and provision does not."""


def text(path: Path | None) -> str:
    """The configuration in `path`, or the user's and the system's. Raises UsageError."""
    if path is not None:
        # `ssh -F FILE`, too, resolves relative names of Include against ~/.ssh.
        return "\n".join(_lines(path, USER.expanduser().parent, 0))
    files = [path for path in (USER.expanduser(), SYSTEM) if path.is_file()]
    # The first value of an option counts, so the user's file comes first. Each file begins with
    # `Host *`, because the previous one may end inside a block for certain hosts.
    parts = [_lines(file, file.parent, 0) for file in files]
    return "\n".join(line for lines in parts for line in ("Host *", *lines))


def _lines(path: Path, folder: Path, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise UsageError(
            f"{path}: Include is nested deeper than {DEEPEST}",
            "check for a file that includes itself",
        )
    header = "Host *"
    for number, line in enumerate(_read(path).splitlines(), 1):
        match = _LINE.fullmatch(line)
        keyword = match["keyword"].lower() if match else ""
        if match and keyword == "include":
            for included in _included(match["value"], folder):
                # Options before the included file's first block belong to the block around the
                # Include; its last block ends with it, so repeat our header after it.
                yield header
                yield from _lines(included, folder, depth + 1)
                yield header
            continue
        if match and keyword == "match":
            _refuse_unknown(match["value"], f"{path}:{number}")
        if keyword in ("host", "match"):
            header = line
        yield line


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", "check that the file exists and that you may read it"
        ) from error


def _included(patterns: str, folder: Path) -> Iterator[Path]:
    for pattern in patterns.replace('"', "").split():
        whole = folder / Path(pattern).expanduser()
        matches = whole.parent.glob(whole.name) if whole.parent.is_dir() else ()
        yield from (path for path in sorted(matches) if path.is_file())


def _refuse_unknown(criteria: str, position: str) -> None:
    """Raise UsageError for a criterion of Match that paramiko does not know."""
    tokens = criteria.split()
    while tokens:
        criterion = tokens.pop(0).lower().removeprefix("!").partition("=")[0]
        if criterion not in _CRITERIA:
            raise UsageError(
                f"{position}: Match {quoted(criterion)} is not supported",
                f"use {', '.join(_CRITERIA)}; or name another file by --ssh-config",
            )
        if criterion == "exec":
            return  # the rest of the line is a shell command
        if criterion not in _NO_VALUE and tokens:
            tokens.pop(0)
