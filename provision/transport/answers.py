"""Proof that a host ran a script to its end, and the environment that the script runs in. Pure.

A host may answer with nothing and exit status 0 although it never ran the script: the login shell
is nologin, or its `.bashrc` exits. For many scripts no output means "nothing here". So each script
prints a mark with a random nonce and its exit status after its last command.
"""

from __future__ import annotations

import re

from provision.model.errors import NoAnswerError
from provision.model.text import single_line
from provision.transport.base import Output

REPLY_LIMIT = 300
"""Characters of a host's reply that an error message holds."""
_LINES = 4
"""Lines of it, from its beginning: there, a host says why it does not run the script."""
# Images of clouds let root log in only to say: Please login as the user "debian" rather than …
_OTHER_USER = re.compile(r"log ?in as (?:the )?(?:user )?[\"'`]?([a-z_][a-z0-9_-]*)", re.I)
_LOGIN_HINT = "log in by ssh as this user: does its shell run commands, and does sudo let it?"

# The shell reads the whole script from standard input before it runs any of it. So the script may
# be longer than an argument (128 KiB, MAX_ARG_STRLEN), needs no file on the host, and no command
# in it can read the rest of it.
#
# Variables of the login must not decide which daemon a script asks (DOCKER_HOST, OVS_RUNDIR), or
# make it fail (etcdctl refuses ETCDCTL_* beside its options). The guard sets the same environment
# (templates/guard/guard.sh). SSH_CONNECTION stays, since the facts of the host need it. Both
# `exec` keep the parent: under sudo it is sudo, whose environment holds SSH_CONNECTION.
# The argument is quoted so that csh and fish as login shells pass it on unchanged.
_CLEAN = (
    "exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "
    "HOME=/root DOCKER_CONFIG=/var/lib/provision/no-docker-config "
    '${SSH_CONNECTION:+"SSH_CONNECTION=$SSH_CONNECTION"} sh -c "$1"'
)
SHELL = ("sh", "-c", _CLEAN, "sh", 'eval "$(cat)"')
"""The command that runs the script on its standard input."""

# Written beside the target and renamed: the target is never half a file. What does not fit goes.
_SAVE = (
    'umask 077; { mkdir -p "${1%/*}" && cat >"$1.part" && mv -f "$1.part" "$1" || '
    '! rm -f "$1.part"; }; '
    "status=$?; printf '\\n@%s %s\\n' \"$2\" $status; exit $status"
)


def save(target: str, nonce: str) -> tuple[str, ...]:
    """The command that writes its standard input to the file `target`, and prints its mark."""
    return ("sh", "-c", _SAVE, "sh", target, nonce)


def marked(script: str, nonce: str) -> str:
    """The script, followed by its mark; the exit status stays that of the script."""
    # A subshell: the mark is printed whatever the script does, `exit` and `exec` included.
    return f"(\n{script}\n)\nstatus=$?; printf '\\n@%s %s\\n' {nonce} $status; exit $status\n"


def unmarked(host: str, output: Output, nonce: str) -> Output:
    """The output without the mark. Raises NoAnswerError if the mark is missing."""
    marks = list(re.finditer(rf"\n@{re.escape(nonce)} (\d+)\n", output.stdout))
    if not marks:
        raise NoAnswerError(
            host,
            f"it did not run the script to its end: {reply(output)}",
            _hint(output),
        )
    mark = marks[-1]
    # A process that the script left behind may have printed something after the mark.
    stdout = output.stdout[: mark.start()] + output.stdout[mark.end() :]
    return Output(int(mark[1]), stdout, output.stderr)


def reply(output: Output) -> str:
    """The text that the host printed instead, and its exit status."""
    lines = [line.strip() for line in _text(output).splitlines() if line.strip()]
    text = "; ".join(lines[:_LINES]) or "no output"
    return f"{single_line(text, REPLY_LIMIT)} (exit status {output.status})"


def _text(output: Output) -> str:
    return output.stderr.strip() or output.stdout.strip()


def _hint(output: Output) -> str:
    match = _OTHER_USER.search(f"{output.stderr}\n{output.stdout}")
    if match:
        return f"write ssh: {{user: {match[1]}, sudo: true}} in the inventory"
    if "sftp" in _text(output).lower():
        return "this login is only for SFTP (ForceCommand internal-sftp in its sshd_config)"
    return _LOGIN_HINT
