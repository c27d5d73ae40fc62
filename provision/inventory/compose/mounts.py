"""`ports` and `volumes` of a service, in their short and long forms. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from provision.inventory.compose.supported import PORT_KEYS_WITHOUT_EFFECT
from provision.inventory.compose.values import ValueReader
from provision.inventory.yaml_reader import Node, Pair
from provision.model.fields.container_settings import tmpfs_options
from provision.model.fields.quantities import size
from provision.model.findings import BadValueError
from provision.model.text import quoted

Entries = list[tuple[str, Node]]
Memory = list[tuple[str, str, Node]]
"""The target and options of each tmpfs."""

_ASCII = re.IGNORECASE | re.ASCII
_PLAIN_SIZE = re.compile(r"(?:0|[1-9][0-9]*)[kmgt]?%?", _ASCII)
_TYPES = ("bind", "volume", "tmpfs")
_PORT_TEXTS = ("target", "published", "protocol", "host_ip")
_PORT_KEYS = (*_PORT_TEXTS, *PORT_KEYS_WITHOUT_EFFECT)
_VOLUME_TEXTS = ("type", "source", "target")


def ports(reader: ValueReader, node: Node) -> Entries:
    """The entries of `ports` in the short form."""
    entries: Entries = []
    for item in reader.items(node, "ports"):
        is_long = isinstance(item.value, dict)
        text = _long_port(reader, item) if is_long else reader.text(item, "ports")
        if text is not None:
            address, slash, protocol = text.partition("/")
            # Compose takes the name of a protocol in any case.
            entries.append((f"{address}{slash}{protocol.lower()}", item))
    return entries


def _long_port(reader: ValueReader, node: Node) -> str | None:
    texts = _texts(reader, reader.only(node, "ports", _PORT_KEYS), _PORT_TEXTS)
    if texts is None:
        return None
    if "target" not in texts:
        reader.refuse(node, "'target' is missing in 'ports'", "write target: 80")
        return None
    address = f"{texts['host_ip']}:" if "host_ip" in texts else ""
    published = f"{texts['published']}:" if texts.get("published") else ""
    return f"{address}{published}{texts['target']}/{texts.get('protocol', 'tcp')}"


def _texts(
    reader: ValueReader, pairs: Mapping[str, Pair], keys: tuple[str, ...]
) -> dict[str, str] | None:
    """The texts at keys of a long form, without empty ones; None: one of them is no text."""
    nodes = {key: pairs[key].value for key in keys if key in pairs}
    values = {key: reader.text(node, key) for key, node in nodes.items() if node.value is not None}
    texts = {key: text for key, text in values.items() if text is not None}
    return texts if len(texts) == len(values) else None


def volumes(reader: ValueReader, node: Node) -> tuple[Entries, Memory]:
    """The entries of `volumes` in the short form, and those of type tmpfs."""
    entries: Entries = []
    memory: Memory = []
    for item in reader.items(node, "volumes"):
        if isinstance(item.value, dict):
            text = _long_volume(reader, item, memory)
        else:
            text = reader.text(item, "volumes")
        if text is not None and _is_usable(reader, text, item):
            entries.append((text, item))
    return entries, memory


def _is_usable(reader: ValueReader, text: str, node: Node) -> bool:
    source, colon, target = text.partition(":")
    if source.startswith((".", "~")):
        message = f"volume {quoted(text)}: {quoted(source)} is relative to the Compose file"
        hint = "hosts do not have this folder: write an absolute path, or the name of a volume"
        reader.refuse(node, message, hint)
        return False
    if colon and not (source and target):
        missing = "target" if source else "source"
        hint = "write it like /srv/web:/www:ro or data:/var/lib/app"
        reader.refuse(node, f"volume {quoted(text)} has no {missing}", hint)
        return False
    if source.startswith("/") and not target:
        message = f"volume {quoted(text)} has no name, so its files would end with the container"
        reader.refuse(node, message, f"name it: data:{source}")
        return False
    return True


def _long_volume(reader: ValueReader, node: Node, memory: Memory) -> str | None:
    """A volume of the long form in the short one; None: a tmpfs, or one with a finding."""
    pairs = reader.only(
        node, "volumes", ("type", "source", "target", "read_only", "tmpfs", "bind", "volume")
    )
    texts = _texts(reader, pairs, _VOLUME_TEXTS)
    if texts is None:
        return None
    target = texts.get("target")
    if target is None:
        reader.refuse(node, "'target' is missing in 'volumes'", "write target: /data")
        return None
    kind = texts.get("type", "")
    if kind not in _TYPES:
        message = f"volumes of type {quoted(kind)} are not supported"
        message = message if kind else "'type' is missing in 'volumes'"
        reader.refuse(node, message, "use bind or volume")
        return None
    _note_without_effect(reader, kind, pairs)
    is_fixed = reader.option(pairs, "read_only", default=False)
    if kind == "tmpfs":
        options = list(_tmpfs_options(reader, pairs))
        memory.append((target, ",".join([*options, *(["ro"] if is_fixed else [])]), node))
        return None
    source = texts.get("source", "")
    if not _is_of_kind(reader, kind, source, pairs):
        return None
    return f"{source}:{target}{':ro' if is_fixed else ''}" if source else target


def _is_of_kind(reader: ValueReader, kind: str, source: str, pairs: Mapping[str, Pair]) -> bool:
    """False with a finding: the short form would make another kind of volume of the source."""
    if not source or source.startswith((".", "~")) or (kind == "bind") == source.startswith("/"):
        return True
    if kind == "bind":
        message = f"{quoted(source)} is relative to the Compose file"
        hint = "hosts do not have this folder: write an absolute path, or type: volume"
    else:
        message, hint = f"{quoted(source)} is not the name of a volume", "write type: bind"
    reader.refuse(pairs["source"].value, message, hint)
    return False


def _note_without_effect(reader: ValueReader, kind: str, pairs: Mapping[str, Pair]) -> None:
    """Note the options of another type, which Compose warns of, and those that Docker lacks."""
    unused = [name for name in _TYPES if name != kind]
    for name in [*unused, "source"] if kind == "tmpfs" else unused:
        if name in pairs:
            reader.note(pairs[name].key, f"'{name}' has no effect for a volume of type {kind}")
    if kind == "volume" and "volume" in pairs:
        reader.only(pairs["volume"].value, "volume", ())
    if kind == "bind" and "bind" in pairs:
        options = reader.only(pairs["bind"].value, "bind", ("create_host_path",))
        if not reader.option(options, "create_host_path", default=True):
            text = "Docker makes the folder on a host that lacks it"
            node = options["create_host_path"].value
            reader.note(node, f"'create_host_path: false' has no effect: {text}")


def _tmpfs_options(reader: ValueReader, pairs: Mapping[str, Pair]) -> Iterator[str]:
    """Yield the options as the kernel takes them."""
    options = (
        reader.only(pairs["tmpfs"].value, "tmpfs", ("size", "mode")) if "tmpfs" in pairs else {}
    )
    if "size" in options and (text := reader.text(options["size"].value, "size")) is not None:
        try:
            # One that the kernel takes stays as it is: containers have it so.
            yield f"size={text if _PLAIN_SIZE.fullmatch(text) else size(text)}"
        except BadValueError as error:
            reader.refuse(options["size"].value, error.message, error.hint)
    if "mode" in options:
        mode = options["mode"].value
        text = f"{mode.value:o}" if type(mode.value) is int else str(mode.value)
        if re.fullmatch("[0-7]{1,5}", text):
            yield f"mode={text}"
        else:
            reader.refuse(mode, "'mode' must be an octal number", "write mode: 01777")


def check_memory(reader: ValueReader, node: Node, options: str) -> None:
    """Refuse a size in the short form that the kernel refuses: Docker hands it on as it is."""
    try:
        tmpfs_options(options)
    except BadValueError as error:
        reader.refuse(node, error.message, error.hint)
