"""`environment` and `env_file` of a service: one result, whatever their order in the file."""

from __future__ import annotations

from collections.abc import Mapping

from provision.inventory.compose.values import ValueReader
from provision.inventory.yaml_reader import Node, Pair
from provision.model.fields import env_files, secrets
from provision.model.findings import BadValueError
from provision.model.text import quoted

KEYS = ("environment", "env_file")
Variables = dict[str, tuple[str, Node]]
"""The value of each variable, and where it is set."""


def read(reader: ValueReader, service: Mapping[str, Pair]) -> Variables:
    """The variables of a service: those of `environment` count before those of files."""
    inline: dict[str, tuple[str | None, Node]] = {}
    if "environment" in service:
        for name, value, item in reader.pairs(service["environment"].value, "environment"):
            # Without a value, it is that of the shell or of .env.
            inline[name] = (reader.lookup(name) if value is None else value, item)
    variables: Variables = {}
    if "env_file" in service:
        node = service["env_file"].value
        known = {name: value for name, (value, _) in inline.items() if value is not None}
        for name, value in _Files(reader, known).read(node).items():
            variables[name] = (value, node)
    for name, (value, item) in inline.items():
        if value is not None:
            variables[name] = (value, item)
        else:
            # Compose unsets a name that has no value anywhere, even if a file sets it.
            variables.pop(name, None)
    return variables


class _Files:
    """Reads the files of a service now, because they are beside the Compose file.

    `inline` are the variables of its `environment`, which values in a file may use.
    """

    def __init__(self, reader: ValueReader, inline: Mapping[str, str]) -> None:
        self.reader = reader
        self.inline = inline

    def read(self, node: Node) -> dict[str, str]:
        """The variables of all files; the last one counts."""
        values: dict[str, str] = {}
        reader, key = self.reader, "env_file"
        for item in reader.items(node, key, single=True):
            path, is_required = item, True
            if isinstance(item.value, dict):
                pairs = reader.only(item, key, ("path", "required"))
                path = pairs["path"].value if "path" in pairs else item
                is_required = reader.option(pairs, "required", default=True)
            if (text := reader.text(path, key)) is not None:
                values |= self._variables(path, text, values, is_required=is_required)
        return values

    def _variables(
        self, node: Node, text: str, earlier: Mapping[str, str], *, is_required: bool
    ) -> dict[str, str]:
        folder = self.reader.path.parent
        try:
            if not is_required and not (folder / text).exists():
                return {}
            path, variables = secrets.env_file(
                text,
                folder,
                lambda content: env_files.later_variables(content, self._lookup, earlier),
            )
        except BadValueError as error:
            self.reader.refuse(node, error.message, error.hint)
            return {}
        except OSError as error:  # `exists` raises it for a folder that this user may not read
            self.reader.refuse(node, f"file {quoted(text)}: {error.strerror}", "check the path")
            return {}
        self.reader.secrets.append(path)
        return variables

    def _lookup(self, name: str) -> str | None:
        """Compose's order: the shell and .env, then `environment` of the service."""
        value = self.reader.lookup(name)
        return self.inline.get(name) if value is None else value
