"""No-change runs of provision, of its limit and of its peers, in one run on hosts of the lab.

    python3 -m venv /var/tmp/peers && /var/tmp/peers/bin/pip install pyinfra ansible-core mitogen
    sudo .venv/bin/python tests/bench/run.py --peers /var/tmp/peers/bin 3 13 50

Prints a Markdown table: seconds of the whole process, the median of the runs. All commands are
run in turn, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from provision.facts import gather
from provision.inventory.load import load
from provision.lab import bringup, ready, teardown
from provision.lab.layout import Lab
from provision.lab.ranges import ranges
from provision.lab.settings import UpOptions

HERE = Path(__file__).parent
MANAGEMENT, DATA = "10.117.0", "10.118.0"
PROVISION = str(Path(sys.executable).with_name("provision"))
Command = tuple[str, ...]


def main() -> None:
    """Measure at every size that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, help="folder of pyinfra and ansible-playbook")
    parser.add_argument("--runs", type=int, default=7, help="of provision and its limit [7]")
    parser.add_argument("--suite", default="trixie")
    parser.add_argument("sizes", type=int, nargs="*", default=[3, 13, 50])
    given = parser.parse_args()
    for size in given.sizes:
        folder = Path(tempfile.mkdtemp(prefix="provision-bench-", dir="/var/tmp"))
        place = Lab(folder)
        try:
            wish = UpOptions(size, given.suite, False, ranges(f"{MANAGEMENT}.0/24,{DATA}.0/24"))
            bringup.up(place, wish, say=lambda _text: None)
            measure(place, size, given.peers, given.runs)
        finally:
            teardown.down(place, say=lambda _text: None)
            shutil.rmtree(folder)


def measure(place: Lab, size: int, peers: Path | None, runs: int) -> None:
    """One table's rows for one size."""
    write_inventory(place.folder, size)
    commands: dict[str, tuple[Command, int]] = {
        "limit": (limit(place, size), runs),
        "provision apply": ((PROVISION, "apply", "routes.yml"), runs),
    }
    if peers:
        commands |= peers_of(place, size, peers)
        for name in ("Ansible", "pyinfra"):  # the first runs make the changes
            once(place.folder, commands[name][0])
    for command, _ in commands.values():
        once(place.folder, command)
    if not (said := output(place.folder, commands["provision apply"][0])).startswith("No change"):
        raise SystemExit(f"not a no-change run:\n{said}")
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(runs):
        for name, (command, count) in commands.items():
            if turn < count:
                times[name].append(once(place.folder, command))
    ours = statistics.median(times["provision apply"])
    print(f"\n{size} hosts, load {os.getloadavg()[0]:.1f}\n\n| command | s | min–max | ratio |")
    print("|---|---|---|---|")
    for name, found in times.items():
        middle = statistics.median(found)
        ratio = ours / middle if name == "limit" else middle / ours
        print(f"| {name} | {middle:.2f} | {min(found):.2f}–{max(found):.2f} | {ratio:.2f} |")
    print(f"\nA look costs {look_cost(place):.3f} s of processor time on a host.", flush=True)


def once(folder: Path, command: Command) -> float:
    """Wall seconds of a whole process, which must succeed."""
    begin = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, env=environment(folder))
    seconds = time.monotonic() - begin
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stdout.decode()[-2000:]}{done.stderr.decode()}")
    return seconds


def output(folder: Path, command: Command) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, env=environment(folder))
    return done.stdout.decode()


