"""Steps that a host carries out, as values; `script` turns them into shell text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """A command as an argument vector, quoted once by `script`; `stdin` is fed to it."""

    argv: tuple[str, ...]
    stdin: str | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """A file with exactly this text and mode, replaced atomically."""

    path: str
    text: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Unless:
    """Run `steps` unless `test` succeeds (or, with `prints`, unless it prints something).

    `note` is reported to the user when the steps are left out.
    """

    test: Run
    steps: tuple[Step, ...]
    prints: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Fail with `message`, or with what `test` prints where it is empty, if `test` succeeds.

    At the start of an operation: before the operation is in the journal, so that the rollback of
    the change does not touch what made the test succeed.
    """

    test: Run
    message: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """Run `steps`; if one fails, run `undo` and still report the failure."""

    steps: tuple[Step, ...]
    undo: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of the controller that must lie at `target` before the script of its wave runs."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True)
class Issue:
    """A certificate that the controller signs: `target`.crt and `target`.issued on the host.

    `request` is PEM. `signer` is the path of the authority's key and certificate without `.key`
    and `.crt`. `trusted` is the authority's certificate that the hosts already have (empty: none);
    it is also written to `authority`. `days` is the certificate's lifetime. `record` is a JSON
    object to which the sha256 of the certificate is added before it is written to `.issued`.
    """

    request: str
    signer: Path
    trusted: str
    subject: str
    addresses: tuple[str, ...]
    server: bool
    days: int
    target: str
    authority: str
    record: str


@dataclass(frozen=True, slots=True)
class Preshare:
    """A file of keys that `host` shares with each of `peers`, which the controller makes.

    All keys of a network follow from one secret of the controller, the file `secret`; `label` names
    the network. `known` is the fingerprint of the secret that the hosts have already (empty: none).
    `target` is readable by root alone.
    """

    secret: Path
    label: str
    host: str
    peers: tuple[str, ...]
    known: str
    target: str


Step = Run | Put | Unless | Refuse | Attempt | Upload | Issue | Preshare
Steps = tuple[Step, ...]


def sh(program: str, *arguments: str) -> Run:
    """Run a POSIX sh program, whose `$1`, `$2`, … are `arguments`: values never become code."""
    return Run(("sh", "-c", program, "sh", *arguments))


def fails(test: Run) -> Run:
    """Succeed where `test` fails."""
    return sh('! "$@" >/dev/null 2>&1', *test.argv)


def record_once(path: str, text: str) -> Unless:
    """Record an original value unless one is recorded: `destroy` restores the first of them."""
    return Unless(Run(("test", "-e", path)), (Put(path, text, 0o600),))


def remove_file(path: str) -> Steps:
    """Remove a file below provision's own folders, and each folder that is empty then."""
    parent = path.rsplit("/", 1)[0]
    return (
        Run(("rm", "-f", "--", path, partial_path(path))),
        Unless(Run(("test", "!", "-d", parent)), (Run(_rmdir(parent)),)),
    )


def partial_path(path: str) -> str:
    """The name under which a file is written before it is renamed to `path`.

    Hidden, so that no `*` of a shell matches a file that is not complete.
    """
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.provision-new"


def _rmdir(folder: str) -> tuple[str, ...]:
    # `rmdir -p` stops at the first folder that holds something; /etc and /var/lib always do.
    return ("rmdir", "-p", "--ignore-fail-on-non-empty", "--", folder)
