"""Method `ovs-gre`: one layer 2 over all hosts, by bridges of Open vSwitch and GRE tunnels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from provision.methods import ClashKey
from provision.methods._shared.ovs_mesh import OvsMesh, OvsOptions, TunnelSettings
from provision.model.fields.overlays import GRE_OVERHEAD, KEY_OVERHEAD, Key
from provision.model.help import Help
from provision.model.inventory import Inventory, Network
from provision.model.tunnel import Tunnel

if TYPE_CHECKING:
    from provision.model.documents import Decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsGreOptions(OvsOptions):
    """The keys of an `ovs-gre` network, besides those of every network."""

    key: Annotated[
        Key | None, Help("key of the GRE tunnels; default: none, which leaves 4 bytes more")
    ] = None


class OvsGreMethod(OvsMesh):
    """Bridges of Open vSwitch with GRE tunnels between them."""

    name = "ovs-gre"
    Options = OvsGreOptions

    def tunnel_settings(self, inventory: Inventory, network: Network) -> TunnelSettings:
        """Type and options of the tunnels of a network."""
        key = _options(network).key
        return TunnelSettings("gre", () if key is None else (("key", str(key)),))

    def clash_keys(self, name: str, decoded: Decoded) -> Iterator[ClashKey]:
        """Yield what no other network of the same hosts may use."""
        yield from super().clash_keys(name, decoded)
        options = decoded.options[name]
        assert isinstance(options, OvsGreOptions)
        use = "have no key" if options.key is None else f"have the key {options.key}"
        hint = "write another key in one of them"
        yield ClashKey(("gre", options.key), ("key",), use, hint)

    def overhead(self, network: Network) -> int:
        """Bytes by which a packet grows on its way to another host."""
        return GRE_OVERHEAD + (0 if _options(network).key is None else KEY_OVERHEAD)

    def tunnel(self, network: Network) -> Tunnel:
        """GRE, for every packet between hosts."""
        return Tunnel("gre", direct=not _options(network).rstp)


def _options(network: Network) -> OvsGreOptions:
    assert isinstance(network.options, OvsGreOptions)
    return network.options
