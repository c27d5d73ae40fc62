"""Render steps as one POSIX sh script with marker lines, and read its output as outcomes. Pure.

A script never reads the terminal or stdin, stops at the first operation that fails, and prints
`@<nonce> …` lines between operations. The caller draws the nonce at random, so that no output of a
command can pass for a marker.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from provision.resources.render import program_text
from provision.resources.steps import (
    Attempt,
    Issue,
    Preshare,
    Put,
    Refuse,
    Run,
    Step,
    Steps,
    Unless,
    Upload,
)

OUTPUT_LIMIT = 4000
"""Characters that are kept of an operation's output, from its end."""

LONGEST_WORD = 64
"""Characters of the longest argument whose quoted form is remembered.

The scripts of a fleet repeat the same words, such as `ip`, `route` and each subnet.
"""

LOCK_WAIT_S = 60
"""Seconds that a script waits for the lock: a follower holds it while it repairs."""
LOCKED = 75
"""Exit status of a script that did not get its lock (EX_TEMPFAIL of sysexits.h)."""

_LOCK = ("host/lock_holders.sh", "host/inventory_lock.sh")

# Hosts keep scripts that begin with PRELUDE and _PUT (`standalone`), and the plan compares their
# text: neither may change, or every host would be seen as changed.
PRELUDE = r"""exec </dev/null
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 022
"""
"""The first lines of every script for a host.

No stdin, because `sh -s` reads the script from it. A PATH of its own, because SSH gives a login's
PATH without sbin on some hosts. LC_ALL=C, because parsers read English messages.
"""

# `put PATH MODE TEXT`: replace a file atomically unless it is as wanted. Never through a symbolic
# link, which could lead out of our folders. `echo .` keeps the final newlines that `$(…)` strips.
# `sync` before `mv`, so that a power cut leaves the old file or the new one, never an empty one.
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

# What a power cut or a reboot left before its `mv` goes, also where the file is as it should be.
_PUT_BACK = f"""{_PUT.replace("put()", "put_file()", 1)}put() {{ # as put_file
  rm -f -- "${{1%/*}}/.${{1##*/}}.provision-new" && put_file "$@"
}}
"""


@dataclass(frozen=True, slots=True)
class OperationResult:
    """The result of one operation.

    `status` is the exit status of its first failing step, or 0; `output` its stdout and stderr.
    """

    status: int
    seconds: float
    output: str

    @property
    def note(self) -> str:
        """A report for the user, from the lines of output that begin with `@note`."""
        prefix = "@note "
        lines = self.output.splitlines()
        return "; ".join(line.removeprefix(prefix) for line in lines if line.startswith(prefix))


def quoted(argv: Sequence[str]) -> str:
    """Quote `argv` as a command line that any POSIX shell splits into exactly these arguments."""
    return " ".join(map(_quoted, argv))


def _quoted(argument: str) -> str:
    return _quoted_word(argument) if len(argument) < LONGEST_WORD else shlex.quote(argument)


@lru_cache(1 << 16)
def _quoted_word(word: str) -> str:
    return shlex.quote(word)


def commands(steps: Steps) -> str:
    """Render steps as one shell command list, true if every step succeeds; safe to nest.

    Raises TypeError for an `Issue` or a `Preshare`: the controller makes those before.
    """
    rendered = [text for step in steps if (text := _command(step))]
    return " &&\n".join(rendered) or ":"


def _command(step: Step) -> str:
    match step:
        case Run(argv, stdin):
            feed = "" if stdin is None else f"printf %s {shlex.quote(stdin)} | "
            return feed + quoted(argv)
        case Put(path, text, mode):
            return f"put {shlex.quote(path)} {mode:o} {shlex.quote(text)}"
        case Unless(test, steps, prints, note):
            succeeds = _test(test, prints=prints)
            if note:
                succeeds = f"{{ {succeeds} && echo {shlex.quote(f'@note {note}')}; }}"
            return f"{{ {succeeds} || {{\n{commands(steps)}\n}}; }}"
        case Refuse(test, ""):
            printed = f"messages=$({_command(test)} 2>/dev/null)"
            return f"{{ ! {printed} || {{ printf '%s\\n' \"$messages\" >&2; false; }}; }}"
        case Refuse(test, message):
            fail = f"{{ echo {shlex.quote(message)} >&2; false; }}"
            return f"{{ ! {_test(test, prints=False)} || {fail}; }}"
        case Attempt(steps, undo):
            return f"{{ {{\n{commands(steps)}\n}} || {{\n{commands(undo)}\nfalse\n}}; }}"
        case Upload(_, target):
            return f"test -e {shlex.quote(target)}"
        case Issue() | Preshare():
            raise TypeError("let the controller make the file before rendering its script")


def _test(test: Run, *, prints: bool) -> str:
    # A test may fail loudly by design (`iptables -C`): its output would only confuse the report.
    text = _command(test)
    return f'[ -n "$({text} 2>/dev/null)" ]' if prints else f"{text} >/dev/null 2>&1"


def uploads(steps: Steps) -> Iterator[Upload]:
    """Yield every upload among `steps`, nested ones included."""
    return (step for step in _flat(steps) if isinstance(step, Upload))


def written_files(steps: Steps) -> Iterator[str]:
    """Yield the path of every `Put` among `steps`, nested ones included."""
    return (step.path for step in _flat(steps) if isinstance(step, Put))


