"""Containers come back after Docker has been restarted: a fake docker keeps those that run."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.resources.lib import docker_restart
from provision.resources.render import program_text
from tests.unit.test_host_programs import sh

# `b` shares the network namespace of `a`, `d` cannot start any more, and `e` is gone. Docker lists
# the newest first.
DOCKER = """#!/bin/sh
cd "$FOLDER" || exit
for id; do :; done
case $* in
'ps -q --no-trunc') echo 'c d b a e' | tr ' ' '\\n' ;;
*'id=e'*) ;;
ps*) echo "name-${id#id=}" ;;
start*)
  if [ "$id" = d ]; then echo "no such device" >&2; exit 1; fi
  if [ "$id" = b ] && [ ! -e started.a ]; then
    echo "cannot join network of a non running container" >&2; exit 1
  fi
  : >"started.$id" ;;
esac
"""
SYSTEMCTL = "#!/bin/sh\n"
EACH = docker_restart.each("start", ("c", "d", "b", "a", "e"))
PROGRAMS = {
    "a flushed firewall": (program_text("host/restart_docker.sh"), ()),
    "another daemon.json": (EACH.argv[2], EACH.argv[4:]),
}


@pytest.mark.parametrize("change", PROGRAMS)
@pytest.mark.parametrize("broken", [True, False])
def test_every_container_that_can_start_does(tmp_path: Path, change: str, *, broken: bool) -> None:
    """One that shares a namespace is listed before its owner; one that fails keeps none back."""
    text = DOCKER if broken else DOCKER.replace('"$id" = d ', '"$id" = none ')
    for name, command in (("docker", text), ("systemctl", SYSTEMCTL)):
        (tmp_path / name).write_text(command)
        (tmp_path / name).chmod(0o755)
    program, arguments = PROGRAMS[change]
    process = sh(program, tmp_path, *arguments)
    started = sorted(path.suffix for path in tmp_path.glob("started.*"))
    assert started == [".a", ".b", ".c", *([] if broken else [".d"])], process
    assert (process.returncode, process.stderr) == (
        (1, "no such device\n") if broken else (0, "")
    ), process
