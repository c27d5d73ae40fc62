"""`ports` and `volumes` of a service, in their short and long forms. Pure."""

from __future__ import annotations

from provision.inventory.compose.values import ValueReader
from provision.inventory.yaml_reader import Node
from provision.model.text import quoted

Entries = list[tuple[str, Node]]
Memory = list[tuple[str, str, Node]]
"""The target and options of each tmpfs."""

_PORT_KEYS = ("target", "published", "protocol", "host_ip", "mode", "name", "app_protocol")


def ports(reader: ValueReader, node: Node) -> Entries:
    """The entries of `ports` in the short form."""
    entries: Entries = []
    for item in reader.items(node, "ports"):
        is_long = isinstance(item.value, dict)
        text = _long_port(reader, item) if is_long else reader.text(item, "ports")
        if text is not None:
            entries.append((text, item))
    return entries


def _long_port(reader: ValueReader, node: Node) -> str | None:
    pairs = reader.only(node, "ports", _PORT_KEYS)
    texts = {name: str(pair.value.value) for name, pair in pairs.items()}
    if "target" not in texts:
        reader.refuse(node, "'target' is missing in 'ports'", "write target: 80")
        return None
    address = f"{texts['host_ip']}:" if "host_ip" in texts else ""
    published = f"{texts['published']}:" if texts.get("published") else ""
    return f"{address}{published}{texts['target']}/{texts.get('protocol', 'tcp')}"


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
    source, _, target = text.partition(":")
    if source.startswith((".", "~")):
        message = f"volume {quoted(text)}: {quoted(source)} is relative to the Compose file"
        hint = "hosts do not have this folder: write an absolute path, or the name of a volume"
        reader.refuse(node, message, hint)
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
    texts = {name: str(pair.value.value) for name, pair in pairs.items()}
    target = texts.get("target")
    if target is None:
        reader.refuse(node, "'target' is missing in 'volumes'", "write target: /data")
        return None
    if texts.get("type") == "tmpfs":
        memory.append((target, _tmpfs_options(reader, node), node))
        return None
    if texts.get("type") not in ("bind", "volume"):
        kind = quoted(texts.get("type", ""))
        reader.refuse(node, f"volumes of type {kind} are not supported", "use bind or volume")
        return None
    # Docker makes the folder of the short form if it is missing, as create_host_path says.
    if "bind" in pairs:
        reader.only(pairs["bind"].value, "bind", ("create_host_path",))
    if "volume" in pairs:
        reader.only(pairs["volume"].value, "volume", ())
    is_fixed = "read_only" in pairs and reader.flag(pairs["read_only"].value, "read_only")
    source = texts.get("source", "")
    return f"{source}:{target}{':ro' if is_fixed else ''}" if source else target


def _tmpfs_options(reader: ValueReader, node: Node) -> str:
    assert isinstance(node.value, dict)
    if "tmpfs" not in node.value:
        return ""
    pairs = reader.only(node.value["tmpfs"].value, "tmpfs", ("size", "mode"))
    return ",".join(f"{name}={pair.value.value}" for name, pair in pairs.items())
