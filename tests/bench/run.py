"""Runs of provision that change nothing, beside their limit and other tools, on lab hosts.

    python3 -m venv /var/tmp/peers && /var/tmp/peers/bin/pip install pyinfra ansible-core mitogen
    sudo .venv/bin/python tests/bench/run.py --peers /var/tmp/peers/bin 3 13 50

Prints a Markdown table: the median seconds of the whole process. The commands take turns, so that
a machine that slows down slows down all of them.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from provision.facts import gather
from provision.inventory.load import load
from provision.lab import ready
from tests.bench.routes_network import bare_loop, write_inventory
from tests.bench.temporary_lab import temporary_lab
from tests.lab.hosts import Hosts

BENCH = Path(__file__).parent
PROVISION = str(Path(sys.executable).with_name("provision"))
Command = tuple[str, ...]


def main() -> None:
    """Measure each of the sizes on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, help="folder of pyinfra and ansible-playbook")
    parser.add_argument("--runs", type=int, default=7, help="runs of provision and its limit [7]")
    parser.add_argument("--suite", default="trixie")
    parser.add_argument("sizes", type=int, nargs="*", default=[3, 13, 50])
    options = parser.parse_args()
    for size in options.sizes:
        with temporary_lab(size, options.suite) as hosts:
            measure(hosts, size, options.peers, options.runs)


def measure(hosts: Hosts, size: int, peers: Path | None, runs: int) -> None:
    """Print the table of one size."""
    folder = hosts.lab.folder
    timed(folder, (PROVISION, "apply", write_inventory(hosts, "routes", size)))
    commands: dict[str, tuple[Command, int]] = {
        "limit": (limit(hosts, size), runs),
        "provision apply": ((PROVISION, "apply", "routes.yml"), runs),
    }
    if peers:
        commands |= peer_commands(hosts, size, peers)
        for name in ("Ansible", "pyinfra"):  # their first runs make the changes
            timed(folder, commands[name][0])
    for command, _ in commands.values():
        timed(folder, command)
    text = stdout(folder, commands["provision apply"][0])
    if not text.startswith("No change"):
        raise SystemExit(f"apply still changes something:\n{text}")
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(runs):
        for name, (command, count) in commands.items():
            if turn < count:
                times[name].append(timed(folder, command))
    print_table(size, times)
    cost_s = snapshot_cost(hosts)
    print(f"\nA snapshot costs {cost_s:.3f} s of processor time on a host.", flush=True)


def print_table(size: int, times: dict[str, list[float]]) -> None:
    """The table of one size; a ratio is that of the slower command to the faster one."""
    apply_s = statistics.median(times["provision apply"])
    print(f"\n{size} hosts, load {os.getloadavg()[0]:.1f}\n\n| command | s | min–max | ratio |")
    print("|---|---|---|---|")
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        ratio = apply_s / middle if name == "limit" else middle / apply_s
        print(f"| {name} | {middle:.2f} | {min(seconds):.2f}–{max(seconds):.2f} | {ratio:.2f} |")


def timed(folder: Path, command: Command) -> float:
    """Run a whole process, which must succeed; return its wall time in seconds."""
    begin = time.monotonic()
    process = subprocess.run(command, cwd=folder, capture_output=True, env=environment(folder))
    seconds = time.monotonic() - begin
    if process.returncode:
        output = process.stdout.decode()[-2000:] + process.stderr.decode()
        raise SystemExit(f"{command[0]}: {output}")
    return seconds


def stdout(folder: Path, command: Command) -> str:
    process = subprocess.run(command, cwd=folder, capture_output=True, env=environment(folder))
    return process.stdout.decode()


def environment(folder: Path) -> dict[str, str]:
    """A user's environment, in which Python keeps compiled modules."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return variables | {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "LC_ALL": "C.UTF-8"}


def names(size: int) -> Sequence[tuple[str, int]]:
    """The hosts' names and numbers."""
    return [(f"h{number}", number) for number in range(1, size + 1)]


