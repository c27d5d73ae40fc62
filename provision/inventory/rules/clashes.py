"""Networks that need the same resource of a host: a UDP port, a VNI, docker0. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision import methods
from provision.methods import ClashKey
from provision.model.documents import Decoded, Layout
from provision.model.findings import KEY, Finding, Loc

Users = list[tuple[str, ClashKey]]
"""Networks that use a resource of a host, in the order of the file."""


def clash_rules(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield a finding for each resource that an earlier network of the same host uses, too."""
    users: dict[tuple[str, tuple[object, ...]], Users] = {}
    for name, document in decoded.networks.items():
        for key in methods.named(document.method).clash_keys(name, decoded):
            hosts = [host for host in layout.hosts[name] if (host, key.resource) in users]
            clashes = (
                (user, host) for host in hosts for user in users[host, key.resource]
                if _clash(user, (name, key))
            )  # fmt: skip
            for (earlier, _), host in [*clashes][:1]:
                message = f"networks '{earlier}' and '{name}' both {key.use} on {host}"
                yield Finding(_loc(decoded, name, key), message, key.hint)
            for host in layout.hosts[name]:
                users.setdefault((host, key.resource), []).append((name, key))


def _clash(user: tuple[str, ClashKey], other: tuple[str, ClashKey]) -> bool:
    shared = user[1].driver == other[1].driver != ""
    return user[0] != other[0] and not shared


def _loc(decoded: Decoded, name: str, key: ClashKey) -> Loc:
    """The option's value where the file has it, else the name of the network."""
    written = key.option[0] in decoded.networks[name].model_fields_set
    return ("networks", name, *key.option) if written else ("networks", name, KEY)
