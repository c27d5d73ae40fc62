"""The guard of a host: the scripts that arm, make, keep, confirm and undo a change, and what they
answer. Pure: the change itself is `script`'s word, its undo `undo`'s.

On the host a change is the folder `txn`; `templates/guard/guard.sh` says what becomes of it.
"""

from __future__ import annotations

import json
import re
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
"""Bytes that move each way over a new connection before a change is believed to be harmless."""

BUSY, GONE, REFUSED, WRONG, UNRECORDED = 8, 3, 4, 7, 9
"""Exit statuses of the guard."""


@dataclass(frozen=True, slots=True)
class Txn:
    """One change, the same on all its hosts: the word is what confirms it, and never leaves us
    before that; a host has its hash."""

    id: str
    token: str
    owner: str
    inventory: str
    verb: str


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """What a host says of a change. `state`: txn, reverting, reverted, confirmed. Times in seconds
    of the host's clock, on which it is `now`; 0: not known."""

    state: str
    id: str
    since: int
    deadline: int
    ended: int
    now: int
    reason: str
    result: str
    owner: str
    inventory: str
    verb: str
    log: str = ""

    @property
    def pending(self) -> bool:
        """Whether it holds the host."""
        return self.state in ("txn", "reverting")


@dataclass(frozen=True, slots=True)
class TransactionStep:
    """The files of one part of a change: a wave, or a later round. `kept`: it is not undone."""

    undo: str
    drop_stash: str
    permanent: bool = False


def program() -> tuple[str, str]:
    """Where the guard lies on a host, and its text: another text has another name."""
    text = program_text("guard/guard.sh")
    return f"{FOLDER}/guard-{sha256(text.encode()).hexdigest()[:16]}", text


def fingerprint() -> str:
    """A script that prints what a host holds of ours, for comparison with itself."""
    lines = ["#!/bin/sh", script.PRELUDE, program_text("look/need.sh", "guard/fingerprint.sh")]
    lines += [
        f"echo '# {kind.kind}'\n(\n{kind.fingerprint.strip()}\n)" for kind in kinds.all_kinds()
    ]
    return "\n".join(lines) + "\n"


def arm(txn: Txn, part: TransactionStep, *, seconds: int, nonce: str) -> str:
    """Record what is there, set the timer, and hold the host; then nothing is changed yet."""
    path, text = program()
    about = {"owner": txn.owner, "inventory": txn.inventory, "verb": txn.verb}
    new = f"{FOLDER}/new.{txn.id}"
    files = {
        "id": txn.id + "\n",
        "about": json.dumps(about) + "\n",
        "nonce": sha256(txn.token.encode()).hexdigest() + "\n",
        "lock": lock_path(txn.inventory) + "\n",
        "witness": fingerprint(),
        **_numbered(part, 1),
    }
    return "\n".join(
        [
            script.PRELUDE,
            "umask 077",
            f"refuse() {{ printf '%s\\n' \"$1\" >&2; rm -rf {new}; exit {REFUSED}; }}",
            f"[ ! -h {FOLDER} ] || refuse '{FOLDER} is a symbolic link'",
            f"mkdir -p -m 700 {FOLDER} && chmod 700 {FOLDER} && mkdir {new} ||",
            f"  refuse '{FOLDER} cannot be written'",
            *_files({f"{new}/{name}": text for name, text in files.items()}, nonce),
            f"[ -f {path} ] || {{",
            *_files({f"{new}/guard": text}, nonce),
            f"  sync {new}/guard && mv -fT {new}/guard {path} || refuse 'no room for the guard'",
            "}",
            f"sh {path} arm {txn.id} {seconds}; status=$?",
            f"[ $status = 0 ] || {{ rm -rf {new}; {_status()}\nexit $status; }}",
        ]
    )


def act(
    txn: Txn, number: int, change: str, part: TransactionStep | None, *, seconds: int, nonce: str
) -> str:
    """Make one part of an armed change, as a unit of the host: it goes on when SSH does not.

    A later part brings what the first one had when it was armed: its undo, and its time.
    """
    path, _ = program()
    files = {f"act.{number}": change} | (_numbered(part, number) if part else {})
    unit = f"provision-act-{txn.id}-{number}"
    return "\n".join(
        [
            script.PRELUDE,
            "umask 077",
            f"refuse() {{ printf '%s\\n' \"$1\" >&2; exit {REFUSED}; }}",
            f'[ "$(cat {TXN}/id 2>/dev/null)" = {txn.id} ] || exit {GONE}',
            f"sh {path} rearm {txn.id} {seconds} || exit {GONE}" if part else ":",
            *_files({f"{TXN}/{name}": text for name, text in files.items()}, nonce),
            f"sync {' '.join(f'{TXN}/{name}' for name in files)} {TXN} || exit {REFUSED}",
            f"systemd-run -q --wait --collect --unit={unit} -p Environment=HOME=/root \\",
            f"  /bin/sh {path} act {txn.id} {number}; status=$?",
            f"cat {TXN}/out.{number} 2>/dev/null || cat {FOLDER}/*.{txn.id}/out.{number}",
            "exit $status",
        ]
    )


