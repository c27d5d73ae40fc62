"""Method `pipework`: containers sit on the hosts' own LAN."""

from provision.methods.pipework.method import (
    Options,
    attachment,
    desired,
    findings,
    flat,
    mtu,
    plug,
    tools,
)

__all__ = ["Options", "attachment", "desired", "findings", "flat", "mtu", "plug", "tools"]
