"""Base trees: one Debian tree for each suite, built once and kept below the cache.

A tree is whole or it is not there: it is built under another name and renamed.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from provision.lab import image, repository
from provision.lab.place import CACHE
from provision.lab.sources import Source, apt_options, main_source
from provision.lab.tools import run
from provision.model.errors import LabError

_BARE = ("systemd", "systemd-sysv", "dbus", "openssh-server", "iproute2", "sudo", "ca-certificates")
_DOCKER = (
    *("docker.io", "etcd-server", "etcd-client", "openvswitch-switch", "iputils-ping"),
    *("iputils-arping", "iptables", "bridge-utils", "python3", "kmod", "procps", "ethtool"),
    *("tcpdump", "iperf3", "busybox-static", "apparmor"),
)
# What slows the boot, what needs the internet, and what a method starts when it wants it.
MASKED = (
    *("systemd-networkd-wait-online.service", "systemd-resolved.service", "etcd.service"),
    *("openvswitch-switch.service", "apt-daily.timer", "apt-daily-upgrade.timer"),
    *("dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer"),
    *("systemd-tmpfiles-clean.timer", "console-getty.service", "getty.target"),
    *("systemd-timesyncd.service", "systemd-pstore.service"),
)
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a tree is made of; another recipe is another tree."""

    suite: str
    bare: bool
    packages: tuple[str, ...]
    masked: tuple[str, ...] = MASKED
    version: int = 2

    @property
    def folder(self) -> Path:
        digest = sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]
        return CACHE / f"{self.suite}{'-bare' if self.bare else ''}-{digest}"

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def image(self) -> Path:
        return self.folder / "busybox.tar"

    @property
    def repository(self) -> Path | None:
        """Packages for bare hosts to install; None where they are installed already."""
        return self.folder / "packages" if self.bare else None


def recipe(suite: str, *, bare: bool) -> Recipe:
    """What hosts of a suite consist of. Pure."""
    return Recipe(suite, bare, tuple(sorted((*_BARE, *(() if bare else packages_of(suite))))))


def packages_of(suite: str) -> tuple[str, ...]:
    """What the methods need on a host, as Debian names it."""
    return _DOCKER if suite == "bookworm" else (*_DOCKER, "docker-cli")  # there in docker.io


def ensure(wanted: Recipe, mirror: str | None, say: Say) -> None:
    """Build the tree unless it is there. Raises LabError."""
    if wanted.folder.is_dir():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with _building(wanted) as fresh:
        if wanted.folder.is_dir():
            return
        say(f"building the {wanted.suite} base tree, once (about half a minute)")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        repository.prepare(fresh / "packages")
        _bootstrap(wanted, source(mirror), fresh / "tree")
        finish(fresh / "tree", wanted)
        _bring_packages(wanted, fresh)
        (fresh / "apt.conf").unlink()
        # Else a power cut could keep the name and lose the files.
        run(("sync", "-f", str(fresh)))
        fresh.rename(wanted.folder)


def _bring_packages(wanted: Recipe, fresh: Path) -> None:
    """The image of busybox, and a bare host's archive to install from."""
    packages = fresh / "packages"
    if not wanted.bare:
        image.write(fresh / "tree", fresh / "busybox.tar")
        shutil.rmtree(packages)
        return
    unpacked = fresh / "unpacked"
    repository.unpack(packages, "busybox-static", unpacked)
    image.write(unpacked, fresh / "busybox.tar")
    shutil.rmtree(unpacked)
    repository.index(packages)
    (fresh / "tree/etc/apt/sources.list").write_text(repository.SOURCE)
    (fresh / "tree/srv/packages").mkdir()


@contextmanager
def _building(wanted: Recipe) -> Iterator[Path]:
    fresh = CACHE / f".build-{wanted.folder.name}"
    with (CACHE / f"{fresh.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield fresh
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def source(mirror: str | None) -> Source | None:
    """The Debian archive to build from: `--mirror`, or that of this machine. On Ubuntu, whose
    archive has no Debian suites, None: the one that mmdebstrap takes where none is named."""
    if mirror is not None:
        return Source(mirror, "", {"signed-by": str(_KEYRING)} if _KEYRING.exists() else {})
    found = main_source(_source_files())
    if found is None:
        raise LabError(
            "no Debian archive in /etc/apt/sources.list or sources.list.d",
            "name one: provision lab up --mirror URL",
        )
    if found.is_ubuntu and not _KEYRING.exists():
        raise LabError(
            "this machine's packages are Ubuntu's; the lab's hosts are Debian",
            "apt-get install debian-archive-keyring",
        )
    return None if found.is_ubuntu else found


def _source_files() -> dict[str, str]:
    folder = Path("/etc/apt/sources.list.d")
    paths = [*sorted(folder.glob("*.sources")), *sorted(folder.glob("*.list"))]
    every = [Path("/etc/apt/sources.list"), *paths]
    return {str(path): path.read_text(errors="replace") for path in every if path.is_file()}


def _bootstrap(wanted: Recipe, origin: Source | None, tree: Path) -> None:
    # A file, not words: a proxy's address may hold a password.
    settings = tree.with_name("apt.conf")
    settings.touch(mode=0o600)
    settings.write_text("\n".join((*apt_options(run(("apt-config", "dump"))), "")))
    extra = packages_of(wanted.suite) if wanted.bare else ()
    hooks = [repository.download_hook(tree.with_name("packages"), extra)] if extra else []
    argv = (
        # Its mounts and processes live in namespaces that end with us, however we end.
        *("setpriv", "--pdeathsig=KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"),
        *(f"--aptopt={settings}", f"--include={','.join(wanted.packages)}"),
        *(f"--customize-hook={hook}" for hook in hooks),
        *(wanted.suite, str(tree), *((origin.line(wanted.suite),) if origin else ())),
    )
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        tail = "\n".join(f"    {line}" for line in done.stderr.splitlines()[-12:])
        raise LabError(f"the {wanted.suite} base tree could not be built:\n{tail}")


def finish(tree: Path, wanted: Recipe) -> None:
    """Make a fresh tree one that many hosts can share: no identity, no delays."""
    for path in (*(tree / "etc/ssh").glob("ssh_host_*"), tree / "etc/apt/apt.conf.d/99mmdebstrap"):
        path.unlink(missing_ok=True)
    for name in ("machine-id", "resolv.conf", "hostname"):
        path = tree / "etc" / name
        path.unlink(missing_ok=True)
        path.touch()
    units = tree / "etc/systemd/system"
    for name in wanted.masked:
        _link(units / name, "/dev/null")
    _link(
        units / "multi-user.target.wants/systemd-networkd.service",
        "/usr/lib/systemd/system/systemd-networkd.service",
    )


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def remove_half_built() -> None:
    """Delete what an interrupted build left; one that is at work is locked and stays."""
    for lock in CACHE.glob(".build-*.lock"):
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(CACHE / lock.name.removesuffix(".lock"), ignore_errors=True)


def purge() -> None:
    """Delete all base trees but those that another lab's hosts stand on."""
    mounts = Path("/proc/self/mounts").read_text()
    for folder in CACHE.glob("[a-z]*-*"):
        if folder.is_dir() and f"lowerdir={folder}/tree," not in mounts:
            shutil.rmtree(folder)
    for lock in CACHE.glob(".build-*.lock"):
        lock.unlink()
    for folder in (CACHE, CACHE.parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
