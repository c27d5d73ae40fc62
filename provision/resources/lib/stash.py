"""Files and folders that a change puts aside on their host, so that it can have them back. Pure."""

from __future__ import annotations

from hashlib import sha256

from provision.resources.steps import Run, Steps

ASIDE = "/var/lib/provision/aside"


class Stashed:
    """What a kind does whose things are files and folders only, those of `_paths`."""

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


_KEEP = """
while [ $# -gt 0 ]; do
  if [ -e "$1" ]; then
    (umask 077 && mkdir -p -- "${2%/*}") && rm -rf -- "$2" && mv -fT -- "$1" "$2" || exit
  fi
  [ ! -d "${1%/*}" ] || rmdir -p --ignore-fail-on-non-empty -- "${1%/*}" || exit
  shift 2
done
"""
_BACK = """
while [ $# -gt 0 ]; do
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
    """Out of the way; from any point of it, again."""
    return (_run(_KEEP, txn, paths),)


def unstash(txn: str, *paths: str) -> Steps:
    """What was put aside is where it was; what is there by then goes."""
    return (_run(_BACK, txn, paths),)


def drop(txn: str, *paths: str) -> Steps:
    """What was put aside is gone for good."""
    return (_run(_DROP, txn, paths),)


def _run(text: str, txn: str, paths: tuple[str, ...]) -> Run:
    words = (word for path in paths for word in (path, _aside(txn, path)))
    return Run(("sh", "-c", text, "sh", *words))


def _aside(txn: str, path: str) -> str:
    return f"{ASIDE}/{txn}/{sha256(path.encode()).hexdigest()[:16]}"
