"""Where the lab's packages come from: apt's files as they are found on machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.lab import base
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


def test_deb822() -> None:
    found = main_source({"debian.sources": DEB822})
    assert found == Source("http://mirror.example/debian", "bookworm", {"signed-by": KEYRING})
    assert found.line("sid") == f"deb [signed-by={KEYRING}] http://mirror.example/debian sid main"


def test_one_line_format_with_options() -> None:
    text = (
        "# deb http://old.example/debian trixie main\n"
        "deb-src http://mirror.example/debian trixie main\n"
        "deb [arch=amd64 trusted=yes] http://mirror.example/debian/ trixie main contrib # main\n"
    )
    found = main_source({"sources.list": text})
    assert found == Source("http://mirror.example/debian/", "trixie", {"trusted": "yes"})


def test_other_vendors_are_not_the_archive() -> None:
    docker = "deb https://vendor.example/linux/other bookworm main stable\n"
    assert main_source({"vendor.list": docker}) is None
    found = main_source({"a-vendor.list": docker, "debian.sources": DEB822})
    assert found is not None and found.uri == "http://mirror.example/debian"


def test_disabled_entries_and_keys_in_the_file() -> None:
    assert main_source({"debian.sources": f"Enabled: no\n{DEB822.split(chr(10) * 2)[0]}"}) is None
    inline = "Types: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\n"
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n"
    assert main_source({"x.sources": inline + key}) == Source("http://m.example/debian", "sid")


def test_ubuntu_needs_debians_keys_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its own archive has no Debian suites: mmdebstrap knows where they are."""
    text = "deb http://mirror.example/ubuntu noble main\n"
    monkeypatch.setattr(base, "_source_files", lambda: {"sources.list": text})
    monkeypatch.setattr(base, "_KEYRING", tmp_path / "keyring.gpg")
    with pytest.raises(LabError, match="Ubuntu") as caught:
        base.source(None)
    assert "debian-archive-keyring" in caught.value.hint
    (tmp_path / "keyring.gpg").touch()
    assert base.source(None) is None
    named = base.source("http://mirror.example/debian")
    assert named is not None and named.uri == "http://mirror.example/debian"


def test_no_archive_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_source_files", dict)
    with pytest.raises(LabError, match="no Debian archive"):
        base.source(None)


def test_apt_settings_that_reach_the_mirror() -> None:
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


def test_another_recipe_is_another_tree() -> None:
    names = {base.recipe(s, bare=b).folder for s in ("trixie", "bookworm") for b in (True, False)}
    assert len(names) == 4
    assert base.recipe("sid", bare=False).folder.name.startswith("sid-")
    assert "docker-cli" in base.recipe("sid", bare=False).packages
    assert "docker-cli" not in base.recipe("bookworm", bare=False).packages


def test_an_interrupted_build_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "CACHE", tmp_path)

    def stop(_recipe: object, _source: object, tree: Path) -> None:
        tree.mkdir()
        raise LabError("stopped")

    monkeypatch.setattr(base, "_bootstrap", stop)
    with pytest.raises(LabError, match="stopped"):
        base.ensure(base.recipe("sid", bare=True), "http://mirror.example/debian", print)
    assert [path.name[:7] for path in tmp_path.iterdir()] == [".build-"]
    assert all(path.name.endswith(".lock") for path in tmp_path.iterdir())
