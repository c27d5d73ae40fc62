"""What a service says about others: the networks that it is on, the services before it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision.inventory.compose.shape import ComposeService, Dependency
from provision.inventory.compose.values import ValueReader
from provision.inventory.yaml_reader import Node, Pair
from provision.model.text import quoted

Aliases = list[tuple[str, Node]]
_OF_NETWORK = ("ipv4_address", "mac_address", "aliases")
_OF_DEPENDENCY = ("condition", "restart", "required")


def networks(reader: ValueReader, service: ComposeService, node: Node) -> Aliases:
    """Read `networks` into the service; return the aliases that it has in any of them."""
    if isinstance(node.value, list):
        _list_networks(reader, service, node)
        return []
    aliases: Aliases = []
    for name, pair in reader.mapping(node, "networks").items():
        pairs = reader.only(pair.value, name, _OF_NETWORK)
        for key, texts in (("ipv4_address", service.addresses), ("mac_address", service.macs)):
            if (text := _text(reader, pairs, key)) is not None:
                texts[name] = (text, pairs[key].value)
        if "aliases" in pairs:
            aliases += _aliases(reader, service, pairs["aliases"].value)
        service.networks.append(pair.key)
    # One of several networks is an alias of the container in all of them.
    return list({text: (text, item) for text, item in aliases}.values())


def _list_networks(reader: ValueReader, service: ComposeService, node: Node) -> None:
    for name, item in reader.texts(node, "networks"):
        if name in [str(each.value) for each in service.networks]:
            reader.refuse(item, f"network {quoted(name)} comes twice", "remove one")
        else:
            service.networks.append(item)


def _text(reader: ValueReader, pairs: Mapping[str, Pair], key: str) -> str | None:
    return reader.text(pairs[key].value, key) if key in pairs else None


def _aliases(
    reader: ValueReader, service: ComposeService, node: Node
) -> Iterator[tuple[str, Node]]:
    # Compose lets a service repeat its own name, which the container has by `service`.
    name, texts = service.name.lower(), reader.texts(node, "aliases")
    return ((text, item) for text, item in texts if text.lower() != name)


def depends_on(reader: ValueReader, service: ComposeService, node: Node) -> Iterator[Dependency]:
    """Yield the services that start before this one."""
    if isinstance(node.value, list):
        for text, item in reader.texts(node, "depends_on"):
            yield Dependency(text, "service_started", item)
        return
    for name, pair in reader.mapping(node, "depends_on").items():
        pairs = reader.only(pair.value, name, _OF_DEPENDENCY)
        condition = _text(reader, pairs, "condition") or "service_started"
        if reader.option(pairs, "restart", default=False):
            note = f"service {quoted(service.name)} does not restart when {quoted(name)}"
            reader.note(pairs["restart"].value, f"{note} does: 'restart' has no effect")
        is_required = reader.option(pairs, "required", default=True)
        yield Dependency(name, condition, pair.key, is_required)
