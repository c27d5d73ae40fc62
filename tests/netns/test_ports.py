"""Programs that listen at the ports of networks, on a real kernel."""

from __future__ import annotations

import sys

import pytest

from provision.facts import gather
from provision.facts.host import PortListener
from provision.transport.base import Output
from tests.netns.test_kinds import HOST, NAME, Namespace, namespace

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

LISTENING = """
import socket, time
sockets = []
for kind, address, port in (
    (socket.SOCK_DGRAM, "0.0.0.0", 4789),
    (socket.SOCK_STREAM, "127.0.0.1", 2379),
    (socket.SOCK_STREAM, "0.0.0.0", 9999),
):
    sockets.append(socket.socket(socket.AF_INET, kind))
    sockets[-1].bind((address, port))
    if kind == socket.SOCK_STREAM:
        sockets[-1].listen()
print(flush=True)
time.sleep(60)
"""


def test_listeners_are_found_at_the_ports_of_the_networks(namespace: Namespace) -> None:
    """Neither at other ports, nor the kernel's own sockets."""
    ports = ("udp/4789", "tcp/2379", "udp/4790")
    start = f"""mkfifo /run/ready
{sys.executable} -c '{LISTENING}' >/run/ready &
read -r _ </run/ready
ip link add name vx type vxlan id 7 local 127.0.0.1 dstport 4790 && ip link set dev vx up
"""
    script = gather.script(NAME, (), nonce="n0", ports=ports)
    text = namespace.sh(f"{start}{script}kill $! 2>/dev/null; :")
    facts = gather.parse(HOST, NAME, Output(0, text, ""), nonce="n0").facts
    listeners = {listener[:3] for listener in facts.listeners}
    assert listeners == {("udp", "0.0.0.0", 4789), ("tcp", "127.0.0.1", 2379)}
    assert all(
        isinstance(entry, PortListener) and "python" in entry.program for entry in facts.listeners
    )
