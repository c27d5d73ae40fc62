"""The program that brings a WireGuard device up, run by this machine's sh with fake commands.

They prove nothing about WireGuard: the booted hosts do. The device is `lo`, which does not change.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from provision.resources.kinds.wireguard import _DOWN, KEEP_KEY, UP, Wireguard
from provision.resources.kinds.wireguard_key import WireguardKey
from provision.resources.kinds.wireguard_psk import WireguardPsk
from provision.resources.on_hosts import Mark
from provision.resources.steps import Run, Steps
from tests.unit.test_host_programs import sh

RUNNING, DRAWN = "running-key=", "drawn-key="
WG = r"""#!/bin/sh
echo "wg $*" >>"$FOLDER/log"
[ ! -e "$FOLDER/gone" ] || exit 1
public() { sed 's/^/public-/'; }
case "$1 $3" in
"pubkey ") public ;;
"show public-key") public <"$FOLDER/device"; [ -s "$FOLDER/device" ] || echo '(none)' ;;
"show latest-handshakes") cat "$FOLDER/handshakes" ;;
"show persistent-keepalive") printf 'old=\t25\n' ;;
"showconf ") echo '[Interface]'; sed 's/^/PrivateKey = /' "$FOLDER/device" ;;
"syncconf /dev/stdin") tee "$FOLDER/config" | sed -n 's/^PrivateKey = //p' >"$FOLDER/device" ;;
"set private-key") cat "$4" >"$FOLDER/device" ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >>"$FOLDER/log"
[ "$1" != stop ] || rm -f "$FOLDER/units/$2"
"""
SYSTEMD_RUN = """#!/bin/sh
echo "systemd-run $*" >>"$FOLDER/log"
exec 3<"$FOLDER/run-status"; read -r status <&3; exit "$status"
"""
UNIT = "provision-lo-key.service"
CONF = """# provision safe private
[Interface]
ListenPort = 51820

# h2
[Peer]
PublicKey = new=
AllowedIPs = 172.26.1.0/24
# replaces old=
"""
TRANSIENT = "/run/systemd/transient"


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A folder with fake commands, a device that runs with a key, and a file with another key."""
    programs = {"wg": WG, "systemctl": SYSTEMCTL, "systemd-run": SYSTEMD_RUN}
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    texts = {"device": f"{RUNNING}\n", "private.key": f"{DRAWN}\n", "private.conf": CONF}
    for name, text in {**texts, "handshakes": "old=\t1700000000\n", "run-status": "0\n"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "units").mkdir()
    return tmp_path


def bring_up(folder: Path, keep: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program for the device `lo` as it is."""
    assert TRANSIENT in UP
    mtu = Path("/sys/class/net/lo/mtu").read_text().strip()
    text = UP.replace(TRANSIENT, f"{folder}/units")
    return sh(text, folder, "lo", "", f"{folder}/private", mtu, "", keep)


def log(folder: Path) -> list[str]:
    """The commands that ran, without those that only read."""
    lines = (folder / "log").read_text().splitlines()
    return [line for line in lines if not line.startswith(("wg show", "wg pubkey"))]


@pytest.mark.parametrize(
    ("keep", "before", "after"),
    [
        ("", RUNNING, DRAWN),
        (KEEP_KEY, RUNNING, RUNNING),
        (KEEP_KEY, "", DRAWN),
        ("", "", DRAWN),
    ],
)
def test_the_follower_keeps_the_key_that_runs(
    commands: Path, keep: str, before: str, after: str
) -> None:
    """A device without a key, as after a boot, gets that of the file. No argument has a key."""
    (commands / "device").write_text(f"{before}\n" if before else "")
    process = bring_up(commands, keep)
    assert (process.returncode, process.stderr) == (0, "")
    assert (commands / "device").read_text() == f"{after}\n"
    assert f"PrivateKey = {after}\n" in (commands / "config").read_text()
    lines = (commands / "log").read_text()
    assert RUNNING not in lines and DRAWN not in lines
    assert ("private-key" in lines) == (before == RUNNING and after == DRAWN)


def test_only_the_change_itself_loads_a_new_key() -> None:
    """The follower and a change of the preshared keys keep the key that runs."""
    mark, psk = Mark("safe", "private"), WireguardPsk("h1", "private", "safe", "", ())
    device = Wireguard("h1", "private", "wg-x", "kernel", 51820, 1420, "", (), mark)
    key = WireguardKey("h1", "private", "safe")
    for steps in (device.restore(), psk.create(), psk.unstash("t")):
        assert last_argument(steps) == KEEP_KEY
    assert last_argument(device.create()) == last_argument(key.unstash("t")) == ""


def last_argument(steps: Steps) -> str:
    """The last argument of the program that brings a device up."""
    run = steps[-1]
    assert isinstance(run, Run) and run.argv[2] == UP and len(run.argv) == 10
    return run.argv[-1]


def test_a_mover_that_waits_makes_place_for_the_next_one(commands: Path) -> None:
    """Its unit has the same name; it ends before the table of peers changes."""
    (commands / "units" / UNIT).touch()
    process = bring_up(commands, KEEP_KEY)
    assert (process.returncode, process.stderr) == (0, "")
    stop, sync, start = log(commands)[:3]
    assert stop == f"systemctl stop {UNIT}" and sync == "wg syncconf lo /dev/stdin"
    assert start.startswith(f"systemd-run -q --collect --unit={UNIT}")
    assert (commands / "log").read_text().rstrip().endswith("lo new= 172.26.1.0/24")


def test_without_a_new_key_no_unit_is_asked_for(commands: Path) -> None:
    """Followers run the program at every event."""
    (commands / "private.conf").write_text(CONF.replace("# replaces old=\n", ""))
    assert bring_up(commands, KEEP_KEY).returncode == 0
    assert not any(line.startswith("system") for line in log(commands))


def test_a_mover_that_does_not_start_fails_the_step(commands: Path) -> None:
    """Without it, the peer would get no packet after its change of keys."""
    (commands / "run-status").write_text("1\n")
    assert bring_up(commands).returncode != 0


def test_a_mover_ends_with_its_device(commands: Path) -> None:
    """`wg` fails for a device that is gone."""
    (commands / "gone").touch()
    program = UP.partition("MOVE='")[2].partition("\n}'")[0] + "\n}"
    argv = ["perl", "-e", program, "lo", "new=", "172.26.1.0/24"]
    environment = {"PATH": f"{commands}:{os.environ['PATH']}", "FOLDER": str(commands)}
    process = subprocess.run(argv, env=environment, timeout=20, check=False)
    assert process.returncode == 1
    assert (commands / "log").read_text().splitlines() == ["wg show lo latest-handshakes"]


def test_a_mover_ends_before_its_device_is_taken_down(commands: Path) -> None:
    """Only that of this device."""
    for unit in ("provision-absent0-key.service", UNIT):
        (commands / "units" / unit).touch()
    assert TRANSIENT in _DOWN
    text = _DOWN.replace(TRANSIENT, f"{commands}/units").replace("/run/wireguard", f"{commands}/x")
    process = sh(text, commands, "absent0", "")
    assert (process.returncode, process.stderr) == (0, "")
    assert log(commands) == ["systemctl stop provision-absent0-key.service"]
