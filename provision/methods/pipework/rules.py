"""Mistakes in the keys that only `pipework` networks have. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.methods.pipework.options import PipeworkOptions
from provision.model.findings import Finding, Loc


def findings(loc: Loc, options: PipeworkOptions) -> Iterator[Finding]:
    """Yield the mistakes in the options of one network."""
    yield from _docker0(loc, options)
    yield from _open_vswitch(loc, options)


def _docker0(loc: Loc, options: PipeworkOptions) -> Iterator[Finding]:
    if options.docker0 is None:
        return
    key: Loc = (*loc, "docker0")
    if options.pool is None:
        yield Finding(key, "docker0: replace needs a pool for Docker", "write pool, too")
    if options.host_port == "veth":
        message = "Docker sets an address of its own choice on a bridge that has none"
        yield Finding(key, message, "write host_port: bridge, or leave docker0 out")
    if options.kind == "ovs":
        yield Finding(key, "docker0 is always a Linux bridge", "write kind: linux")


def _open_vswitch(loc: Loc, options: PipeworkOptions) -> Iterator[Finding]:
    if options.kind != "ovs":
        return
    if options.pool is not None:
        message = "Docker cannot attach containers to a bridge of Open vSwitch"
        yield Finding((*loc, "pool"), message, "remove pool, and give containers interfaces")
    if options.host_port == "veth":
        message = "a bridge of Open vSwitch always has a port for the host"
        yield Finding((*loc, "host_port"), message, "remove it")
