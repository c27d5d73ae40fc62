"""A folder of Debian packages that bare hosts install from, since they reach no archive.

An apt source of the form `deb file:FOLDER ./` is a "flat repository": packages beside their
index, see sources.list(5).
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from provision.lab.tools import run

INSIDE = "/srv/packages"
"""The folder's path on a host."""
SOURCE = f"deb [trusted=yes] file:{INSIDE} ./\n"


def download_hook(folder: Path, packages: tuple[str, ...]) -> str:
    """A customize hook for mmdebstrap: download packages and their dependencies to `folder`."""
    return (
        'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --quiet --download-only'
        f" --no-install-recommends -o Dir::Cache::archives={folder}/ install {' '.join(packages)}"
    )


def prepare(folder: Path) -> None:
    """Create the folders that apt downloads to."""
    (folder / "partial").mkdir(parents=True)


def index(folder: Path) -> None:
    """Write the index `Packages` for the files in `folder`, and delete apt's own files."""
    (folder / "partial").rmdir()
    (folder / "lock").unlink(missing_ok=True)
    folder.chmod(0o755)
    (folder / "Packages").write_text("\n".join(map(_stanza, sorted(folder.glob("*.deb")))))


def _stanza(package: Path) -> str:
    package.chmod(0o644)
    digest = sha256(package.read_bytes()).hexdigest()
    file = f"Filename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {digest}\n"
    return run(("dpkg-deb", "--field", str(package))) + file


def unpack(folder: Path, name: str, target: Path) -> None:
    """Unpack the files of one package of `folder` into `target`."""
    package = next(folder.glob(f"{name}_*.deb"))
    run(("dpkg-deb", "--extract", str(package), str(target)))
