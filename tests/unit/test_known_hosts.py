"""known_hosts files: the lines for a name are those that `ssh-keygen -F` finds."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from provision.cli.host_keys import record
from provision.transport.ssh import known_hosts
from provision.transport.ssh.host_key_offer import Offer
from tests.sshd import keygen

# KEY is a key. The hashed lines are added by ssh-keygen itself.
LINES = r"""
h1 KEY
h1,10.0.0.1 KEY a comment
H2.Example.ORG KEY
*.example.org KEY
*.example.org,!h2.example.org KEY
!h1,h? KEY
h1*,!*9 KEY
[h1]:2222 KEY
[h1]:* KEY
[h?]:2222,[10.0.0.*]:2222 KEY
10.0.0.* KEY
10.0.0.?,10.0.0.1? KEY
2001:db8::1 KEY
* KEY
@cert-authority *.example.org,h1 KEY
@revoked h1 KEY
@revoked  *	KEY
# h1 KEY
  h1   KEY
a.b,h1,c KEY
h1, KEY
,h1 KEY
h.1 KEY
h1 ssh-ed25519
h1 ssh-ed25519 AAAA
h1 ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7
h1 1024 65537 123456789
@unknown h1 KEY
@cert-authority h1
"""
NAMES = (
    *("h1", "h2", "h9", "h10", "[h1]:2222", "[h1]:22", "[h2]:2222", "h.1", "hx1"),
    *("h2.example.org", "h3.example.org", "example.org", "[h2.example.org]:2222"),
    *("10.0.0.1", "10.0.0.12", "10.0.0.123", "[10.0.0.1]:2222", "2001:db8::1", "10a0b0c1"),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lines, some of them hashed."""
    folder = tmp_path_factory.mktemp("known")
    key = keygen(folder / "key")
    (folder / "hashed").write_text(f"h1,[h1]:2222 {key}\nh9 {key}\n2001:db8::1 {key}\n")
    argv = ("ssh-keygen", "-q", "-H", "-f", str(folder / "hashed"))
    subprocess.run(argv, check=True, capture_output=True)
    hashed = (folder / "hashed").read_text()
    assert hashed.count("|1|") >= 3
    (folder / "known_hosts").write_text(LINES.replace("KEY", key) + hashed)
    return folder / "known_hosts"


@pytest.mark.parametrize("name", NAMES)
def test_the_lines_for_a_name_are_those_of_openssh(file: Path, name: str) -> None:
    """With their markers, and without lines that are damaged."""
    argv = ("ssh-keygen", "-F", name, "-f", str(file))
    output = subprocess.run(argv, capture_output=True, text=True).stdout
    found = re.findall(r"^# Host .* found: line (\d+)(?: (CA|REVOKED))?", output, re.M)
    markers = {"": "", "CA": known_hosts.AUTHORITY, "REVOKED": known_hosts.REVOKED}
    damaged = known_hosts.read(file).damaged
    expected = [(int(line), markers[mark]) for line, mark in found if int(line) not in damaged]
    entries = known_hosts.read(file).of(name.lower())
    assert [(entry.number, entry.marker) for entry in entries] == expected


def test_damaged_lines_are_those_whose_keys_openssh_cannot_read(file: Path) -> None:
    """`ssh-keygen -l` has no fingerprint for them."""
    lines = file.read_text().splitlines()
    damaged = [lines[number - 1] for number in known_hosts.read(file).damaged]
    assert len(damaged) == 6
    for line in damaged:
        path = file.with_name("one")
        path.write_text(line + "\n")
        argv = ("ssh-keygen", "-l", "-f", str(path))
        process = subprocess.run(argv, capture_output=True, text=True)
        assert process.returncode != 0 or line.startswith("@unknown"), line


def test_a_recorded_key_leaves_link_mode_and_owner_as_they_are(tmp_path: Path) -> None:
    """The file of a project may be a link to that of a team, which others read or may not read."""
    team, path = tmp_path / "team/known_hosts", tmp_path / ".provision/known_hosts"
    team.parent.mkdir()
    path.parent.mkdir()
    path.symlink_to("../team/known_hosts")
    offers = [Offer(name, name, "ed25519", "", f"{name} key", "new") for name in ("h1", "h2")]
    record(path, offers[:1])
    assert path.is_symlink() and team.read_text() == "h1 key\n"
    team.chmod(0o640)
    owner = (1, 2) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(team, *owner)
    with suppress(OSError):  # older kernels have none on tmpfs
        os.setxattr(team, "user.note", b"ours")
    attributes = os.listxattr(team)
    (team.parent / ".known_hosts.new").write_text("of a run that was cut off")
    record(path, offers[1:])
    status = team.stat()
    assert path.is_symlink() and team.read_text() == "h1 key\nh2 key\n"
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o640, *owner)
    assert os.listxattr(team) == attributes
    assert list(team.parent.iterdir()) == [team]
