"""The scripts that arm, make, confirm and roll back a change on a host, and their answers. Pure.

On the host a change is the folder `txn`, which `templates/guard/guard.sh` renames as the change
goes on. `script` renders the change itself, and `undo` its rollback.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from provision.resources import kinds, script
from provision.resources.on_hosts import lock_path
from provision.resources.render import program_text

FOLDER = "/var/lib/provision"
TXN = f"{FOLDER}/txn"
PADDING = 64 * 1024
"""Bytes of the test transfer, each way, over a new connection: many packets of full size."""

BUSY, GONE, REFUSED, WRONG, UNRECORDED = 8, 3, 4, 7, 9
"""Exit statuses of the guard."""

_STATUS = program_text("guard/status.sh")


@dataclass(frozen=True, slots=True)
class Txn:
    """One change, the same on all its hosts.

    `token` is the secret that confirms it. It is sent only when confirming; until then hosts store
    just its SHA-256, so no program on a host can confirm a change.
    """

    id: str
    token: str
    owner: str
    inventory: str
    verb: str


@dataclass(frozen=True, slots=True)
class TransactionStep:
    """The scripts of one part of a change: a wave, or a later round.

    `undo` rolls it back, `drop_stash` deletes its stash. `permanent`: it is never rolled back.
    """

    undo: str
    drop_stash: str
    permanent: bool = False


def program() -> tuple[str, str]:
    """The path of the guard on a host, and its text; the name has a digest of the text."""
    text = program_text("host/lock_holders.sh", "guard/compare.sh", "guard/guard.sh")
    return f"{FOLDER}/guard-{sha256(text.encode()).hexdigest()[:16]}", text


def fingerprint() -> str:
    """A script that prints the fingerprints of every kind, to compare a host with itself."""
    docker = program_text("look/docker_api.pl", "guard/docker_objects.pl")
    lines = ["#!/bin/sh", script.PRELUDE, f"docker_program={script.quoted((docker,))}"]
    lines += [program_text("look/need.sh", "guard/fingerprint.sh")]
    lines += [
        f"echo '# {kind.kind}'\n(\n{kind.fingerprint.strip()}\n)"
        for kind in kinds.all_kinds()
        if kind.fingerprint.strip() != ":"
    ]
    return "\n".join(lines) + "\n"


def arm(txn: Txn, part: TransactionStep, *, seconds: int, nonce: str, origin: str = "") -> str:
    """A script that records the fingerprint, sets the timer and locks the host; changes nothing.

    `origin`: the record of the inventory file, which the host keeps once the change is confirmed;
    with an empty one it forgets its record.
    """
    path, text = program()
    # `about`, `nonce` and `witness` are names of files in the guard of every version: they stay.
    about = {"owner": txn.owner, "inventory": txn.inventory, "verb": txn.verb}
    sent, guard = f"/run/provision-arm.{txn.id}", f"{FOLDER}/new.{txn.id}.guard"
    files = {
        "id": txn.id + "\n",
        "about": json.dumps(about) + "\n",
        "nonce": sha256(txn.token.encode()).hexdigest() + "\n",
        "lock": lock_path(txn.inventory) + "\n",
        "origin": origin,
        "witness": fingerprint(),
        **_numbered(part, 1),
    }
    return "\n".join(
        [
            script.PRELUDE,
            # The scripts hold the environment of containers, and so perhaps passwords.
            "umask 077",
            f"refuse() {{ printf '%s\\n' \"$1\" >&2; rm -rf {sent} {guard}; exit {REFUSED}; }}",
            f"[ ! -h {FOLDER} ] || refuse '{FOLDER} is a symbolic link'",
            f"{{ mkdir -p {FOLDER} && chmod 700 {FOLDER} && mkdir {sent}; }} ||",
            f"  refuse '{FOLDER} cannot be written'",
            *_files({f"{sent}/{name}": text for name, text in files.items()}, nonce),
            f"[ -f {path} ] || {{",
            *_files({guard: text}, nonce),
            # Without sync the file may be empty under its new name after a crash: file systems
            # delay the allocation of data, but not the rename.
            f"  {{ sync {guard} && mv -fT {guard} {path}; }} ||",
            "    refuse 'no room for the guard'",
            "}",
            f"sh {path} arm {txn.id} {seconds}; status=$?",
            f"[ $status = 0 ] || {{ rm -rf {sent}; {_STATUS}\nexit $status; }}",
        ]
    )


def extend(txn: Txn, number: int, part: TransactionStep, *, seconds: int, nonce: str) -> str:
    """A script that gives an armed host the rollback of a later part, with `seconds` for it."""
    path, _ = program()
    files = {f"{TXN}/{name}": text for name, text in _numbered(part, number).items()}
    return "\n".join(
        [
            script.PRELUDE,
            "umask 077",
            f"refuse() {{ printf '%s\\n' \"$1\" >&2; exit {REFUSED}; }}",
            f'[ "$(cat {TXN}/id 2>/dev/null)" = {txn.id} ] || exit {GONE}',
            f"sh {path} rearm {txn.id} {seconds} || exit {GONE}",
            *_files(files, nonce),
            f"sync {' '.join(files)} {TXN} || exit {REFUSED}",
        ]
    )


def act(txn: Txn, number: int, change: str, *, nonce: str) -> str:
    """A script that makes one part of an armed change, whose rollback is on the host.

    The part runs as a systemd unit of the host, so that it goes on if SSH does not.
    """
    path, _ = program()
    unit = f"provision-act-{txn.id}-{number}"
    # --pipe: the unit reads `change` from the pipe of the here-document. Passwords in it reach no
    # disk and no argument.
    run = f"systemd-run -q --wait --pipe --collect --unit={unit}"
    return "\n".join(
        [
            script.PRELUDE,
            f'[ "$(cat {TXN}/id 2>/dev/null)" = {txn.id} ] || exit {GONE}',
            f"{run} /bin/sh {path} act {txn.id} {number} {nonce} <<'@{nonce}'; status=$?",
            f"{change}\n# end {nonce}\n@{nonce}",
            # A rollback that began meanwhile has renamed the folder.
            f"cat {TXN}/out.{number} 2>/dev/null || cat {FOLDER}/*.{txn.id}/out.{number}",
            "exit $status",
        ]
    )


def journal(number: int) -> str:
    """Shell text that notes on the disk, before an operation of a part begins, that it begins."""
    return f'echo "{number}.$1" >>{TXN}/journal && sync {TXN}/journal'


def rearm(txn: Txn, *, seconds: int, nonce: str) -> str:
    """A script that sets the timer anew to `seconds`, and makes a test transfer each way.

    It runs over a new connection. The script of a snapshot may follow it.
    """
    path, _ = program()
    return "\n".join(
        [
            script.PRELUDE,
            # The transfer to the host is the script itself. A path that drops packets of full size
            # lets small ones through, so that logins work on it and everything else hangs.
            f": {'x' * PADDING}",
            f"sh {path} rearm {txn.id} {seconds} || {{ status=$?; {_STATUS}\nexit $status; }}",
            f"printf '@{nonce} kept '; head -c {PADDING} /dev/zero | tr '\\0' x; echo",
        ]
    )


def is_complete(stdout: str, *, nonce: str) -> bool:
    """Return True if the test transfer of `rearm` arrived whole."""
    return f"@{nonce} kept {'x' * PADDING}\n" in stdout


def confirm(txn: Txn) -> str:
    """A script that confirms the change, and prints the records."""
    return "\n".join([script.PRELUDE, _verb("confirm", txn.id, txn.token), _STATUS, "exit $status"])


def force(txn_id: str, owner: str) -> str:
    """The same without the token, for a user who has another controller than the change."""
    verb = _verb("confirm", txn_id, "--force", owner)
    return "\n".join([script.PRELUDE, verb, _STATUS, "exit $status"])


def revert(txn_id: str, reason: str, *, nonce: str) -> str:
    """A script that rolls the change back, as a unit of the host, and prints the records."""
    unit = f"provision-undo-{txn_id}-{nonce}"
    # The kernel's OOM killer must spare the rollback: nothing else brings the host back.
    run = f"systemd-run -q --wait --collect --unit={unit} -p OOMScoreAdjust=-1000"
    roll_back = f'{run} /bin/sh "$guard" revert {txn_id} {shlex.quote(reason)}'
    return "\n".join(
        [
            script.PRELUDE,
            f'for guard in {FOLDER}/guard-*; do [ -f "$guard" ] && {roll_back}; done',
            _STATUS,
        ]
    )


def status() -> str:
    """A script that prints the records, and changes nothing."""
    return script.PRELUDE + _STATUS


def _verb(*arguments: str) -> str:
    # Any version of the guard will do: all of them know each other's folders. This version first,
    # because an earlier one, which stays on the host, does not keep the record `origin`.
    find = f'for guard in {program()[0]} {FOLDER}/guard-*; do [ -f "$guard" ] && break; done'
    return f'{find}\nsh "$guard" {script.quoted(arguments)}; status=$?'


def _numbered(part: TransactionStep, number: int) -> dict[str, str]:
    files = {f"undo.{number}": part.undo, f"discard.{number}": part.drop_stash}
    return files | ({f"kept.{number}": ""} if part.permanent else {})


def _files(files: Mapping[str, str], nonce: str) -> Iterator[str]:
    """Shell lines that write files. The random nonce ends each: no text can contain it."""
    for path, text in files.items():
        lines = text if text.endswith("\n") or not text else text + "\n"
        yield f"cat >{path} <<'@{nonce}' || refuse 'no room for {path}'\n{lines}@{nonce}"
