"""Files and folders that a change moves away on their host, so that a rollback has them back. Pure.

The stash of a change is a folder below /var/lib/provision/aside; each path has a place there by its
hash. Each program takes pairs of path and place, and can be repeated from any point of itself.
"""

from __future__ import annotations

from hashlib import sha256

from provision.resources.on_hosts import VAR
from provision.resources.steps import Run, Steps

STASHES = f"{VAR}/aside"


class Stashed:
    """For kinds that are files and folders only, those of `_paths`."""

    __slots__ = ()

    @property
    def _paths(self) -> tuple[str, ...]:
        raise NotImplementedError

    def stash(self, txn: str) -> Steps:
        return stash(txn, *self._paths)

    def unstash(self, txn: str) -> Steps:
        return unstash(txn, *self._paths)

    def drop_stash(self, txn: str) -> Steps:
        return drop(txn, *self._paths)


class StashedFile(Stashed):
    """For kinds that are the one file at `_path`."""

    __slots__ = ()

    @property
    def _path(self) -> str:
        raise NotImplementedError

    @property
    def _paths(self) -> tuple[str, ...]:
        return (self._path,)


# What a power cut left before its `mv` goes, too: see `partial_path`.
_STASH = """
while [ $# -gt 0 ]; do
  rm -f -- "${1%/*}/.${1##*/}.provision-new" || exit
  if [ -e "$1" ]; then
    (umask 077 && mkdir -p -- "${2%/*}") && rm -rf -- "$2" && mv -fT -- "$1" "$2" || exit
  fi
  [ ! -d "${1%/*}" ] || rmdir -p --ignore-fail-on-non-empty -- "${1%/*}" || exit
  shift 2
done
"""
_UNSTASH = """
while [ $# -gt 0 ]; do
  rm -f -- "${1%/*}/.${1##*/}.provision-new" || exit
  if [ -e "$2" ]; then
    mkdir -p -- "${1%/*}" && rm -rf -- "$1" && mv -fT -- "$2" "$1" || exit
  fi
  [ ! -d "${2%/*}" ] || rmdir -p --ignore-fail-on-non-empty -- "${2%/*}" || exit
  shift 2
done
"""
_DROP = """
while [ $# -gt 0 ]; do
  rm -rf -- "$2" || exit
  [ ! -d "${2%/*}" ] || rmdir -p --ignore-fail-on-non-empty -- "${2%/*}" || exit
  shift 2
done
"""


def stash(txn: str, *paths: str) -> Steps:
    """Move paths into the stash, and delete the folders that this leaves empty."""
    return (_run(_STASH, txn, paths),)


def unstash(txn: str, *paths: str) -> Steps:
    """Move paths back; what a successor has put at a path is deleted."""
    return (_run(_UNSTASH, txn, paths),)


def drop(txn: str, *paths: str) -> Steps:
    """Delete paths from the stash."""
    return (_run(_DROP, txn, paths),)


def _run(text: str, txn: str, paths: tuple[str, ...]) -> Run:
    pairs = (argument for path in paths for argument in (path, stash_path(txn, path)))
    return Run(("sh", "-c", text, "sh", *pairs))


def stash_path(txn: str, path: str) -> str:
    """The place of a path in the stash of a change."""
    return f"{STASHES}/{txn}/{sha256(path.encode()).hexdigest()[:16]}"
