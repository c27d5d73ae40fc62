"""The source of the lab's packages, read from a machine's apt configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.lab import base, cache
from provision.lab.sources import Source, apt_options, main_source
from provision.model.errors import LabError

DEB822 = """\
Types: deb
# http://snapshot.example/archive/debian/20250520T000000Z
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def test_the_deb822_format_is_read() -> None:
    """The archive's URI, its first suite and its keyring."""
    source = main_source({"debian.sources": DEB822})
    assert source == Source("http://mirror.example/debian", "bookworm", {"signed-by": KEYRING})
    assert source.line("sid") == f"deb [signed-by={KEYRING}] http://mirror.example/debian sid main"


def test_the_one_line_format_is_read_with_its_options() -> None:
    """Comments and deb-src lines are skipped."""
    text = (
        "# deb http://old.example/debian trixie main\n"
        "deb-src http://mirror.example/debian trixie main\n"
        "deb [arch=amd64 trusted=yes] http://mirror.example/debian/ trixie main contrib # main\n"
    )
    source = main_source({"sources.list": text})
    assert source == Source("http://mirror.example/debian/", "trixie", {"trusted": "yes"})


def test_archives_of_other_vendors_are_skipped() -> None:
    """Even if their file comes first."""
    docker = "deb https://vendor.example/linux/other bookworm main stable\n"
    assert main_source({"vendor.list": docker}) is None
    source = main_source({"a-vendor.list": docker, "debian.sources": DEB822})
    assert source is not None and source.uri == "http://mirror.example/debian"


def test_disabled_entries_and_inline_keys_are_skipped() -> None:
    """A source with an inline key is used without it."""
    assert main_source({"debian.sources": f"Enabled: no\n{DEB822.split(chr(10) * 2)[0]}"}) is None
    inline = "Types: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\n"
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n"
    assert main_source({"x.sources": inline + key}) == Source("http://m.example/debian", "sid")


def test_ubuntu_needs_only_the_keys_of_debian(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its own archive has no Debian suites, but mmdebstrap knows Debian's archive."""
    text = "deb http://mirror.example/ubuntu noble main\n"
    monkeypatch.setattr(base, "_source_files", lambda: {"sources.list": text})
    monkeypatch.setattr(base, "_KEYRING", tmp_path / "keyring.gpg")
    with pytest.raises(LabError, match="Ubuntu") as caught:
        base.source(None)
    assert "debian-archive-keyring" in caught.value.hint
    (tmp_path / "keyring.gpg").touch()
    assert base.source(None) is None
    mirror = base.source("http://mirror.example/debian")
    assert mirror is not None and mirror.uri == "http://mirror.example/debian"


def test_a_machine_without_an_archive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so."""
    monkeypatch.setattr(base, "_source_files", dict)
    with pytest.raises(LabError, match="no Debian archive"):
        base.source(None)


def test_the_apt_options_for_the_mirror_are_kept() -> None:
    """Proxies and Check-Valid-Until are, cdrom and languages are not."""
    dump = (
        'Acquire "";\nAcquire::cdrom::mount "/media/cdrom/";\n'
        'Acquire::http::Proxy "http://proxy.example:3142";\nAcquire::https::Proxy "DIRECT";\n'
        'Acquire::Check-Valid-Until "false";\nAcquire::Languages:: "none";\n'
    )
    assert [line.split()[0] for line in apt_options(dump)] == [
        "Acquire::http::Proxy",
        "Acquire::https::Proxy",
        "Acquire::Check-Valid-Until",
    ]


def test_each_recipe_has_its_own_base_tree() -> None:
    """Suite and `bare` decide the folder and the packages."""
    names = {base.recipe(s, bare=b).folder for s in ("trixie", "bookworm") for b in (True, False)}
    assert len(names) == 4
    assert base.recipe("sid", bare=False).folder.name.startswith("sid-")
    assert "docker-cli" in base.recipe("sid", bare=False).packages
    assert "docker-cli" not in base.recipe("bookworm", bare=False).packages


def test_an_interrupted_build_leaves_no_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its lock file stays."""
    for module in (base, cache):
        monkeypatch.setattr(module, "CACHE", tmp_path)

    def stop(_recipe: object, _source: object, tree: Path, _say: object) -> None:
        tree.mkdir()
        raise LabError("stopped")

    monkeypatch.setattr(base, "_bootstrap", stop)
    with pytest.raises(LabError, match="stopped"):
        base.ensure(base.recipe("sid", bare=True), "http://mirror.example/debian", print)
    assert [path.name[:7] for path in tmp_path.iterdir()] == [".build-"]
    assert all(path.name.endswith(".lock") for path in tmp_path.iterdir())
