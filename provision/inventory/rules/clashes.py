"""Networks that need the same resource of a host: a UDP port, a VNI, docker0. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from provision import methods
from provision.methods import ClashKey
from provision.model.documents import Decoded, Layout
from provision.model.findings import KEY, Finding, Loc

Users = list[tuple[str, ClashKey]]
"""Networks that use a resource of a host, in the order of the file."""


def findings(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield a finding for each resource that an earlier network of the same host uses, too."""
    users: dict[tuple[str, tuple[object, ...]], Users] = {}
    for name, document in decoded.networks.items():
        for key in methods.named(document.method).clash_keys(name, decoded):
            clashes = (
                (earlier, host)
                for host in layout.hosts[name]
                for earlier, earlier_key in users.get((host, key.resource), ())
                if earlier != name and not _shareable(earlier_key, key)
            )
            for earlier, host in islice(clashes, 1):  # the other hosts would only repeat it
                message = f"networks '{earlier}' and '{name}' both {key.use} on {host}"
                yield Finding(_loc(decoded, name, key), message, key.hint)
            for host in layout.hosts[name]:
                users.setdefault((host, key.resource), []).append((name, key))


def _shareable(earlier: ClashKey, later: ClashKey) -> bool:
    """True if both networks use the resource through a driver that serves several networks."""
    return earlier.driver == later.driver != ""


def _loc(decoded: Decoded, name: str, key: ClashKey) -> Loc:
    """The option's value where the file has it, else the name of the network."""
    in_file = key.option[0] in decoded.networks[name].model_fields_set
    return ("networks", name, *key.option) if in_file else ("networks", name, KEY)
