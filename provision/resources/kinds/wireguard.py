"""Kind `wireguard`: a WireGuard device, with the table of its peers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from typing import Any, ClassVar

from provision.model.names import interface_name
from provision.resources.base import Found, Origin, Ref, Resource, keyed_lines
from provision.resources.joint import NEW_KEY, JointChange
from provision.resources.lib import sysfs
from provision.resources.lib import wireguard_conf as conf
from provision.resources.lib.base64_text import decode_text
from provision.resources.lib.wireguard_conf import Peer
from provision.resources.on_hosts import ETC, UNMARKED, Mark, service_name
from provision.resources.render import program_text
from provision.resources.steps import Put, Run, Steps, remove_file, sh

PREFIX = "wg-"
"""The name of every device of provision begins so (`model.names.interface_name`)."""
KERNEL, USERSPACE = "kernel", "userspace"
"""Implementations: the kernel's module, or wireguard-go."""

UP = program_text("host/wireguard_up.sh")
KEEP_KEY = "keep"
"""Argument of UP: a device that runs keeps its key, whatever the file beside it has."""
# wireguard-go ends with its device, and systemd would start it again: so the service ends first.
_DOWN = """
[ -z "$2" ] || [ ! -e "/etc/systemd/system/$2" ] || systemctl stop "$2" || exit
link=/sys/class/net/$1
mover=provision-$1-key.service file=/run/systemd/transient/$mover
[ ! -e "$file" ] || systemctl stop "$mover" 2>/dev/null || [ ! -e "$file" ] || exit
[ ! -e "$link" ] || ip link delete dev "$1" 2>/dev/null || [ ! -e "$link" ] || exit
[ ! -d /run/wireguard ] || rmdir --ignore-fail-on-non-empty /run/wireguard
"""
Row = tuple[str, tuple[IPv4Network, ...], int, bool]
"""A peer as the device has it: public key, AllowedIPs, keepalive, and if it has a preshared key."""


@dataclass(frozen=True, slots=True)
class Wireguard(Resource):
    """The device `device` on UDP port `port`, with the host's `public` key.

    A file beside the key lists the `peers`, and the hosts whose packets a third host passes on:
    `relayed`, such as `h4 through h1`. `loaded` is False if the device does not have the
    peers, the port and the key of the files. `content` is the file as found; None: made of the
    fields.
    """

    kind: ClassVar[str] = "wireguard"
    volatile: ClassVar[bool] = True
    only_where: ClassVar[tuple[str, ...]] = (f'{ETC}/"$name"/wireguard', "/sys/class/net/wg-*")
    probe: ClassVar[str] = program_text("look/wireguard.sh")
    fingerprint: ClassVar[str] = rf"""
for file in {ETC}/*/wireguard/*.conf; do
  [ ! -f "$file" ] || echo "$(stat -c '%a %n' "$file") $(sha256sum <"$file")"
done
for path in /sys/class/net/{PREFIX}*; do
  [ -e "$path" ] || continue
  dev=${{path##*/}}
  echo "$dev $(cat "$path/ifalias" "$path/mtu" | tr '\n' ' ')"
  wg show "$dev" public-key 2>/dev/null
  wg show "$dev" allowed-ips 2>/dev/null | sort
done
:
"""

    network: str
    device: str
    implementation: str
    port: int
    mtu: int
    public: str
    peers: tuple[Peer, ...]
    mark: Mark
    relayed: tuple[str, ...] = ()
    up: bool = True
    loaded: bool = True
    needs: tuple[Ref, ...] = field(default=(), compare=False)
    made_after: tuple[Ref, ...] = field(default=(), compare=False)
    content: str | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.device

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def after(self) -> tuple[Ref, ...]:
        return self.made_after

    def names(self) -> tuple[str, ...]:
        return (self.device,)

    def links(self) -> tuple[str, ...]:
        # wireguard-go makes the device anew when it restarts.
        return (self.device,)

    def is_foreign(self) -> Run:
        return sysfs.is_foreign(self.device, self.mark.inventory, r" tun type tun \| wireguard ")

    def create(self) -> Steps:
        if self.content == "":  # somebody had deleted the file before a change that is rolled back
            return (*remove_file(f"{self._stem}.conf"),)
        content = self.content or conf.text(self.mark, self.port, self.peers, self.relayed)
        file = Put(f"{self._stem}.conf", content, 0o600)
        # A rollback to a file without its device, which the kernel had lost before the change.
        return (file, self._bring_up("")) if self.implementation else (file,)

    def restore(self) -> Steps:
        # The peers are in the file: a new host does not change the follower's script. The peers
        # may not know a new key in the file yet.
        return (self._bring_up(KEEP_KEY),)

    def _bring_up(self, keep: str) -> Run:
        mtu, tag = str(self.mtu), self.mark.tag
        return sh(UP, self.device, self._service, self._stem, mtu, tag, keep)

    def joint_change(self, current: Resource) -> JointChange | None:
        # The key was drawn by an earlier change, which a person has confirmed before its end; the
        # device waits for the peers that know the one before. One that nobody knows is damage.
        assert isinstance(current, Wireguard)
        waits = any(ref.host != self.host for ref in self.after())
        is_new = waits and current.public != self.public
        return JointChange(self.mark.network, NEW_KEY) if is_new else None

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, Wireguard)
        same = current.implementation == self.implementation or not current.up
        return self.create() if same and current.mark in (self.mark, UNMARKED) else None

    def delete(self) -> Steps:
        return (sh(_DOWN, self.device, self._service), *remove_file(f"{self._stem}.conf"))

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if not isinstance(before, Wireguard) or before.mark != UNMARKED:
            return Resource.undo(self, before, ours=ours)
        # The device had lost its alias before the change.
        marked = replace(before, mark=self.mark)
        no_alias = Run(("ip", "link", "set", "dev", self.device, "alias", ""))
        return (*Resource.undo(self, marked, ours=ours), no_alias)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:
        before = current if isinstance(current, Wireguard) else self
        if before.mark == UNMARKED and not recreated:
            return f"device {self.device} is ours, damaged: it has lost its alias"
        lost = recreated or before.port not in (0, self.port)
        return "packets between hosts are lost for some seconds" if lost and current else None

    @property
    def _stem(self) -> str:
        return conf.stem(self.mark.inventory, self.network)

    @property
    def _service(self) -> str:
        if self.implementation == KERNEL:
            return ""
        return _service(self.host, self.mark.inventory, self.network).name

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        links = {link["ifname"]: link for link in _links(lines)}
        files = {
            path.rsplit("/", 1)[1].removesuffix(".conf"): decode_text(encoded)
            for _, encoded, path in (
                line.split(" ", 2) for line in text.splitlines() if f" {ETC}/" in line
            )
        }
        devices = dict(_devices(lines))
        names = {name: interface_name(PREFIX, origin.inventory, name) for name in files}
        # A network whose file was deleted is known by the name of its device.
        for network, _ in origin.networks:
            device = interface_name(PREFIX, origin.inventory, network)
            if device in links:
                names.setdefault(network, device)
        for network, device in names.items():
            link = links.pop(device, None)
            yield Found(
                _device(origin, network, device, link, files.get(network, ""), devices), ours=True
            )
        for device, link in links.items():
            mark = Mark.of_tag(str(link.get("ifalias", "")))
            resource = _device(origin, mark.network, device, link, "", devices)
            yield Found(resource, ours=mark.inventory == origin.inventory)