def environment(folder: Path) -> dict[str, str]:
    """As a user has it: compiled modules are kept."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return own | {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "LC_ALL": "C.UTF-8"}


def names(size: int) -> Sequence[tuple[str, int]]:
    return [(f"h{number}", number) for number in range(1, size + 1)]


def write_inventory(folder: Path, size: int) -> None:
    """A network of direct routes with one container a host, applied."""
    hosts = "".join(f"  {h}: {{address: {DATA}.{10 + n}}}\n" for h, n in names(size))
    containers = "".join(f"  c{n}: {{host: {h}, network: blue}}\n" for h, n in names(size))
    network = "networks: {blue: {method: routes, cidr: 172.20.0.0/16}}\n"
    text = f"name: bench\nhosts:\n{hosts}{network}containers:\n{containers}"
    (folder / "routes.yml").write_text(text)
    once(folder, (PROVISION, "apply", "routes.yml"))


def limit(place: Lab, size: int) -> Command:
    """The bare loop with the very scripts of a look."""
    folder = place.folder / "looks"
    folder.mkdir()
    inventory = load(place.folder / "routes.yml")
    for name in inventory.hosts:
        others = [str(one.address) for other, one in inventory.hosts.items() if other != name]
        text = gather.script(inventory.name, others, nonce=secrets.token_hex(8))
        (folder / f"{name}.sh").write_text(text)
    pairs = [word for h, n in names(size) for word in (h, f"{MANAGEMENT}.{10 + n}")]
    keys = (str(place.known_hosts), str(place.key))
    return (sys.executable, str(HERE / "limit.py"), *keys, str(folder), *pairs)


def peers_of(place: Lab, size: int, programs: Path) -> dict[str, tuple[Command, int]]:
    """Commands of the peers, and how often each is run."""
    folder = place.folder
    ssh = f"-F {place.ssh_config} -o ControlMaster=auto -o ControlPersist=60s"
    (folder / "ansible.cfg").write_text(
        f"[defaults]\nforks = {max(size, 5)}\ninventory = hosts.ini\n"
        f"[ssh_connection]\npipelining = True\nssh_args = {ssh}\n"
    )
    lines = "".join(f"{h} idx={n} peer={DATA}.{10 + n}\n" for h, n in names(size))
    (folder / "hosts.ini").write_text(f"[lab]\n{lines}")
    data = {"ssh_user": "root", "ssh_key": str(place.key), "ssh_config_file": str(place.ssh_config)}
    data |= {"ssh_known_hosts_file": str(place.known_hosts)}
    entries = ", ".join(
        f"('{MANAGEMENT}.{10 + n}', {{'idx': {n}, 'peer': '{DATA}.{10 + n}', **d}})"
        for _, n in names(size)
    )
    (folder / "hosts.py").write_text(f"d = {data!r}\nlab = [{entries}]\n")
    for path in (HERE / "peers").iterdir():
        shutil.copy(path, folder)
    play = (str(programs / "ansible-playbook"), "play.yml")
    few = 1 if size > 20 else 3
    pyinfra = (str(programs / "pyinfra"), "-y", "hosts.py", "pyinfra_deploy.py")
    return {"pyinfra": (pyinfra, 3), "Ansible": (play, few)} | mitogen(folder, programs, play, few)


def mitogen(
    folder: Path, programs: Path, play: Command, few: int
) -> dict[str, tuple[Command, int]]:
    """Ansible with mitogen's strategy, where that package is."""
    found = list(
        programs.parent.glob("lib/python3*/site-packages/ansible_mitogen/plugins/strategy")
    )
    if not found:
        return {}
    text = (folder / "ansible.cfg").read_text()
    plugin = f"[defaults]\nstrategy_plugins = {found[0]}\nstrategy = mitogen_linear\n"
    (folder / "mitogen.cfg").write_text(text.replace("[defaults]\n", plugin))
    argv = ("env", f"ANSIBLE_CONFIG={folder / 'mitogen.cfg'}", *play)
    return {"Ansible + mitogen": (argv, few)}


def look_cost(place: Lab, times: int = 20) -> float:
    """Processor seconds of one look on h1: its own processes, and what dockerd does for it."""
    text = (place.folder / "looks/h1.sh").read_text()
    stat = "/sys/fs/cgroup/system.slice/docker.service/cpu.stat"
    script = (
        f"cat >/run/look.sh; read -r _ before <{stat}\n"
        f"i=0; while [ $i -lt {times} ]; do sh /run/look.sh >/dev/null; i=$((i + 1)); done\n"
        f"read -r _ after <{stat}; rm /run/look.sh; echo $((after - before)); times\n"
    )
    argv = ready.ssh(place, "h1", script, quick=True)
    said = subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout
    lines = said.split("\n")
    own = sum(map(_seconds, lines[2].split()))
    return (int(lines[0]) / 1e6 + own) / times


def _seconds(text: str) -> float:
    minutes, _, seconds = text.rstrip("s").partition("m")
    return 60 * float(minutes) + float(seconds)


if __name__ == "__main__":
    main()
