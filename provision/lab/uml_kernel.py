"""The kernel of User-Mode Linux: Debian's package, and the disk that hosts of one suite share.

The disk is the base tree with the modules of the kernel, as an ext4 image. It is built under a
temporary name and renamed, so that the cache holds complete disks only.
"""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

from provision.lab import variants
from provision.lab.base import Recipe
from provision.lab.cache import build_folder
from provision.lab.layout import CACHE
from provision.lab.machine import Say
from provision.lab.repository import INSIDE
from provision.lab.tools import run, succeeds
from provision.model.errors import LabError
from provision.resources.render import program_text

PACKAGE = "user-mode-linux"
INIT = "/usr/lib/provision-lab/init"
"""The first program of a guest, on the shared disk."""
_MODULES = Path("/usr/lib/uml/modules")
_PROGRAM = "linux.uml"
_VERSION = 1
"""Counts changes to how a disk is built that its name does not show by itself."""


def install(say: Say) -> None:
    """Install the package of the kernel unless this machine has it. Raises LabError."""
    if shutil.which(_PROGRAM):
        return
    say(f"Installing Debian's package {PACKAGE} (40 MB)")
    command = ("apt-get", "install", "-q", "-y", "--no-install-recommends", PACKAGE)
    argv = ("env", "DEBIAN_FRONTEND=noninteractive", *command)
    if succeeds(argv):
        return
    succeeds(("apt-get", "update", "-q"))
    try:
        run(argv)
    except LabError as error:
        raise LabError(
            f"this machine has no package {PACKAGE}: {error.message}",
            f"install it: {' '.join(command)}",
        ) from error


def version() -> str:
    """The version of the installed kernel, such as 6.1.176."""
    return run((_PROGRAM, "--version")).strip()


def folder(recipe: Recipe) -> Path:
    """The folder of the kernel and of the shared disk for hosts of this recipe."""
    text = f"{_VERSION} {recipe.folder.name} {_init()} {variants.VARIANTS['legacy'].setup}"
    names = recipe.folder.name.rpartition("-")[0]
    return CACHE / f"uml-{version()}-{names}-{sha256(text.encode()).hexdigest()[:12]}"


def ensure(recipe: Recipe, say: Say) -> None:
    """Build the shared disk unless the cache has it; the base tree exists. Raises LabError."""
    target = folder(recipe)
    if target.is_dir():
        return
    with build_folder(target) as build:
        if target.is_dir():  # another process has built it while we waited for the lock
            return
        say(f"Building the disk of {recipe.suite} with the kernel {version()}, once (about 30 s)")
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir()
        shutil.copyfile(shutil.which(_PROGRAM) or _PROGRAM, build / "linux")
        (build / "linux").chmod(0o755)
        _build(recipe, build)
        run(("sync", "-f", str(build)))
        build.rename(target)


def _build(recipe: Recipe, build: Path) -> None:
    """Write `disk.ext4`: the base tree, modules, legacy iptables, and packages of bare hosts."""
    upper, merged = build / "upper", build / "merged"
    for path in (upper, build / "work", merged):
        path.mkdir()
    program = upper / INIT.lstrip("/")
    program.parent.mkdir(parents=True)
    program.write_text(_init())
    program.chmod(0o755)
    modules = upper / "usr/lib/modules"
    shutil.copytree(_MODULES / version(), modules / version())
    layers = f"lowerdir={recipe.tree},upperdir={upper},workdir={build / 'work'}"
    # In a mount namespace: the kernel unmounts when the last process of it ends, however it ends.
    script = (
        'mount -t overlay overlay -o "$1" "$2" && chroot "$2" sh -ec "$3"\n'
        'if [ -n "$5" ]; then mount --bind "$5" "$2$6"; fi\n'
        'truncate -s 4G "$4" && mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$2" "$4"'
    )
    packages = str(recipe.repository) if recipe.repository else ""
    # Debian's kernel has no nf_tables for IPv4.
    setup = variants.VARIANTS["legacy"].setup if not recipe.bare else ":"
    values = (layers, str(merged), setup, str(build / "disk.ext4"), packages, INSIDE)
    run(("unshare", "--mount", "sh", "-ec", script, "sh", *values))
    for path in (upper, build / "work", merged):
        shutil.rmtree(path)


def _init() -> str:
    return "#!/bin/sh\n" + program_text("lab/guest_init.sh")
