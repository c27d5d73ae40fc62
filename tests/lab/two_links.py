"""Hosts of a lab on two links, with a router between them: h3 is alone on the second one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.hosts import Hosts
from tests.lab.pipework import wait_for_output

ROUTER, FAR = "h4", "10.79.7"
"""The host that plays the router, and the first three bytes of the second link."""
_FOLDER = "/etc/systemd/network/10-eth1.network.d"
_CONFIGURE = "networkctl reload && networkctl reconfigure eth1"
# Both links are one wire in the lab: without redirects, h3 is reached by the router only.
_FORWARD = (
    "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 "
    "net.ipv4.conf.eth1.send_redirects=0; iptables -I FORWARD -j ACCEPT"
)


def _settings(hosts: Hosts) -> dict[str, str]:
    """What each host adds to the file of its NIC."""
    near = hosts.networks[1]
    to_far = f"[Route]\nDestination={FAR}.0/24\nGateway={near}.14\n"
    to_near = f"[Route]\nDestination={near}.0/24\nGateway={FAR}.1\n"
    return {
        "h1": to_far,
        "h2": to_far,
        "h3": f"[Network]\nAddress=\nAddress={FAR}.13/24\n{to_near}",
        ROUTER: f"[Network]\nAddress={FAR}.1/24\n",
    }


@contextmanager
def on_two_links(hosts: Hosts) -> Iterator[None]:
    """Move h3 to a link of its own, and back at the end; four hosts are booted."""
    for host, text in _settings(hosts).items():
        write = f"mkdir -p {_FOLDER} && printf %s '{text}' >{_FOLDER}/50-links.conf"
        hosts.ssh(host, f"{write} && {_CONFIGURE}")
    hosts.ssh(ROUTER, _FORWARD)
    for host in ("h1", "h2"):
        wait_for_output(hosts, host, f"ping -c 1 -W 1 {FAR}.13 || :", " 0% packet loss")
    try:
        yield
    finally:
        hosts.ssh(ROUTER, "iptables -D FORWARD -j ACCEPT", check=False)
        for host in _settings(hosts):
            hosts.ssh(host, f"rm -rf {_FOLDER}; {_CONFIGURE}", check=False)


def moved(hosts: Hosts) -> tuple[str, str]:
    """The change of an example's text that gives h3 its address on the second link."""
    near = hosts.networks[1]
    return (f"h3: {{address: {near}.13", f"h3: {{address: {FAR}.13")
