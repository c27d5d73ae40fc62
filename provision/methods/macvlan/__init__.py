"""Method `macvlan`: containers on the hosts' LAN, by Docker's driver macvlan."""

from provision.methods.macvlan.method import MacvlanMethod

__all__ = ["MacvlanMethod"]
