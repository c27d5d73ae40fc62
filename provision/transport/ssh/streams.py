"""The streams of a command that an ssh runs over the connection of its master.

The client hands its streams over to the master, which keeps them until the remote command ends,
even if the client is killed: nothing here waits for the end of a stream once it has to stop.
"""

from __future__ import annotations

import os
import select
import subprocess
import threading
from collections.abc import Iterator
from typing import IO

from provision.transport.ssh.channel import OUTPUT_LIMIT, drain

NOTICE_S = 0.2
"""Seconds after which a stream that has nothing to say sees that it has to stop."""


def exchange(
    process: subprocess.Popen[bytes], data: bytes | Iterator[bytes], stop: threading.Event
) -> tuple[bytearray, bytearray]:
    """Write the input, and read both outputs up to OUTPUT_LIMIT, or until `stop`."""
    assert process.stdin and process.stdout and process.stderr
    stdout, stderr = bytearray(), bytearray()
    threads = [
        threading.Thread(target=_write, args=(process.stdin, data, stop), daemon=True),
        threading.Thread(target=_read, args=(process.stderr, stderr, stop), daemon=True),
    ]
    for thread in threads:
        thread.start()
    _read(process.stdout, stdout, stop)
    if len(stdout) >= OUTPUT_LIMIT:
        stop.set()
        process.kill()
    for thread in threads:
        thread.join()
    process.wait()
    return stdout, stderr


def _read(pipe: IO[bytes], buffer: bytearray, stop: threading.Event) -> None:
    def receive(size: int) -> bytes:
        ready = _is_ready(pipe.fileno(), select.POLLIN, stop)
        return os.read(pipe.fileno(), size) if ready else b""

    with pipe:
        drain(receive, buffer)


def _write(pipe: IO[bytes], data: bytes | Iterator[bytes], stop: threading.Event) -> None:
    try:
        os.set_blocking(pipe.fileno(), False)
        for chunk in (data,) if isinstance(data, bytes) else data:
            rest = memoryview(chunk)
            while rest and _is_ready(pipe.fileno(), select.POLLOUT, stop):
                rest = rest[os.write(pipe.fileno(), rest) :]
            if stop.is_set():
                return
    except OSError:
        pass  # the command may end before it has read its input
    finally:
        pipe.close()


def _is_ready(number: int, event: int, stop: threading.Event) -> bool:
    """Wait for an event of a descriptor, or its end; False once it has to stop."""
    poll = select.poll()
    poll.register(number, event)
    while not stop.is_set():
        if poll.poll(NOTICE_S * 1000):
            return True
    return False
