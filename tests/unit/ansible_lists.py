"""Prints the output of `ansible-inventory --list` for each of many sources.

Ansible is imported once, and a child process of its own answers for each source: its own start
takes a second, and its settings are global.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from ansible.cli.inventory import InventoryCLI


def answer(source: str, pipe: int) -> None:
    """Write the answer for one source to a pipe; an empty one if Ansible refuses it."""
    path = Path(source)
    os.chdir(path if path.is_dir() else path.parent)
    text = io.StringIO()
    try:
        with redirect_stdout(text):
            InventoryCLI(["ansible-inventory", "-i", source, "--list"]).run()
    except BaseException as error:
        print(f"{source}: {error}", file=sys.stderr)
    os.write(pipe, text.getvalue().encode())


def main(sources: list[str]) -> None:
    """Print a JSON object: source → text."""
    answers = {}
    for source in sources:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            answer(source, write)
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as file:
            answers[source] = file.read().decode()
        os.waitpid(child, 0)
    print(json.dumps(answers))


main(sys.argv[1:])
