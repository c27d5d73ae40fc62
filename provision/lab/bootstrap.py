"""mmdebstrap: the packages of a Debian suite, installed or only unpacked in a folder."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from provision.lab.sources import Source, apt_options
from provision.lab.tools import run
from provision.model.errors import LabError

Say = Callable[[str], None]


def install(
    suite: str,
    packages: Sequence[str],
    origin: Source | None,
    tree: Path,
    hooks: Sequence[str],
    say: Say,
) -> None:
    """Install packages into a new file system at `tree`, and run the hooks. Raises LabError."""
    options = ("--variant=minbase", *(f"--customize-hook={hook}" for hook in hooks))
    _mmdebstrap(suite, packages, origin, tree, options, say, name=f"the {suite} base tree")


def unpack(suite: str, package: str, origin: Source | None, folder: Path, say: Say) -> None:
    """Unpack a package, and those that it depends on, in a new folder. Raises LabError."""
    name = f"a folder with {package} of {suite}"
    _mmdebstrap(suite, (package,), origin, folder, ("--variant=extract",), say, name=name)


def _mmdebstrap(
    suite: str,
    packages: Sequence[str],
    origin: Source | None,
    tree: Path,
    options: Sequence[str],
    say: Say,
    *,
    name: str,
) -> None:
    # In a file, not on the command line, which every user can read: the address of a proxy may
    # contain a password.
    settings = tree.with_name("apt.conf")
    settings.touch(mode=0o600)
    settings.write_text("\n".join((*apt_options(run(("apt-config", "dump"))), "")))
    argv = (
        # mmdebstrap mounts /proc and starts processes in the tree. In namespaces of their own,
        # the kernel ends them all with this process, even after SIGKILL.
        *("setpriv", "--pdeathsig=KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
        *("mmdebstrap", "--mode=root", "--format=directory", *options),
        *(f"--aptopt={settings}", f"--include={','.join(packages)}"),
        *(suite, str(tree), *((origin.line(suite),) if origin else ())),
    )
    status, lines = _with_progress(argv, lambda line: say(f"{suite}: {line}"))
    settings.unlink()
    if status:
        tail = "\n".join(f"    {line}" for line in lines[-12:])
        raise LabError(f"mmdebstrap could not build {name}:\n{tail}")


def _with_progress(argv: tuple[str, ...], say: Say) -> tuple[int, list[str]]:
    """Run mmdebstrap and report its steps; its exit status and the lines of its stderr."""
    null, lines = subprocess.DEVNULL, []
    with subprocess.Popen(
        argv, stdin=null, stdout=null, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        for line in process.stderr or ():
            lines.append(line.rstrip())
            # The other lines are those of apt and dpkg.
            if line.startswith("I: "):
                say(lines[-1].removeprefix("I: "))
    return process.returncode, lines