def _service(host: str, inventory: str, network: str) -> Ref:
    """The service of wireguard-go, whose device a userspace network has."""
    return Ref(host, "service", service_name(inventory, network, "wireguard"))


def _links(lines: Iterable[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    for key, rest in lines:
        if key == "link":
            link = json.loads(rest)[0]
            if (link.get("linkinfo") or {}).get("info_kind") in ("wireguard", "tun"):
                yield link


@dataclass(frozen=True, slots=True)
class _Device:
    """The configuration of a device, as `wg show` prints it."""

    public: str
    port: int
    rows: frozenset[Row]


def _devices(lines: list[tuple[str, str]]) -> Iterator[tuple[str, _Device]]:
    rows: dict[str, set[Row]] = {}
    for key, rest in lines:
        if key == "peer":
            device, public, preshared, keepalive, allowed = rest.split(" ", 4)
            seconds = int(keepalive) if keepalive.isdecimal() else 0
            row = (public, conf.networks(allowed), seconds, preshared == "psk")
            rows.setdefault(device, set()).add(row)
    for key, rest in lines:
        if key == "device":
            device, public, port = rest.split(" ")
            yield device, _Device(public, int(port), frozenset(rows.get(device, ())))


def _device(
    origin: Origin,
    network: str,
    device: str,
    link: Mapping[str, Any] | None,
    content: str,
    devices: Mapping[str, _Device],
) -> Wireguard:
    try:
        peers = tuple(conf.peers(content))
    except ValueError:
        peers = ()  # somebody has edited the file: it differs
    config, live = link or {}, devices.get(device, _Device("", 0, frozenset()))
    expected = frozenset((p.public, p.allowed, p.keepalive, p.preshared) for p in peers)
    tunnel = (config.get("linkinfo") or {}).get("info_kind", "")
    return Wireguard(
        host=origin.host,
        network=network,
        device=device,
        implementation={"tun": USERSPACE, "wireguard": KERNEL}.get(tunnel, ""),
        port=conf.port(content),
        mtu=int(config.get("mtu", 0)),
        public=live.public if live.public != "(none)" else "",
        peers=peers,
        mark=Mark.of_tag(str(config.get("ifalias", "")))
        if link
        else Mark(origin.inventory, network),
        relayed=conf.relayed(content),
        up="UP" in config.get("flags", ()),
        loaded=(live.port, live.rows) == (conf.port(content), expected),
        # Deleted before the service, which takes the device along when it ends.
        needs=(_service(origin.host, origin.inventory, network),) if tunnel == "tun" else (),
        content=content,
    )
