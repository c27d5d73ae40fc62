"""The kernel of User-Mode Linux: the package of a Debian suite, and the disk that its hosts share.

The disk is the base tree with the modules of the kernel, as an ext4 image. It is built under a
temporary name and renamed, so that the cache holds complete disks only.
"""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

from provision.lab import bootstrap, variants
from provision.lab.base import Recipe, source
from provision.lab.cache import build_folder
from provision.lab.layout import CACHE
from provision.lab.machine import Say
from provision.lab.repository import INSIDE
from provision.lab.tools import run
from provision.resources.render import program_text

PACKAGE = "user-mode-linux"
INIT = "/usr/lib/provision-lab/init"
"""The first program of a guest, on the shared disk."""
# The kernel of sid has neither nf_tables for IPv4 nor the tables of legacy iptables; Docker needs
# one of them.
_KERNEL_SUITES = {"sid": "trixie"}
_MODULES = "usr/lib/uml/modules"
_PROGRAM = "usr/bin/linux.uml"
_RELEASE = "release"
_VERSION = 2
"""Counts changes to how a disk is built that its name does not show by itself."""


def folder(recipe: Recipe) -> Path:
    """The folder of the kernel and of the shared disk for hosts of this recipe."""
    suite, setup = _kernel_suite(recipe), variants.VARIANTS["legacy"].setup
    text = f"{_VERSION} {suite} {recipe.folder.name} {_init()} {setup}"
    names = recipe.folder.name.rpartition("-")[0]
    return CACHE / f"uml-{names}-{sha256(text.encode()).hexdigest()[:12]}"


def release(disk: Path) -> str:
    """The version of the kernel in a folder that `ensure` built, such as 6.12.113."""
    file = disk / _RELEASE
    # Before versions were kept in a file, the name of the folder had them.
    return file.read_text() if file.exists() else disk.name.split("-")[1]


def programs(disk: Path, recipe: Recipe) -> Path:
    """The folder `usr` of the base tree with which the kernel of a disk is started.

    `purge` keeps the tree that the disk has a link to; a disk of an earlier version gets it here.
    """
    tree = disk / "tree"
    if not tree.is_symlink():
        tree.symlink_to(recipe.tree)
    return tree.readlink() / "usr"


def _kernel_suite(recipe: Recipe) -> str:
    return _KERNEL_SUITES.get(recipe.suite, recipe.suite)


def ensure(recipe: Recipe, mirror: str | None, say: Say) -> None:
    """Build the shared disk unless the cache has it; the base tree exists. Raises LabError."""
    target = folder(recipe)
    if target.is_dir():
        return
    with build_folder(target) as build:
        if target.is_dir():  # another process has built it while we waited for the lock
            return
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir()
        suite, package = _kernel_suite(recipe), build / "package"
        say(f"Fetching the kernel of Debian's {suite} (40 MB)")
        bootstrap.unpack(suite, PACKAGE, source(mirror), package, say)
        modules = next((package / _MODULES).iterdir())
        (build / _RELEASE).write_text(modules.name)
        names = " ".join((recipe.suite, *recipe.variants))
        say(f"Building the disk of {names} with the kernel {modules.name}, once (about 30 s)")
        shutil.copyfile(package / _PROGRAM, build / "linux")
        (build / "linux").chmod(0o755)
        (build / "tree").symlink_to(recipe.tree)
        _build(recipe, build, modules)
        shutil.rmtree(package)
        run(("sync", "-f", str(build)))
        build.rename(target)


def _build(recipe: Recipe, build: Path, kernel_modules: Path) -> None:
    """Write `disk.ext4`: the base tree, modules, legacy iptables, and packages of bare hosts."""
    upper, merged = build / "upper", build / "merged"
    for path in (upper, build / "work", merged):
        path.mkdir()
    program = upper / INIT.lstrip("/")
    program.parent.mkdir(parents=True)
    program.write_text(_init())
    program.chmod(0o755)
    shutil.copytree(kernel_modules, upper / "usr/lib/modules" / kernel_modules.name)
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