def journal(number: int) -> str:
    """Shell text that notes on the disk which operation of a part begins, before it does."""
    return f'echo "{number}.$1" >>{TXN}/journal && sync {TXN}/journal'


def rearm(txn: Txn, *, seconds: int, nonce: str) -> str:
    """Seen over a new connection: the way carries whole packets, and the change is ours; from now
    on it has `seconds` to be confirmed. What follows in the script looks at the host."""
    path, _ = program()
    return "\n".join(
        [
            script.PRELUDE,
            f": {'x' * PADDING}",
            f"sh {path} rearm {txn.id} {seconds} || {{ status=$?; {_status()}\nexit $status; }}",
            f"printf '@{nonce} kept '; head -c {PADDING} /dev/zero | tr '\\0' x; echo",
        ]
    )


def kept(stdout: str, *, nonce: str) -> bool:
    """Whether what `rearm` prints came through whole."""
    return f"@{nonce} kept {'x' * PADDING}\n" in stdout


def confirm(txn: Txn) -> str:
    """The last word, then what the host says of its changes."""
    return "\n".join(
        [script.PRELUDE, _verb("confirm", txn.id, txn.token), _status(), "exit $status"]
    )


def force(txn_id: str, owner: str) -> str:
    """The same without the word, by somebody who says who it is."""
    words = ("confirm", txn_id, "--force", owner)
    return "\n".join([script.PRELUDE, _verb(*words), _status(), "exit $status"])


def revert(txn_id: str, reason: str, *, nonce: str) -> str:
    """Undo it now, as a unit of the host, and wait for the end."""
    unit = f"provision-undo-{txn_id}-{nonce}"
    run = f"systemd-run -q --wait --collect --unit={unit} -p OOMScoreAdjust=-1000"
    one = f'{run} /bin/sh "$guard" revert {txn_id} {shlex.quote(reason)}'
    return "\n".join(
        [
            script.PRELUDE,
            f'for guard in {FOLDER}/guard-*; do [ -f "$guard" ] && {one}; done',
            _status(),
        ]
    )


def status() -> str:
    """What a host says of its changes; nothing is done."""
    return script.PRELUDE + _status()


def clean() -> str:
    """Take the guard and its records off a host that holds nothing else of ours."""
    gone = f"[ -e /etc/provision ] || [ -e {FOLDER}/was ] || [ -e {TXN} ]"
    return "\n".join(
        [
            script.PRELUDE,
            f"{gone} || ls -d {FOLDER}/reverting.* >/dev/null 2>&1 || {{",
            f"  rm -rf {FOLDER}/confirmed.* {FOLDER}/reverted.* {FOLDER}/guard-*",
            f"  [ ! -d {FOLDER} ] || rmdir {FOLDER}",
            "}",
        ]
    )


def _verb(*words: str) -> str:
    # Whichever text of the guard armed it: all of them know each other's folders.
    each = f'for guard in {FOLDER}/guard-*; do [ -f "$guard" ] && break; done'
    return f'{each}\nsh "$guard" {script.quoted(words)}; status=$?'


def _status() -> str:
    return rf"""
for at in {TXN} {FOLDER}/reverting.* {FOLDER}/reverted.* {FOLDER}/confirmed.*; do
  [ -f "$at/id" ] || continue
  state=${{at##*/}}
  printf 'record %s' "${{state%%.*}}"
  for part in id since deadline ended reason result about log; do
    printf '\t%s' "$(cat "$at/$part" 2>/dev/null | tail -c 2000 | tr '\t\n' '  ')"
  done
  printf '\t%s\n' "$(date +%s)"
done"""


def records(stdout: str) -> tuple[TransactionRecord, ...]:
    """What a host said of its changes; a line that cannot be read is none."""
    lines = re.findall(r"^record (\w+)\t(.*)$", stdout, re.M)
    return tuple(filter(None, (_record(state, rest.split("\t")) for state, rest in lines)))


def _record(state: str, fields: list[str]) -> TransactionRecord | None:
    try:
        txn, since, deadline, ended, reason, result, about, log, now = map(str.strip, fields)
        words = json.loads(about or "{}")
        owner, inventory, verb = (str(words.get(k, "")) for k in ("owner", "inventory", "verb"))
    except (ValueError, AttributeError, RecursionError):
        return None
    if not re.fullmatch(r"[0-9a-f]+", txn) or state not in _STATES:
        return None
    begin, end, over, at = (_seconds(text) for text in (since, deadline, ended, now))
    return TransactionRecord(
        state, txn, begin, end, over, at, reason, result, owner, inventory, verb, log
    )


def _seconds(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else 0


_STATES = ("txn", "reverting", "reverted", "confirmed")


def _numbered(part: TransactionStep, number: int) -> dict[str, str]:
    files = {f"undo.{number}": part.undo, f"discard.{number}": part.drop_stash}
    return files | ({f"kept.{number}": ""} if part.permanent else {})


def _files(files: Mapping[str, str], nonce: str) -> Iterator[str]:
    """Shell lines that write files; no text of theirs can end it but the drawn word."""
    for path, text in files.items():
        whole = text if text.endswith("\n") or not text else text + "\n"
        yield f"cat >{path} <<'@{nonce}' || refuse 'no room for {path}'\n{whole}@{nonce}"