def limit(hosts: Hosts, size: int) -> Command:
    """The bare loop with the scripts of a snapshot."""
    lab = hosts.lab
    folder = lab.folder / "snapshots"
    folder.mkdir()
    inventory = load(lab.folder / "routes.yml")
    addresses = {host.name: str(host.address) for host in inventory.hosts.values()}
    nonce = secrets.token_hex(8)
    for name in addresses:
        peers = [address for peer, address in addresses.items() if peer != name]
        script = gather.script(inventory.name, peers, nonce=nonce)
        (folder / f"{name}.sh").write_text(script)
    end = re.findall(rf"@{nonce} end \w+", script)[-1]
    return bare_loop(hosts, size, folder, end)


def peer_commands(hosts: Hosts, size: int, programs: Path) -> dict[str, tuple[Command, int]]:
    """The commands of the other tools, and how often each is run."""
    lab, (management, data) = hosts.lab, hosts.networks
    folder = lab.folder
    ssh = f"-F {lab.ssh_config} -o ControlMaster=auto -o ControlPersist=60s"
    (folder / "ansible.cfg").write_text(
        f"[defaults]\nforks = {max(size, 5)}\ninventory = hosts.ini\n"
        f"[ssh_connection]\npipelining = True\nssh_args = {ssh}\n"
    )
    lines = "".join(f"{h} idx={n} peer={data}.{10 + n}\n" for h, n in names(size))
    (folder / "hosts.ini").write_text(f"[lab]\n{lines}")
    login = {"ssh_user": "root", "ssh_key": str(lab.key), "ssh_config_file": str(lab.ssh_config)}
    login |= {"ssh_known_hosts_file": str(lab.known_hosts)}
    entries = ", ".join(
        f"('{management}.{10 + n}', {{'idx': {n}, 'peer': '{data}.{10 + n}', **login}})"
        for _, n in names(size)
    )
    (folder / "hosts.py").write_text(f"login = {login!r}\nlab = [{entries}]\n")
    for path in (BENCH / "peers").iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    playbook = (str(programs / "ansible-playbook"), "play.yml")
    runs = 1 if size > 20 else 3
    pyinfra = (str(programs / "pyinfra"), "-y", "hosts.py", "pyinfra_deploy.py")
    commands = {"pyinfra": (pyinfra, 3), "Ansible": (playbook, runs)}
    return commands | mitogen_command(folder, programs, playbook, runs)


def mitogen_command(
    folder: Path, programs: Path, playbook: Command, runs: int
) -> dict[str, tuple[Command, int]]:
    """Ansible with mitogen's strategy, if that package is installed."""
    plugins = list(
        programs.parent.glob("lib/python3*/site-packages/ansible_mitogen/plugins/strategy")
    )
    if not plugins:
        return {}
    text = (folder / "ansible.cfg").read_text()
    strategy = f"[defaults]\nstrategy_plugins = {plugins[0]}\nstrategy = mitogen_linear\n"
    (folder / "mitogen.cfg").write_text(text.replace("[defaults]\n", strategy))
    argv = ("env", f"ANSIBLE_CONFIG={folder / 'mitogen.cfg'}", *playbook)
    return {"Ansible + mitogen": (argv, runs)}


def snapshot_cost(hosts: Hosts, repeats: int = 20) -> float:
    """Processor seconds of one snapshot on h1: the script's processes, and dockerd's part."""
    text = (hosts.lab.folder / "snapshots/h1.sh").read_text()
    stat = "/sys/fs/cgroup/system.slice/docker.service/cpu.stat"
    script = (
        f"cat >/run/snapshot.sh; read -r _ before <{stat}\n"
        f"i=0; while [ $i -lt {repeats} ]; do sh /run/snapshot.sh >/dev/null; i=$((i + 1)); done\n"
        f"read -r _ after <{stat}; rm /run/snapshot.sh; echo $((after - before)); times\n"
    )
    argv = ready.ssh(hosts.lab, "h1", script, quick=True)
    process = subprocess.run(argv, input=text, capture_output=True, text=True, check=True)
    # The difference in µs, then the two lines of `times`: the shell's, and its children's.
    dockerd_us, _, children = process.stdout.split("\n")[:3]
    return (int(dockerd_us) / 1e6 + sum(map(_seconds, children.split()))) / repeats


def _seconds(text: str) -> float:
    """Seconds of a time as the shell's `times` prints it, such as `0m1.25s`."""
    minutes, _, seconds = text.rstrip("s").partition("m")
    return 60 * float(minutes) + float(seconds)


if __name__ == "__main__":
    main()
