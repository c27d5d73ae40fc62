"""One command on one channel: input sent, output read within limits, and an end in any case."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import paramiko

from provision.model.errors import ConnectError, FactsError, TimedOut
from provision.transport.base import Output

CHANNEL_S = 5.0
KEEPALIVE_S = 3
UNACKNOWLEDGED_MS = 5000
TCP_USER_TIMEOUT = 18  # of <linux/tcp.h>; the socket module does not name it everywhere
OUTPUT_LIMIT = 16 * 2**20


def notice_silence(transport: paramiko.Transport) -> None:
    """Let a half-open connection die within KEEPALIVE_S + UNACKNOWLEDGED_MS."""
    transport.set_keepalive(KEEPALIVE_S)
    transport.channel_timeout = CHANNEL_S
    if isinstance(transport.sock, socket.socket):  # not behind a jump host
        transport.sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)


def exchange(
    host: str,
    channel: paramiko.Channel,
    command: str,
    data: bytes | Iterator[bytes],
    timeout_s: float,
) -> Output:
    late = threading.Event()

    def give_up() -> None:
        late.set()
        channel.close()

    watchdog = threading.Timer(timeout_s, give_up)
    watchdog.daemon = True
    watchdog.start()
    errors = bytearray()
    drain = threading.Thread(target=_drain, args=(channel.recv_stderr, errors), daemon=True)
    answer = bytearray()
    status, problem = -1, ""
    try:
        channel.exec_command(command)
        drain.start()
        for chunk in (data,) if isinstance(data, bytes) else data:
            channel.sendall(chunk)
        channel.shutdown_write()
        _drain(channel.recv, answer)
        if len(answer) >= OUTPUT_LIMIT:
            channel.close()
        drain.join()
        status = channel.recv_exit_status()
    except (paramiko.SSHException, OSError, EOFError) as error:
        problem = str(error)
    finally:
        watchdog.cancel()
        channel.close()
    if late.is_set():
        raise TimedOut(host, f"no end after {timeout_s:g} s", "give more time with --timeout")
    if len(answer) >= OUTPUT_LIMIT:
        raise FactsError(host, f"it printed more than {OUTPUT_LIMIT} bytes")
    if status < 0:
        raise ConnectError(host, f"the connection broke: {problem or 'no answer any more'}")
    return Output(status, answer.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))


def _drain(receive: Any, into: bytearray) -> None:
    while len(into) < OUTPUT_LIMIT and (chunk := receive(65536)):
        into += chunk
