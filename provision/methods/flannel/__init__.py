"""Method `flannel`: flanneld on every host, its subnet leases in etcd."""

from provision.methods.flannel.method import FlannelMethod

__all__ = ["FlannelMethod"]
