"""One command on one SSH channel: send its input, read its output, with limits on both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import paramiko

from provision.model.errors import ConnectError, FactsError, TimedOut
from provision.transport.base import Output

OUTPUT_LIMIT = 16 * 2**20


def exchange(
    host: str,
    channel: paramiko.Channel,
    command: str,
    data: bytes | Iterator[bytes],
    timeout_s: float,
) -> Output:
    """Run `command` with `data` as its standard input, and close the channel.

    Raises TimedOut, FactsError when it prints more than OUTPUT_LIMIT bytes, ConnectError when
    the connection breaks.
    """
    late = threading.Event()

    def give_up() -> None:
        late.set()
        channel.close()

    # A timeout on the channel would only limit each read, not the whole exchange.
    watchdog = threading.Timer(timeout_s, give_up)
    watchdog.daemon = True
    watchdog.start()
    stdout, stderr = bytearray(), bytearray()
    status, problem = -1, ""
    try:
        status = _run(channel, command, data, stdout, stderr)
    except (paramiko.SSHException, OSError, EOFError) as error:
        problem = str(error)
    finally:
        watchdog.cancel()
        channel.close()
    if late.is_set():
        raise TimedOut(
            host, f"the script did not end within {timeout_s:g} s", "allow more: --timeout SECONDS"
        )
    if len(stdout) >= OUTPUT_LIMIT:
        raise FactsError(host, f"the script printed more than {OUTPUT_LIMIT} bytes")
    if status < 0:
        reason = problem or "the host no longer answers"
        raise ConnectError(host, f"the connection broke: {reason}")
    return Output(status, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"))


def _run(
    channel: paramiko.Channel,
    command: str,
    data: bytes | Iterator[bytes],
    stdout: bytearray,
    stderr: bytearray,
) -> int:
    """The command's exit status; -1 when the channel closed without one."""
    # Standard error is read at the same time: when nobody reads it, its window (2 MiB) fills up
    # and the command blocks while we wait for its standard output.
    reader = threading.Thread(target=drain, args=(channel.recv_stderr, stderr), daemon=True)
    channel.exec_command(command)
    reader.start()
    _send(channel, (data,) if isinstance(data, bytes) else data)
    drain(channel.recv, stdout)
    if len(stdout) >= OUTPUT_LIMIT:
        channel.close()
    reader.join()
    return channel.recv_exit_status()


def _send(channel: paramiko.Channel, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        try:
            channel.sendall(chunk)
        except OSError:
            return  # the command has ended before it read all: what it printed tells why
    with suppress(OSError):
        channel.shutdown_write()


def drain(receive: Callable[[int], bytes], buffer: bytearray) -> None:
    while len(buffer) < OUTPUT_LIMIT and (chunk := receive(65536)):
        buffer += chunk
