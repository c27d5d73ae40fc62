"""known_hosts files: the lines for a name are those that `ssh-keygen -F` finds."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from provision.transport.ssh import known_hosts
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
