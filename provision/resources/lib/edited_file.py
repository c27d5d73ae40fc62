"""Steps for a file that the administrator owns: it keeps its mode, owner and link. Pure."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from provision.resources.render import program_text
from provision.resources.steps import Refuse, Steps, sh

_EDIT = program_text("host/edit_file.sh")
# The file at the end of a symbolic link, not the link, which is the administrator's; and what is
# left of an edit that failed or was cut off.
_REMOVE = """
file=$(readlink -f -- "$1") || exit 0
rm -f -- "$file" "${file%/*}/.${file##*/}.provision-new"
"""
# By its sum: the file may have passwords, which must not be arguments of a process.
_CHANGED = """
[ $# != 1 ] || { [ -e "$1" ]; exit; }
[ "$(sha256sum <"$1")" != "$2  -" ]
"""


def write(path: str, text: str | None, attributes: str) -> Steps:
    """Write the file, with `attributes` (mode and owner) if it does not exist; None: remove it."""
    if text is None:
        return (sh(_REMOVE, path),)
    # On stdin: the file may have passwords, of a proxy or of a log driver.
    return (replace(sh(_EDIT, path, *attributes.split()), stdin=text),)


def refuse_changed(path: str, text: str | None) -> Refuse:
    """Refuse a file that somebody has written since the snapshot, which had `text` (None: none)."""
    expected = () if text is None else (sha256(text.encode()).hexdigest(),)
    return Refuse(sh(_CHANGED, path, *expected), f"{path} was changed since the plan: plan again")