def _flat(steps: Steps) -> Iterator[Step]:
    """Yield the steps, and for those that hold others these instead."""
    for step in steps:
        match step:
            case Unless(_, inner, _) | Attempt(inner, _):
                yield from _flat(inner)
            case _:
                yield step


def render(
    operations: Sequence[Steps], *, nonce: str, lock: str, last: bool = False, journal: str = ":"
) -> str:
    """Render one script that carries out `operations` in order, up to the first that fails.

    The script holds the file `lock`, so that no follower restores what it is removing; with `last`
    it removes that file at the end, when the host keeps nothing of the inventory. `journal` is
    shell text that records `$1`, the number of an operation, before the operation begins.
    """
    mark = f'printf \'\\n@{nonce} %s %s\\n\' "$*" "$(date +%s.%N)"'
    # Descriptor 9 holds the lock until the shell and its children end, however they end.
    locked = f"take_lock {shlex.quote(lock)} {LOCK_WAIT_S}"
    lines = [PRELUDE, program_text(*_LOCK), locked, _PUT]
    lines += [f"mark() {{ {mark}; }}", f"journal() {{ {journal}; }}"]
    for number, steps in enumerate(operations):
        lines += _operation(number, steps)
    lines += [f"rm -f {shlex.quote(lock)}"] if last else []
    return "\n".join(lines) + "\n"


def _operation(number: int, steps: Steps) -> tuple[str, ...]:
    # An operation that is refused has not begun: the rollback must not remove what is in its place.
    refusals = tuple(takewhile(lambda step: isinstance(step, Refuse), steps))
    end = f'status=$?; mark end {number} $status; [ "$status" = 0 ] || exit 1'
    check = (f"{{\n{commands(refusals)}\n}} 2>&1 || {{ {end}; }}",) if refusals else ()
    return (
        f"mark begin {number} 0",
        *check,
        f"journal {number} || exit 1",
        f"{{\n{commands(steps[len(refusals) :])}\n}} 2>&1",
        end,
    )


def read(stdout: str, *, nonce: str, count: int) -> tuple[OperationResult | None, ...]:
    """Read the outcomes of `count` operations; None for one that did not run to its end."""
    pattern = re.compile(
        rf"^@{re.escape(nonce)} (begin|end) (\d{{1,6}}) (\d{{1,3}}) (\d{{1,12}}(?:\.\d+)?)$", re.M
    )
    begins: dict[int, re.Match[str]] = {}
    outcomes: list[OperationResult | None] = [None] * count
    for mark in pattern.finditer(stdout):
        number = int(mark[2])
        if mark[1] == "begin":
            begins[number] = mark
        elif number in begins and number < count:
            outcomes[number] = _outcome(stdout, begins[number], mark)
    return tuple(outcomes)


def _outcome(stdout: str, begin: re.Match[str], end: re.Match[str]) -> OperationResult:
    output = stdout[begin.end() : end.start()].strip()
    # The clock of the host may be set back between the two marks.
    seconds = max(0.0, float(end[4]) - float(begin[4]))
    return OperationResult(int(end[3]), seconds, output[-OUTPUT_LIMIT:])


def standalone(operations: Sequence[Steps]) -> str:
    """Render a script that a host keeps.

    The script carries out every operation, also after one that fails; its exit status is 1 then.
    """
    lines = ["#!/bin/sh", PRELUDE, _PUT, "failed=0"]
    lines += [f"{{\n{commands(steps)}\n}} || failed=1" for steps in operations]
    return "\n".join([*lines, "exit $failed"]) + "\n"


@dataclass(frozen=True, slots=True)
class ReplacementHalf:
    """The inverse of one half of a replacement, as a case of a script.

    `done` is a file that is written beside the script once the steps have succeeded. Where all of
    `settled` are there, the steps are left out.
    """

    steps: Steps
    done: str
    settled: tuple[str, ...] = ()


def cases(
    answers: Mapping[str, Sequence[str]], steps: Mapping[str, Steps | ReplacementHalf]
) -> str:
    """Render a script that a host keeps while a change is under way, and that takes a name.

    A name of `answers` prints the strings of that answer; a name of `steps` carries out its steps.
    Any other name ends with exit status 2.
    """
    here = ["here=${0%/*}"] if any(isinstance(c, ReplacementHalf) for c in steps.values()) else []
    lines = ["#!/bin/sh", PRELUDE, _PUT_BACK, *here, "case $1 in"]
    lines += [f"{name}) echo {quoted(strings)} ;;" for name, strings in answers.items()]
    lines += [f"{name})\n{_case(case)}\n;;" for name, case in steps.items()]
    return "\n".join([*lines, "*) exit 2 ;;", "esac"]) + "\n"


def _case(case: Steps | ReplacementHalf) -> str:
    if not isinstance(case, ReplacementHalf):
        return commands(case)
    # On the disk before the other half begins. Where a full disk takes no file, steps are repeated.
    mark = f'"$here/{case.done}"'
    done = f'(: >{mark} && sync {mark} "$here") 2>/dev/null || :'
    text = f"{{\n{commands(case.steps)}\n}} && {{ {done}; }}"
    tests = " && ".join(f'[ -e "$here/{name}" ]' for name in case.settled)
    return f"{{ {tests}; }} || {{\n{text}\n}}" if tests else text
