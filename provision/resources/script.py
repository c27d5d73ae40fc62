"""Steps → one POSIX sh script with markers; its output → outcomes. Pure; only here is quoted.

A script never reads the terminal or stdin, stops at the first operation that fails, and prints
`@<nonce> …` lines between operations. The nonce is drawn by the caller, so that no output of a
command can pass for a marker.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from provision.resources.steps import Attempt, Issue, Put, Run, Step, Steps, Unless, Upload

OUTPUT_LIMIT = 4000
"""Characters of a step's output that are kept, from its end."""

LOCK_WAIT_S = 60
LOCKED = 75
"""Exit status of a script that did not get its lock (EX_TEMPFAIL of sysexits.h)."""

PRELUDE = r"""exec </dev/null
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 022
"""

_PUT = r"""put() { # path, mode, text; as it should be already: not touched
  if [ -h "$1" ]; then echo "$1 is a symbolic link" >&2; return 1; fi
  [ -f "$1" ] && [ "$(stat -c %a -- "$1")" = "$2" ] &&
    [ "$(cat -- "$1"; echo .)" = "$3." ] && return
  mkdir -p -- "${1%/*}" || return
  new=${1%/*}/.${1##*/}.provision-new
  rm -f -- "$new" &&
  (umask 077 && printf %s "$3" >"$new") &&
  chmod "$2" "$new" && sync "$new" && mv -fT -- "$new" "$1"
}
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one operation ended; `status` is the exit status of its first failing step, or 0."""

    status: int
    seconds: float
    output: str

    @property
    def note(self) -> str:
        """What its steps say of themselves, by lines that begin with `@note`."""
        lines = self.output.splitlines()
        return "; ".join(line[6:] for line in lines if line.startswith("@note "))


def quoted(argv: Sequence[str]) -> str:
    """A command line that any POSIX shell splits into exactly `argv`."""
    return " ".join(shlex.quote(argument) for argument in argv)


def commands(steps: Steps) -> str:
    """Shell text that is true when every step succeeded; safe to nest."""
    rendered = [text for step in steps if (text := _command(step))]
    return " &&\n".join(rendered) or ":"


def _command(step: Step) -> str:
    match step:
        case Run(argv, stdin):
            feed = "" if stdin is None else f"printf %s {shlex.quote(stdin)} | "
            return feed + quoted(argv)
        case Put(path, text, mode):
            return f"put {shlex.quote(path)} {mode:o} {shlex.quote(text)}"
        case Unless(test, steps, prints):
            return f"{{ {_test(test, prints=prints)} || {{\n{commands(steps)}\n}}; }}"
        case Attempt(steps, undo):
            return f"{{ {{\n{commands(steps)}\n}} || {{\n{commands(undo)}\nfalse\n}}; }}"
        case Upload(_, target):
            return f"test -e {shlex.quote(target)}"
        case Issue():
            raise TypeError("a certificate is signed before its script is rendered")


def _test(test: Run, *, prints: bool) -> str:
    text = _command(test)
    return f'[ -n "$({text} 2>/dev/null)" ]' if prints else f"{text} >/dev/null 2>&1"


def uploads(steps: Steps) -> Iterator[Upload]:
    """Every upload among `steps`, nested ones included."""
    for step in steps:
        match step:
            case Upload():
                yield step
            case Unless(_, inner, _) | Attempt(inner, _):
                yield from uploads(inner)


def render(
    operations: Sequence[Steps], *, nonce: str, lock: str, last: bool = False, journal: str = ":"
) -> str:
    """One script that does `operations` in order and stops at the first that fails.

    It holds `lock` meanwhile, so that no follower puts back what it is removing; with `last`
    nothing of ours is left when it succeeds, and the lock goes too. `journal` is shell text that
    notes `$1`, the number of an operation, before that begins.
    """
    mark = f'printf \'\\n@{nonce} %s %s\\n\' "$*" "$(date +%s.%N)"'
    held = f"exec 9>{shlex.quote(lock)} && flock -w {LOCK_WAIT_S} 9 || exit {LOCKED}"
    lines = [PRELUDE, held, _PUT, f"mark() {{ {mark}; }}", f"journal() {{ {journal}; }}"]
    for number, steps in enumerate(operations):
        lines += [
            f"journal {number} || exit 1",
            f"mark begin {number} 0",
            f"{{\n{commands(steps)}\n}} 2>&1",
            f'status=$?; mark end {number} $status; [ "$status" = 0 ] || exit 1',
        ]
    lines += [f"rm -f {shlex.quote(lock)}"] if last else []
    return "\n".join(lines) + "\n"


def read(stdout: str, *, nonce: str, count: int) -> tuple[Outcome | None, ...]:
    """The outcome of each operation; None for one that did not run to its end."""
    pattern = re.compile(rf"^@{re.escape(nonce)} (begin|end) (\d+) (\d+) ([\d.]+)$", re.M)
    started: dict[int, re.Match[str]] = {}
    outcomes: list[Outcome | None] = [None] * count
    for mark in pattern.finditer(stdout):
        number = int(mark[2])
        if mark[1] == "begin":
            started[number] = mark
        elif number in started and number < count:
            begin = started[number]
            text = stdout[begin.end() : mark.start()].strip()
            seconds = max(0.0, float(mark[4]) - float(begin[4]))
            outcomes[number] = Outcome(int(mark[3]), seconds, text[-OUTPUT_LIMIT:])
    return tuple(outcomes)


def standalone(operations: Sequence[Steps]) -> str:
    """A script for a host to keep: does every operation, goes on after a failure, fails then."""
    lines = ["#!/bin/sh", PRELUDE, _PUT, "failed=0"]
    lines += [f"{{\n{commands(steps)}\n}} || failed=1" for steps in operations]
    return "\n".join([*lines, "exit $failed"]) + "\n"


def cases(answers: Mapping[str, Sequence[str]], steps: Mapping[str, Steps]) -> str:
    """A script for a host to keep, which does the steps of the name that it is given.

    A name of `answers` prints the words of it instead.
    """
    lines = ["#!/bin/sh", PRELUDE, _PUT, "case $1 in"]
    lines += [f"{name}) echo {quoted(words)} ;;" for name, words in answers.items()]
    lines += [f"{name})\n{commands(some)}\n;;" for name, some in steps.items()]
    return "\n".join([*lines, "*) exit 2 ;;", "esac"]) + "\n"
