"""Method `wireguard`: encrypted tunnels between all hosts; the private keys stay on them."""

from provision.methods.wireguard.method import WireguardMethod

__all__ = ["WireguardMethod"]
