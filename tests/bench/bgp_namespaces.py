"""Two route reflectors and many BGP speakers of one inventory, without hosts.

Everything runs in the namespaces of the calling process, which bgp_speakers.py starts in new ones
of mounts, network and processes: the kernel removes all of it with that process. The files are
those that method `bgp` plans. A reflector has a network namespace and a root of its own, and runs
the method's program there, with zebra. The speakers share this process' network namespace, where
each has its own address. A speaker is the bgpd of one host with the host's file, but without zebra
and without the loop that calls a reflector which was away.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from provision.facts.host import HostFacts, Link
from provision.inventory.load import load
from provision.methods.bgp.method import BgpMethod
from provision.model.inventory import Inventory
from provision.resources.kinds.file import File
from tests.cases.test_cases import facts

PLACE = Path("/mnt")
"""A file system in memory is mounted here, in this process' mount namespace alone."""
LINK, MAC = "eth1", "02:00:00:00:00:01"
REFLECTORS = ("h1", "h2")
PROGRAM = "/etc/provision/mesh/core.bgp.sh"
PREFIX = 22
PATIENCE_S = 900


def inventory_text(speakers: int) -> str:
    """Two reflectors, and behind them as many hosts as there are speakers, on one link."""
    lines = ["name: mesh", "hosts:"]
    lines += [f"  h{n}: {{address: 10.78.{n >> 8}.{n & 255}}}" for n in range(1, speakers + 3)]
    lines += ["networks:", "  core: {method: bgp, cidr: 172.24.0.0/14, bfd: true}"]
    return "\n".join(lines) + "\n"


def planned_files(inventory: Inventory) -> dict[str, list[File]]:
    """The files that the method plans for each host."""
    network = inventory.networks["core"]
    case = {"docker": dict.fromkeys(inventory.hosts, "26.1.5")}
    link = {host: on_link(found) for host, found in facts(inventory, case).items()}
    resources = BgpMethod().desired(inventory, network, link)
    files: dict[str, list[File]] = {host: [] for host in inventory.hosts}
    for planned in resources:
        if isinstance(planned, File):
            files[planned.host].append(planned)
    return files


def on_link(found: HostFacts) -> HostFacts:
    """The facts of a host whose link has room for all hosts."""
    (held,) = found.links[LINK].addresses
    address = IPv4Interface(f"{held.ip}/{PREFIX}")
    return replace(found, links={LINK: Link(LINK, 1500, (address,))})


def vty(folder: Path, command: str, daemon: str = "bgpd") -> Any:
    """The JSON that a daemon prints for a command; empty while it does not answer.

    vtysh's protocol: the command and a zero byte; then the output, three zero bytes and a status.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        try:
            client.connect(str(folder / f"{daemon}.vty"))
            for line in ("enable", command):
                client.sendall(line.encode() + b"\0")
                output = b""
                while output[-4:-1] != b"\0\0\0" and (part := client.recv(1 << 16)):
                    output += part
        except (FileNotFoundError, ConnectionError):
            return {}
    text = output[:-4].decode()
    return json.loads(text) if text.lstrip().startswith(("{", "[")) else {}


def until(condition: Callable[[], bool], problem: str, pause_s: float = 0.05) -> None:
    """Wait until a condition holds; raise TimeoutError with `problem` after PATIENCE_S."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(problem)
        time.sleep(pause_s)


def ip_batch(lines: Iterable[str], *netns: str) -> None:
    """Run lines of ip(8) in this network namespace, or in another one."""
    subprocess.run((*netns, "ip", "-batch", "-"), input="\n".join(lines), text=True, check=True)


@dataclass
class Daemons:
    """The running daemons of one host: the process of bgpd, and the folder of its socket."""

    process: subprocess.Popen[bytes]
    folder: Path

    def prefixes(self) -> int:
        """The number of subnets that bgpd has a route to, with its own."""
        if self.process.poll() is not None:
            raise ChildProcessError(f"bgpd in {self.folder} has ended")
        answer = vty(self.folder, "show bgp ipv4 unicast statistics json")
        return sum(table["totalPrefixes"] for table in answer.get("ipv4Unicast", ()))

    def pids(self) -> dict[str, int]:
        """The processes of bgpd and, if it runs, of zebra."""
        zebra = self.folder / "zebra.pid"
        of_zebra = {"zebra": int(zebra.read_text())} if zebra.exists() else {}
        return {"bgpd": self.process.pid, **of_zebra}


