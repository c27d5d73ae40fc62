"""Method `pipework`: containers on the hosts' own LAN."""

from provision.methods.pipework.method import PipeworkMethod

__all__ = ["PipeworkMethod"]
