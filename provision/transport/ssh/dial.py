"""TCP connections to sshd that notice a dead host, for paramiko and, run as a program, for ssh.

As a program it is a ProxyCommand with ProxyUseFdpass: it hands the connection over to ssh, which
cannot set these options itself. So this file imports nothing but the standard library.
"""

from __future__ import annotations

import array
import contextlib
import socket
import sys

UNACKNOWLEDGED_MS = 5000
PROBE_S = 3
TCP_USER_TIMEOUT = 18  # <linux/tcp.h>; Python's socket module has it only on some platforms
FAILED = "provision: no connection: "
"""The program's message on standard error begins so."""
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def connected(
    host: str, port: int, timeout_s: float, family: str = "any", source: str = ""
) -> socket.socket:
    """A TCP connection to a host, by the first of its addresses that answers.

    `family`: AddressFamily, and `source`: BindAddress of ssh_config. Raises OSError.
    """
    kind = _FAMILIES.get(family, socket.AF_UNSPEC)
    addresses = socket.getaddrinfo(host, port, kind, socket.SOCK_STREAM)
    problem: OSError = OSError("its name has no address")
    for found_family, _, _, _, address in addresses:
        connection = socket.socket(found_family, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout_s)
            if source:
                connection.bind((source, 0))
            connection.connect(address)
        except OSError as error:
            connection.close()
            problem = error
            continue
        connection.settimeout(None)
        limit_silence(connection)
        return connection
    raise problem


def limit_silence(connection: socket.socket) -> None:
    """Make a half-open connection fail within PROBE_S + UNACKNOWLEDGED_MS.

    The kernel probes a silent connection, and closes one whose packets are not acknowledged after
    TCP_USER_TIMEOUT (RFC 5482) instead of after 15 minutes (net.ipv4.tcp_retries2). A host that is
    only slow acknowledges: its kernel does, whatever sshd waits for.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), PROBE_S)
    with contextlib.suppress(OSError):  # other kernels than Linux do not have it
        connection.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)


def reason(error: OSError, host: str, port: int, timeout_s: float) -> str:
    """The reason why there is no connection, for a message: `192.0.2.7 port 22: TEXT`."""
    silent = isinstance(error, TimeoutError)
    text = f"no answer in {timeout_s:g} s" if silent else error.strerror or str(error)
    return f"{host} port {port}: {text}"


def main(host: str, port: str, timeout: str, family: str, source: str) -> None:
    """Connect, and pass the connection over standard output, which ssh has made a socket."""
    try:
        connection = connected(host, int(port), float(timeout), family, source)
    except OSError as error:
        sys.exit(f"{FAILED}{reason(error, host, int(port), float(timeout))}")
    rights = array.array("i", [connection.fileno()])
    with socket.socket(fileno=1) as ssh:
        ssh.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


if __name__ == "__main__":
    main(*sys.argv[1:])
