"""Values that an inventory does not hold: in files, or in variables of the controller.

No message has a part of a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from provision.model.fields import env_files
from provision.model.fields.files import read_regular, resolve
from provision.model.findings import BadValueError
from provision.model.text import quoted

# The kernel passes at most 128 KiB to a process as one variable (MAX_ARG_STRLEN).
_LIMIT = 64 << 10


def literal(text: str) -> str:
    """Check the value of a variable in an inventory. Raises BadValueError."""
    if "\0" in text:
        raise BadValueError("the value holds a NUL character", "remove it")
    return text


def file_text(text: str, folder: Path) -> tuple[Path, str]:
    """A path relative to `folder`, and the value in this file. Raises BadValueError.

    The last line end is not part of the value: editors and `echo` add one.
    """
    try:
        path = resolve(text, folder)
        value = literal(read_regular(path, _LIMIT).decode())
    except BadValueError as error:
        raise BadValueError(f"file {quoted(text)}: {error.message}", error.hint) from error
    except UnicodeDecodeError as error:
        message = f"file {quoted(text)}: is not UTF-8 text"
        raise BadValueError(message, "encode binary values, for example as base64") from error
    return path, value.removesuffix("\n").removesuffix("\r")


def env_file(
    text: str, folder: Path, parse: Callable[[str], dict[str, str]] | None = None
) -> tuple[Path, dict[str, str]]:
    """A path relative to `folder`, and the variables in this file. Raises BadValueError.

    `parse` reads them; default: values may use the variables of this process.
    """
    try:
        path = resolve(text, folder)
        content = read_regular(path, _LIMIT).decode()
        content = content.removeprefix("\ufeff")
        values = parse(content) if parse else env_files.variables(content, exported)
        for name, value in values.items():
            literal(name + value)
    except env_files.LineError as error:
        message = f"file {quoted(text)}, line {error.line}: {error.message}"
        raise BadValueError(message, error.hint) from error
    except BadValueError as error:
        raise BadValueError(f"file {quoted(text)}: {error.message}", error.hint) from error
    except UnicodeError as error:
        message = f"file {quoted(text)}: is not UTF-8 text"
        raise BadValueError(message, "save it as UTF-8") from error
    return path, values


def exported(name: str) -> str | None:
    """The value of an environment variable of this process; None: it has none that is text."""
    value = os.environ.get(name)
    # Python has bytes that are not UTF-8 as lone surrogates.
    return None if value is None or re.search("[\ud800-\udfff]", value) else value


def controller_variable(name: str) -> str:
    """The value of an environment variable of this process. Raises BadValueError."""
    value = os.environ.get(name)
    if value is None:
        message = f"the environment variable {quoted(name)} is not set on this machine"
        raise BadValueError(message, f"export {name}=… before you start provision")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        message = f"the environment variable {quoted(name)} is not UTF-8 text"
        raise BadValueError(message, "encode binary values, for example as base64") from error
    return value
