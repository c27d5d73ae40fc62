"""Base trees: a Debian root file system for each suite, built once and kept in the cache."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from provision.lab import bootstrap, image, limits, newer_docker, repository, variants
from provision.lab.cache import build_folder
from provision.lab.layout import CACHE, Lab
from provision.lab.sources import Source, main_source
from provision.lab.tools import run
from provision.model.errors import LabError

_BARE = ("systemd", "systemd-sysv", "dbus", "openssh-server", "iproute2", "sudo", "ca-certificates")
_DOCKER = (
    *("docker.io", "etcd-server", "etcd-client", "openvswitch-switch", "iputils-ping"),
    *("iputils-arping", "iptables", "bridge-utils", "python3", "kmod", "procps", "ethtool"),
    *("tcpdump", "iperf3", "busybox-static", "apparmor", "wireguard-tools", "wireguard-go"),
    *("dnsmasq-base", "frr"),
)
# Units that slow the boot, units that need the internet, and units that only methods start.
MASKED = (
    *("systemd-networkd-wait-online.service", "systemd-resolved.service", "etcd.service"),
    *("openvswitch-switch.service", "apt-daily.timer", "apt-daily-upgrade.timer"),
    *("dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer"),
    *("systemd-tmpfiles-clean.timer", "console-getty.service", "getty.target"),
    *("systemd-timesyncd.service", "systemd-pstore.service", "frr.service"),
)
# Programs that systemd runs at each boot and each `daemon-reload`, for what no lab host has: half
# of the processor time of a reload. Those for fstab, for services of init scripts and for the
# kernel's command line stay, as do those of netplan and others.
_GENERATORS = (
    *("cryptsetup", "factory-reset", "getty", "gpt-auto", "hibernate-resume", "integritysetup"),
    *("rc-local", "run", "ssh", "system-update", "tpm2", "veritysetup"),
)
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that determines a tree's contents; its hash is part of the tree's path.

    `version` counts changes to how a tree is built that no other field shows.
    """

    suite: str
    bare: bool
    packages: tuple[str, ...]
    masked: tuple[str, ...] = MASKED
    version: int = 3
    variants: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        fields = asdict(self)
        # A tree without variants keeps the name that it had before there were any.
        fields["variants"] = variants.digest_fields(self.variants)
        if not self.variants:
            del fields["variants"]
        digest = sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
        names = "-".join((self.suite, *(("bare",) if self.bare else ()), *self.variants))
        return CACHE / f"{names}-{digest}"

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def image(self) -> Path:
        return self.folder / "busybox.tar"

    @property
    def newer_docker(self) -> bool:
        """True if the tree has the Docker that newer_docker builds."""
        return any(variants.VARIANTS[name].newer_docker for name in self.variants)

    @property
    def repository(self) -> Path | None:
        """The folder of packages that bare hosts install from; None for hosts with Docker."""
        return self.folder / "packages" if self.bare else None


def recipe(suite: str, *, bare: bool, names: tuple[str, ...] = ()) -> Recipe:
    """The recipe for hosts of a suite; `names` are those of VARIANTS. Pure."""
    extra = [package for name in names for package in variants.packages_of(name, suite)]
    packages = (*_BARE, *(() if bare else packages_of(suite)), *extra)
    unmasked = {unit for name in names for unit in variants.VARIANTS[name].unmasked}
    masked = tuple(unit for unit in MASKED if unit not in unmasked)
    return Recipe(suite, bare, tuple(sorted(packages)), masked, variants=names)


def packages_of(suite: str) -> tuple[str, ...]:
    """The Debian packages that the methods need on a host."""
    # Debian 13 moved the `docker` command from docker.io to docker-cli.
    return _DOCKER if suite == "bookworm" else (*_DOCKER, "docker-cli")


def ensure(wanted: Recipe, mirror: str | None, say: Say) -> None:
    """Build the tree unless the cache has it. Raises LabError."""
    if wanted.folder.is_dir():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with build_folder(wanted.folder) as build:
        if wanted.folder.is_dir():  # another process has built it while we waited for the lock
            return
        if wanted.newer_docker:
            newer_docker.ensure(say)
        name = " ".join((wanted.suite, *wanted.variants))
        say(f"Building the {name} base tree, once (about 30 s)")
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir()
        repository.prepare(build / "packages")
        _bootstrap(wanted, source(mirror), build / "tree", say)
        finish(build / "tree", wanted)
        _finish_packages(wanted, build)
        # A rename may reach the disk before the files do: after a power cut the tree would be
        # in the cache, but with empty files.
        run(("sync", "-f", str(build)))
        build.rename(wanted.folder)


