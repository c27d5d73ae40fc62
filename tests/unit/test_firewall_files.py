"""The files of ufw, which writes them whole: the program of the hosts with a stand-in for ufw."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from provision.resources.render import program_text

TUPLE = "allow udp 4789 0.0.0.0/0 any 10.78.0.0/24 in"
RULE = ("allow", "proto", "udp", "from", "10.78.0.0/24", "to", "any", "port", "4789")
BY_HAND = "# by hand\n*filter\n### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n"
# Like ufw, which keeps no comments of a person, and writes through a symbolic link.
UFW = f"""#!/bin/sh
file=$FOLDER/etc/ufw/user.rules
kept=$(grep '^### tuple ### ' "$file" | grep -v comment=)
{{
  printf '%s\\n' '*filter' "$kept"
  [ "$1" = delete ] || echo '### tuple ### {TUPLE} comment=70726f766973696f6e3a74776f'
}} >"$FOLDER/written" && cat "$FOLDER/written" >"$file"
"""


def run(folder: Path, verb: str, port: str = "4789") -> None:
    """Open or close the rule of a port; the files of the host are below `folder`."""
    text = program_text("host/firewall_files.sh", "host/firewall_rule.sh")
    for path in ("/etc/ufw", "/etc/provision", "/var/lib/provision"):
        text = text.replace(path, f"{folder}{path}")
    claim = folder / "etc/provision/two/firewall/0a1b"
    claim.parent.mkdir(parents=True, exist_ok=True)
    claim.write_text("ufw - a rule\n")
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "FOLDER": str(folder)}
    rule = (TUPLE.replace("4789", port), *RULE[:-1], port)
    argv = ("sh", "-c", text, "sh", verb, str(claim), "ufw", "-", "provision:two", *rule)
    subprocess.run(argv, check=True, env=environment)


@pytest.mark.parametrize("link", ["", "../../files/user.rules", "FOLDER/files/user.rules"])
@pytest.mark.parametrize("is_cut_off", [False, True], ids=["", "cut off while it keeps the files"])
def test_the_files_of_ufw_come_back_also_by_a_link(
    tmp_path: Path, link: str, is_cut_off: bool
) -> None:
    """To the byte, where they were, and the link stays: a person may have them elsewhere."""
    (tmp_path / "ufw").write_text(UFW)
    (tmp_path / "ufw").chmod(0o755)
    path = tmp_path / "etc/ufw/user.rules"
    file = tmp_path / "files/user.rules" if link else path
    for folder in (path.parent, file.parent, tmp_path / "var/lib/provision"):
        folder.mkdir(parents=True, exist_ok=True)
    file.write_text(BY_HAND)
    file.chmod(0o640)
    if link:
        path.symlink_to(link.replace("FOLDER", str(tmp_path)))
    run(tmp_path, "open")
    assert TUPLE in file.read_text() and "by hand" not in file.read_text()
    record = tmp_path / "var/lib/provision/firewall/ufw"
    if is_cut_off:
        (record / "written/user.rules").unlink()
        (record / "written").rmdir()
        record.rename(record.with_name("ufw.new"))
    run(tmp_path, "close")
    assert file.read_text() == BY_HAND and file.stat().st_mode & 0o777 == 0o640
    assert path.is_symlink() == bool(link)
    assert not record.exists() and not record.with_name("ufw.new").exists()


def test_the_files_of_ufw_come_back_with_the_last_rule(tmp_path: Path) -> None:
    """Also if the rules have lost their claims, which would tell that there is another one."""
    (tmp_path / "ufw").write_text(UFW)
    (tmp_path / "ufw").chmod(0o755)
    path = tmp_path / "etc/ufw/user.rules"
    path.parent.mkdir(parents=True)
    (tmp_path / "var/lib/provision").mkdir(parents=True)
    path.write_text(BY_HAND)
    run(tmp_path, "open")
    ours = path.read_text()
    other = ours.splitlines()[-1].replace("4789", "8472")
    path.write_text(f"{ours}{other}\n")
    (tmp_path / "ufw").write_text(f"#!/bin/sh\nsed -i '/ 4789 .*comment=/d' {path}\n")
    run(tmp_path, "close")
    assert path.read_text().endswith(f"{other}\n") and path.read_text() != BY_HAND
    (tmp_path / "ufw").write_text(f"#!/bin/sh\nsed -i '/ 8472 .*comment=/d' {path}\n")
    run(tmp_path, "close", "8472")
    assert path.read_text() == BY_HAND
