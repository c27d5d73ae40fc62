"""A Debian archive for bare hosts, which reach no other: packages and their index in one folder."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from provision.lab.tools import run

INSIDE = "/srv/packages"
"""Where a host sees it."""
SOURCE = f"deb [trusted=yes] file:{INSIDE} ./\n"


def download_hook(folder: Path, packages: tuple[str, ...]) -> str:
    """A hook of mmdebstrap that fetches packages, and what they need, into `folder`."""
    return (
        'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --quiet --download-only'
        f" --no-install-recommends -o Dir::Cache::archives={folder}/ install {' '.join(packages)}"
    )


def prepare(folder: Path) -> None:
    """The folders that apt wants to find."""
    (folder / "partial").mkdir(parents=True)


def index(folder: Path) -> None:
    """Write `Packages` (the format of Debian's repositories) for the files in `folder`."""
    (folder / "partial").rmdir()
    (folder / "lock").unlink(missing_ok=True)
    folder.chmod(0o755)
    (folder / "Packages").write_text("\n".join(map(_stanza, sorted(folder.glob("*.deb")))))


def _stanza(package: Path) -> str:
    package.chmod(0o644)
    digest = sha256(package.read_bytes()).hexdigest()
    place = f"Filename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {digest}\n"
    return run(("dpkg-deb", "--field", str(package))) + place


def unpack(folder: Path, name: str, target: Path) -> None:
    """Unpack the files of one package of `folder` into `target`."""
    found = next(folder.glob(f"{name}_*.deb"))
    run(("dpkg-deb", "--extract", str(found), str(target)))