def _finish_packages(wanted: Recipe, build: Path) -> None:
    """Write the busybox image, and for bare hosts the repository that they install from."""
    packages = build / "packages"
    if not wanted.bare:
        image.write(build / "tree", build / "busybox.tar")
        shutil.rmtree(packages)
        return
    unpacked = build / "unpacked"
    repository.unpack(packages, "busybox-static", unpacked)
    image.write(unpacked, build / "busybox.tar")
    shutil.rmtree(unpacked)
    repository.index(packages)
    (build / "tree/etc/apt/sources.list").write_text(repository.SOURCE)
    (build / "tree/srv/packages").mkdir()


def source(mirror: str | None) -> Source | None:
    """The Debian archive to build from: `mirror`, else the archive of this machine.

    None on Ubuntu, whose archive has no Debian suites: mmdebstrap then takes its own default.
    Raises LabError.
    """
    if mirror is not None:
        return Source(mirror, "", {"signed-by": str(_KEYRING)} if _KEYRING.exists() else {})
    system = main_source(_source_files())
    if system is None:
        raise LabError(
            "no Debian archive in /etc/apt/sources.list or /etc/apt/sources.list.d",
            "give its address: provision lab up --mirror URL",
        )
    if system.is_ubuntu and not _KEYRING.exists():
        raise LabError(
            "this machine runs Ubuntu, and Debian's keys, which lab hosts need, are missing",
            "apt-get install debian-archive-keyring",
        )
    return None if system.is_ubuntu else system


def _source_files() -> dict[str, str]:
    folder = Path("/etc/apt/sources.list.d")
    paths = [*sorted(folder.glob("*.sources")), *sorted(folder.glob("*.list"))]
    paths.insert(0, Path("/etc/apt/sources.list"))
    return {str(path): path.read_text(errors="replace") for path in paths if path.is_file()}


def _bootstrap(wanted: Recipe, origin: Source | None, tree: Path, say: Say) -> None:
    """Install the recipe's packages into `tree`. Raises LabError."""
    extra = packages_of(wanted.suite) if wanted.bare else ()
    hooks = [repository.download_hook(tree.with_name("packages"), extra)] if extra else []
    hooks += [newer_docker.copy_hook()] if wanted.newer_docker else []
    setups = (variants.VARIANTS[name].setup for name in wanted.variants)
    hooks += [f'chroot "$1" sh -ec {shlex.quote(setup)}' for setup in setups if setup]
    bootstrap.install(wanted.suite, wanted.packages, origin, tree, hooks, say)


def finish(tree: Path, wanted: Recipe) -> None:
    """Make a tree shareable by many hosts: delete host keys and identity, hide what is slow."""
    # 99mmdebstrap: mmdebstrap keeps the --aptopt settings, such as this machine's proxy, in it.
    for path in (*(tree / "etc/ssh").glob("ssh_host_*"), tree / "etc/apt/apt.conf.d/99mmdebstrap"):
        path.unlink(missing_ok=True)
    # machine-id(5): systemd writes an id of its own at the first boot if the file is empty.
    for name in ("machine-id", "resolv.conf", "hostname"):
        path = tree / "etc" / name
        path.unlink(missing_ok=True)
        path.touch()
    for variant in map(variants.VARIANTS.__getitem__, wanted.variants):
        if variant.resolv_conf:
            _link(tree / "etc/resolv.conf", variant.resolv_conf)
    units = tree / "etc/systemd/system"
    for name in wanted.masked:
        _link(units / name, "/dev/null")
    for name in _GENERATORS:
        # systemd.generator(7): this hides the program of that name in /usr.
        _link(tree / f"etc/systemd/system-generators/systemd-{name}-generator", "/dev/null")
    if all(variants.VARIANTS[name].networkd for name in wanted.variants):
        _link(
            units / "multi-user.target.wants/systemd-networkd.service",
            "/usr/lib/systemd/system/systemd-networkd.service",
        )


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def purge() -> None:
    """Delete all base trees and shared disks except those that a lab's hosts use."""
    # Without the lower layer, a running host would lose all files that it has not changed.
    mounts = Path("/proc/self/mounts").read_text()
    links = (path for lab in limits.labs() for path in Lab(Path(lab)).state.glob("h*/base"))
    disks = {path.readlink() for path in links}
    # The kernel of such a host is started with the programs of the tree.
    used = disks | {
        (disk / "tree").readlink().parent for disk in disks if (disk / "tree").is_symlink()
    }
    for folder in CACHE.glob("[a-z]*-*"):
        if folder.is_dir() and f"lowerdir={folder}/tree," not in mounts and folder not in used:
            shutil.rmtree(folder)
    for lock in CACHE.glob(".build-*.lock"):
        lock.unlink()
    for folder in (CACHE, CACHE.parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
