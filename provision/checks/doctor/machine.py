"""Findings about a host itself: Docker, clock, disks, kernel, identity, certificates. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from provision.checks.doctor.findings import HostFinding, Weight
from provision.checks.doctor.probe import DoctorFacts
from provision.model.text import listed
from provision.resources.base import Resource
from provision.resources.kinds.certificate import Certificate
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.flannel import Flannel

SLOW_S = 3.0
"""Seconds after which Docker is slow: it answers in some hundredths."""
SKEW_S, GREAT_SKEW_S = 2.0, 60.0
"""Seconds by which a clock may be off: logs no longer match; certificates and leases fail."""


def findings(
    host: str, facts: DoctorFacts, *, began_at: float, wanted: Iterable[Resource]
) -> Iterator[HostFinding]:
    """Yield what is wrong with one host. `began_at`: the controller's time before it asked.

    `wanted` are the resources that the inventory wants there.
    """
    yield from _docker(host, facts)
    yield from _clock(host, facts, began_at)
    yield from _disks(host, facts)
    yield from _kernel(host, facts, wanted)


def _docker(host: str, facts: DoctorFacts) -> Iterator[HostFinding]:
    if facts.docker_s is not None and facts.docker_s > SLOW_S:
        yield HostFinding(
            host,
            "docker_slow",
            Weight.WARNING,
            f"Docker takes {facts.docker_s:.1f} s to tell its state",
            "each change of a container waits for it, and a rollback, too",
            "journalctl -u docker -n 50",
        )
    if facts.docker_firewall.startswith("nftables"):
        yield HostFinding(
            host,
            "docker_firewall",
            Weight.WARNING,
            "Docker sets its firewall by nftables, not by iptables",
            "Docker calls this backend experimental. It has no chain DOCKER-USER, and lets "
            "containers of other hosts pass only if its settings name a firewall mark",
            'write "bridge-accept-fwmark": "0x2000/0x2000" to /etc/docker/daemon.json, restart '
            "Docker",
        )


def _clock(host: str, facts: DoctorFacts, began_at: float) -> Iterator[HostFinding]:
    ahead, behind = facts.clock - facts.read_at, began_at - facts.clock
    skew = max(ahead, behind)
    if skew <= SKEW_S:
        return
    direction = "ahead of" if ahead > behind else "behind"
    yield HostFinding(
        host,
        "clock",
        Weight.ERROR if skew > GREAT_SKEW_S else Weight.WARNING,
        f"its clock is {skew:,.0f} s {direction} the controller's",
        "TLS certificates, leases of etcd and the deadline of a rollback are told by it",
        "timedatectl set-ntp true",
    )


def _disks(host: str, facts: DoctorFacts) -> Iterator[HostFinding]:
    for disk in facts.disks:
        least = max(4096, min(102_400, disk.size // 20))
        if disk.size and disk.free < least:
            yield _full(host, "disk_full", f"{disk.target} has {disk.free} KiB free", disk.target)
        if disk.inodes and disk.free_inodes < min(500, disk.inodes // 20 + 1):
            text = f"{disk.target} has {disk.free_inodes} inodes free"
            yield _full(host, "no_inodes", text, f"--inodes {disk.target}")


def _full(host: str, kind: str, text: str, arguments: str) -> HostFinding:
    why = "a change writes its rollback there first, and Docker its containers: both fail"
    return HostFinding(host, kind, Weight.ERROR, text, why, f"du -xh -d 2 {arguments} | sort -h")


def _kernel(host: str, facts: DoctorFacts, wanted: Iterable[Resource]) -> Iterator[HostFinding]:
    needs: dict[str, str] = {}
    for resource in wanted:
        for module in _modules(resource):
            needs.setdefault(module, f"{resource.kind} {resource.name}")
    for module in sorted(needs.keys() & facts.missing):
        yield HostFinding(
            host,
            "kernel_module",
            Weight.ERROR,
            f"the kernel {facts.kernel} cannot make {module}, which {needs[module]} needs",
            "apply fails when it makes it",
            f"modprobe {module}; on Debian, cloud kernels lack modules: install linux-image-amd64",
        )


def _modules(resource: Resource) -> Iterator[str]:
    """Yield the types of interfaces and the modules that a resource needs."""
    if resource.kind in ("vxlan", "wireguard"):
        yield resource.kind
    if isinstance(resource, DockerNetwork):
        yield from ("veth", "bridge") if resource.driver in ("", "bridge") else (resource.driver,)
    if isinstance(resource, Flannel):
        yield from {"vxlan": ("vxlan", "br_netfilter"), "udp": ("tun",)}.get(resource.backend, ())


def twins(facts: Mapping[str, DoctorFacts]) -> Iterator[HostFinding]:
    """Yield hosts with one machine-id: copies of one image, whose ids nobody made anew."""
    for host, answer in facts.items():
        peers = tuple(
            peer
            for peer, of_peer in facts.items()
            if peer != host and of_peer.machine_id == answer.machine_id
        )
        if answer.machine_id and peers:
            yield HostFinding(
                host,
                "duplicate_machine_id",
                Weight.ERROR,
                f"it has the machine-id of {listed(peers)}",
                "DHCP gives both one address, and systemd derives equal MACs for their bridges",
                "rm /etc/machine-id /var/lib/dbus/machine-id; systemd-machine-id-setup; reboot",
            )


def certificates(host: str, resources: Iterable[Resource], now: float) -> Iterator[HostFinding]:
    """Yield the certificates that end soon, or have ended."""
    for resource in resources:
        if isinstance(resource, Certificate) and not resource.fresh:
            ended = 0 < _ends_at(resource.expires) < now
            yield HostFinding(
                host,
                "certificate",
                Weight.ERROR if ended else Weight.WARNING,
                f"certificate {resource.name} {'ended' if ended else 'ends'} {resource.expires}",
                "etcd and flanneld refuse each other from then on",
                "provision apply, which renews it",
            )


def _ends_at(text: str) -> float:
    """The time of openssl's `Nov 26 17:25:00 2027 GMT`; 0 for another text."""
    try:
        parsed = datetime.strptime(text, "%b %d %H:%M:%S %Y GMT")
    except ValueError:
        return 0.0
    return parsed.replace(tzinfo=UTC).timestamp()
