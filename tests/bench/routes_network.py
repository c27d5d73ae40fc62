"""What benchmarks on lab hosts share: a network of routes, a rule that drops, the bare loop."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.hosts import Hosts

BROKEN = "h2"
"""The host that drops what it forwards."""
CIDR = "172.20.0.0/16"


def write_inventory(
    hosts: Hosts,
    name: str,
    size: int,
    *,
    containers: int = 0,
    prefix: str = "c",
    cidr: str = CIDR,
    keys: str = "",
) -> str:
    """A network of routes on the first `size` hosts; the file `NAME.yml`.

    `containers` are spread over the hosts, one on each by default: `prefix` and a number. `keys`
    are further keys of each: `image: …`.
    """
    data, number = hosts.networks[1], containers or size
    lines = [f"name: {name}", "hosts:"]
    lines += [f"  h{n}: {{address: {data}.{10 + n}}}" for n in range(1, size + 1)]
    lines += [f"networks: {{{name}: {{method: routes, cidr: {cidr}}}}}", "containers:"]
    fields = ", ".join(filter(None, (f"network: {name}", keys)))
    lines += [
        f"  {prefix}{n}: {{host: h{(n - 1) % size + 1}, {fields}}}" for n in range(1, number + 1)
    ]
    (hosts.lab.folder / f"{name}.yml").write_text("\n".join(lines) + "\n")
    return f"{name}.yml"


@contextmanager
def dropping(hosts: Hosts, match: str = "") -> Iterator[None]:
    """One host drops what it forwards, or what of it `match` of iptables says."""
    rule = " ".join(filter(None, ("FORWARD", match, "-j DROP -m comment --comment bench")))
    hosts.ssh(BROKEN, f"iptables -I {rule}")
    try:
        yield
    finally:
        hosts.ssh(BROKEN, f"iptables -D {rule}")


def bare_loop(hosts: Hosts, size: int, folder: Path, end: str) -> tuple[str, ...]:
    """The command of limit.py for the scripts `HOST.sh` of a folder, which print `end` last."""
    lab, management = hosts.lab, hosts.networks[0]
    program = Path(__file__).with_name("limit.py")
    pairs = [text for n in range(1, size + 1) for text in (f"h{n}", f"{management}.{10 + n}")]
    files = (str(lab.known_hosts), str(lab.key), str(folder))
    return (sys.executable, str(program), *files, end, *pairs)
