"""Method `flannel`: flanneld on every host, its subnet leases in etcd."""

from provision.methods.flannel.method import (
    Options,
    attachment,
    desired,
    findings,
    mtu,
    tools,
    tunnel,
)

__all__ = ["Options", "attachment", "desired", "findings", "mtu", "tools", "tunnel"]
