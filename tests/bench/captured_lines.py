"""Lines of the kinds' probes, written for wanted resources or taken from captures of lab hosts."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from provision.resources.base import Resource
from provision.resources.kinds.binary import Binary
from provision.resources.kinds.certificate import Certificate, digest
from provision.resources.kinds.etcd_data import EtcdData
from provision.resources.kinds.file import File
from provision.resources.kinds.iptables_chain import IptablesChain, comment
from provision.resources.kinds.routes import Routes
from provision.resources.kinds.service import Service
from provision.resources.kinds.sysctl import Sysctl
from provision.resources.kinds.tls_request import TlsRequest
from provision.resources.kinds.vxlan import Vxlan
from provision.resources.on_hosts import ETC, UNIT_FOLDER

PROBES = Path(__file__).parents[1] / "probes"
Json = dict[str, Any]


def capture(name: str) -> str:
    return (PROBES / f"{name}.txt").read_text()


def captured(name: str, key: str) -> list[Any]:
    """The JSON values of the lines with this key in a capture."""
    lines = (line.partition(" ") for line in capture(name).splitlines())
    return [json.loads(rest) for first, _, rest in lines if first == key]


def base64_text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def iptables_save(chains: list[IptablesChain]) -> Iterator[str]:
    """The captured rules of Docker, with these chains instead of those of the capture.

    Jumps to ours are on top, where `apply` makes them.
    """
    table, ended = "", True
    for line in capture("iptables_chain/routes-trixie").splitlines():
        if "PROV-" in line or "br-blue" in line:
            continue
        if not ended and line.startswith(("-A", "COMMIT")):
            yield from (text for c in chains if c.table == table for text in _chain_lines(c))
            ended = True
        if line.startswith("*"):
            table, ended = line[1:], False
        yield line


def _chain_lines(chain: IptablesChain) -> Iterator[str]:
    yield f":{chain.chain} - [0:0]"
    yield shlex.join(("-A", chain.hook, *comment(chain.mark), "-j", chain.chain))
    yield from (shlex.join(("-A", chain.chain, *rule)) for rule in chain.rules)


def _file(path: str, text: str, mode: str) -> str:
    return f"{int(mode, 8):o} {base64_text(text)} {path}"


def _service(service: Service) -> tuple[str, ...]:
    path = f"{UNIT_FOLDER}/{service.service}"
    state = ("ActiveState=active", "UnitFileState=enabled", "")
    return (_file(path, service.text, "0644"), f"Id={service.service}", *state)


def _certificate(certificate: Certificate) -> Iterator[str]:
    name = f"{certificate.network}.{certificate.role}"
    record = {
        "addresses": certificate.addresses,
        "server": certificate.server,
        "request": certificate.request,
        "certificate": digest(name),
    }
    yield f"issued {name} yes {base64_text(json.dumps(record))} Nov 23 22:02:06 2028 GMT"
    yield f"sum {digest(name)}  {name}.crt"
    yield f"sum {certificate.authority}  {certificate.network}.ca.crt"


def vxlan_link(device: Vxlan) -> Json:
    link: Json = captured("vxlan/vxlan-trixie", "link")[0][0]
    link |= {"ifname": device.device, "mtu": device.mtu, "address": device.mac}
    link |= {"ifalias": device.mark.tag, "master": device.master}
    tunnel = {"id": device.vni, "port": device.port, "local": str(device.local)}
    link["linkinfo"]["info_data"] |= tunnel | {"learning": device.learning}
    return link


def _vxlan(device: Vxlan) -> Iterator[str]:
    yield f"link {json.dumps([vxlan_link(device)])}"
    yield f"neighbours {device.device} []"
    for forward in device.forwards:
        yield f"forward {device.device} {forward.mac} dst {forward.peer} self permanent"


def _routes(table: Routes) -> Iterator[str]:
    yield f"claim {table.inventory} {table.network}"
    for row in table.rows:
        yield f"row {ETC}/{table.inventory}/routes/{table.network}:{row}"


WRITERS: dict[type[Resource], Callable[[Any], Iterable[str]]] = {
    Routes: _routes,
    File: lambda f: (_file(f.path, f.text, f.mode),),
    Sysctl: lambda s: (f"was {s.key.replace('/', ':')} {s.inventory} 1",),
    Vxlan: _vxlan,
    Binary: lambda b: (f"{b.sha256} {b.path}",),
    EtcdData: lambda d: (f"{d.network}.{d.cluster}",),
    TlsRequest: lambda t: (f"{t.network}.{t.role} root 600",),
    Certificate: _certificate,
    Service: _service,
}
"""Lines of a kind's probe for one resource."""


SHARED = {
    "docker0": "networks containers addresses routes container nsid",
    "docker_network": "networks containers addresses routes container nsid",
    "container": "containers container",
    "image": "images",
    "image_archive": "image",
    "routes": "routes",
    "lan_bridge": "addresses",
    "lan_bridge_ovs": "addresses",
    "ovs_uplink": "addresses",
    "flannel": "addresses routes etcd",
}
"""The keys of look/shared.sh that each section prints, as the probes name them."""