class Place:
    """The namespaces, roots and files of two reflectors and `count` speakers."""

    def __init__(self, tree: Path, count: int) -> None:
        self.tree = tree
        # A reflector has a socket for each host; its service allows 65,536.
        most = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        subprocess.run(("mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", str(PLACE)), check=True)
        path = PLACE / "inventory.yml"
        path.write_text(inventory_text(count))
        self.inventory = load(path)
        self.files = planned_files(self.inventory)
        self.speakers = tuple(host for host in self.files if host not in REFLECTORS)
        self.root = self._root("speakers")
        passwd = (self.root / "etc/passwd").read_text().splitlines()
        (self.frr,) = (line.split(":") for line in passwd if line.startswith("frr:"))
        addresses = {host: self.inventory.hosts[host].address for host in self.files}
        of_speakers = (f"{addresses[host]}/{PREFIX}" for host in self.speakers)
        ip_batch(
            (
                "link set lo up",
                f"link add {LINK} address {MAC} type bridge forward_delay 0",
                f"link set {LINK} up",
                *(f"address add {address} dev {LINK}" for address in of_speakers),
            )
        )
        # Permanent entries: one kernel has the neighbours of all reflectors here, and by default
        # room for 1,024 that it finds by ARP (net.ipv4.neigh.default.gc_thresh3).
        neighbours = [
            f"neighbour add {addresses[host]} lladdr {MAC} nud permanent dev {LINK}"
            for host in self.speakers
        ]
        self.namespaces = {
            host: self._reflector(host, f"{addresses[host]}/{PREFIX}", neighbours)
            for host in REFLECTORS
        }

    def _root(self, name: str) -> Path:
        """A root of its own over the lab's base tree, which stays as it is."""
        folder = PLACE / name
        for part in ("upper", "work", "root"):
            (folder / part).mkdir(parents=True)
        layers = f"lowerdir={self.tree},upperdir={folder}/upper,workdir={folder}/work"
        root = folder / "root"
        subprocess.run(("mount", "-t", "overlay", "-o", layers, "overlay", str(root)), check=True)
        for shared in ("proc", "dev"):
            argv = ("mount", "--rbind", f"/{shared}", str(root / shared))
            subprocess.run(argv, check=True)
        return root

    def _reflector(self, host: str, address: str, neighbours: list[str]) -> tuple[str, ...]:
        """The command line that enters a new network namespace, and the files of its host."""
        root = self._root(host)
        for file in self.files[host]:
            path = root / file.path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text)
        argv = ("unshare", "--net", "sh", "-c", "echo up; exec sleep infinity")
        holder = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert holder.stdout is not None and holder.stdout.readline() == b"up\n"
        ip_batch(
            (
                f"link add {host} type veth peer name {LINK} netns {holder.pid}",
                f"link set {host} master {LINK} up",
            )
        )
        netns = ("nsenter", f"--net=/proc/{holder.pid}/ns/net")
        links = ("link set lo up", f"link set {LINK} up", f"address add {address} dev {LINK}")
        ip_batch((*links, *neighbours), *netns)
        return netns

    def start_reflector(self, host: str) -> Daemons:
        """Run the method's program, which ends as bgpd."""
        root = PLACE / host / "root"
        text = (root / PROGRAM.lstrip("/")).read_text()
        (folder,) = (line.split("folder=")[1] for line in text.splitlines() if " folder=/" in line)
        argv = (*self.namespaces[host], "chroot", str(root), "sh", PROGRAM)
        process = subprocess.Popen(argv, **_quiet(PLACE / f"{host}.log"))
        return Daemons(process, root / folder.lstrip("/"))

    def start_speaker(self, host: str) -> Daemons:
        """Run the bgpd of a host with the options of the method's program, but without zebra."""
        path = self.root / "run" / host
        path.mkdir()
        os.chown(path, int(self.frr[2]), int(self.frr[3]))
        return Daemons(self._daemon(host, "bgpd", "--bgp_port", "0", "--no_zebra"), path)

    def start_bfdd(self, host: str) -> subprocess.Popen[bytes]:
        """Run the bfdd of a host that has a bgpd; only one can have the port here."""
        return self._daemon(host, "bfdd", "--socket", f"/run/{host}/zserv.api")

    def _daemon(self, host: str, name: str, *more: str) -> subprocess.Popen[bytes]:
        folder, path = f"/run/{host}", self.root / "run" / host
        (config,) = (f for f in self.files[host] if f.path.endswith(f"{name}.conf"))
        (path / f"{name}.conf").write_text(config.text)
        options = ("--config_file", f"{folder}/{name}.conf", "--pid_file", f"{folder}/{name}.pid")
        options += ("--vty_socket", folder, "--vty_port", "0", *more)
        argv = ("prlimit", "--nofile=1024", "chroot", str(self.root))
        argv += (f"/usr/lib/frr/{name}", *options)
        return subprocess.Popen(argv, **_quiet(path / f"{name}.log"))

    def silence(self, host: str, *processes: subprocess.Popen[bytes]) -> None:
        """A host dies: its daemons stop, and nothing answers at its address any more."""
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        address = self.inventory.hosts[host].address
        ip_batch((f"address delete {address}/{PREFIX} dev {LINK}",))


def _quiet(log: Path) -> dict[str, Any]:
    file = log.open("wb")
    return {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
