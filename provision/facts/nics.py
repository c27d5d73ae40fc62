"""A host's NICs as something to bridge: who owns them, what they carry, what forbids it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

from provision.resources.base import WAS
from provision.resources.lib.base64_text import plain
from provision.resources.lib.nic_records import NicAddress, NicRoute
from provision.resources.render import program_text

# A manager is asked by the files that it keeps of each link: no process is started for a host that
# needs none of this. networkd: /run/systemd/netif; NetworkManager(8); ifupdown's ifstate.
PROBE = rf"""
for link in /sys/class/net/*; do
  nic=${{link##*/}}
  [ ! -d "$link/phy80211" ] && [ ! -d "$link/wireless" ] || echo "wireless $nic"
  [ ! -d "$link/bridge" ] || echo "bridge $nic"
  [ ! -d "$link/bridge" ] || [ -e "$link/bridge/vlan_filtering" ] || echo "unfiltered $nic"
  read -r index 2>/dev/null <"$link/ifindex" || continue
  if [ -f "/run/systemd/netif/links/$index" ]; then
    while read -r line; do
      case $line in NETWORK_FILE=?*)
        path=${{line#*=}}
        echo "networkd $nic $path"
        for part in "$path" /etc/systemd/network/"${{path##*/}}".d/*.conf; do
          [ ! -f "$part" ] || echo "network_file $nic $(base64 -w0 <"$part")"
        done
      esac
    done <"/run/systemd/netif/links/$index"
    [ ! -s "/run/systemd/netif/leases/$index" ] || echo "lease $nic"
  fi
  if [ -f "/run/NetworkManager/devices/$index" ]; then
    while read -r line; do
      case $line in managed=true | managed=1) echo "manager $nic NetworkManager" ;; esac
    done <"/run/NetworkManager/devices/$index"
  fi
  if [ -f /run/network/ifstate ]; then
    while read -r line; do
      case $line in "$nic="*) echo "manager $nic ifupdown" ;; esac
    done </run/network/ifstate
  fi
done
for was in {WAS}/"$name"/uplink/*; do
  [ ! -f "$was" ] || echo "was ${{was##*/}} $(head -c 65536 "$was" | base64 -w0)"
done
while read -r word rest; do
  case $word in nameserver | search | domain | options) echo "dns $word $rest" ;; esac
done </etc/resolv.conf 2>/dev/null
for claim in /etc/provision/"$name"/attachments/*/*; do
  [ -f "$claim" ] || continue
  read -r way _ on _ <"$claim"
  [ "$way" != nic ] || echo "given $on"
done
[ -z "$asking" ] || [ -n "$(ls {WAS}/"$name"/uplink 2>/dev/null)" ] || {{
  first=${{asked#* }}
  nic=$(ip -o route get "${{first%% *}}" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p')
  for word in $asked; do
    set -- "$@" "$word" # an address is its own name
    case $word in *.*) set -- "$@" "$word" ;; esac
  done
  [ -z "$nic" ] || perl -e "$asking" "$name" "$nic" 1500 "$@"
}}
shared every_route
"""

_MOST = 256
"""So many addresses are asked for at once; a pool that is larger is not all asked for."""


def asking(asked: Mapping[str, str]) -> tuple[str, ...]:
    """Lines of a look before PROBE: the program that asks, and whom it asks for."""
    program = program_text("checks/lan.pl") if asked else ""
    words = " ".join(f"{word} {address}" for address, word in [*asked.items()][:_MOST])
    return (f"asked={quote(words)}", f"asking={quote(program)}")


def answered(lines: Iterable[tuple[str, str]], check: str) -> dict[str, str]:
    """Addresses for which the answer was wrong, and what was said."""
    words = [rest.split(" ", 4) for key, rest in lines if key == "answer"]
    return {said[2]: said[4] for said in words if said[0] == check and said[3] != "0"}


_OURS = "/etc/systemd/network/05-provision-"
_KERNEL, _RA, _DHCP = "2", "9", "16"


@dataclass(frozen=True, slots=True)
class Nic:
    """A link of the host.

    `managers` own it (systemd-networkd, netplan, NetworkManager, ifupdown); `network` is the text
    of networkd's file for it; `dynamic`: an address of it is leased.
    """

    name: str
    mac: str = ""
    mtu: int = 1500
    ether: bool = True
    wireless: bool = False
    bridge: bool = False
    master: str = ""
    managers: tuple[str, ...] = ()
    network: str = ""
    dynamic: bool = False
    addresses: tuple[NicAddress, ...] = ()
    routes: tuple[NicRoute, ...] = ()


def parse(
    lines: Iterable[tuple[str, str]], links: Iterable[dict[str, Any]], switches: Mapping[str, str]
) -> dict[str, Nic]:
    """Every link of a host by name; `links` as `ip -j address show` gives them.

    `switches`: the bridge of Open vSwitch that a link is a port of, or the own device of.
    """
    said = list(lines)
    routes = json.loads(dict(said).get("every_route", "[]"))
    words = [(key, *rest.partition(" ")[::2]) for key, rest in said]
    return {
        link["ifname"]: _uplink(
            link, routes, [(k, v) for k, nic, v in words if nic == link["ifname"]], switches
        )
        for link in links
    }


def default_routes(lines: Iterable[tuple[str, str]]) -> tuple[NicRoute, ...]:
    """The host's default routes, each with its device."""
    routes = json.loads(dict(lines).get("every_route", "[]"))
    return tuple(
        replace(route, dev=nic)
        for nic in sorted({entry["dev"] for entry in routes if "dev" in entry})
        for route in _routes(routes, nic)
        if route.is_default
    )


def _uplink(
    link: dict[str, Any],
    routes: list[dict[str, Any]],
    words: list[tuple[str, str]],
    switches: Mapping[str, str],
) -> Nic:
    keys = [key for key, _ in words]
    files = [value for key, value in words if key == "networkd"]
    managers = [value for key, value in words if key == "manager"]
    managers += ["netplan" if "netplan" in path else "systemd-networkd" for path in files]
    infos = link.get("addr_info", ())
    # A datapath in userspace takes a link without the kernel's knowing: its database says so.
    switch = switches.get(link["ifname"], "")
    above = switch if switch != link["ifname"] else ""
    return Nic(
        name=link["ifname"],
        mac=link.get("address", ""),
        mtu=int(link["mtu"]),
        ether=link.get("link_type") in ("ether", "[1]"),
        wireless="wireless" in keys,
        bridge="bridge" in keys or switch == link["ifname"],
        master=above or link.get("master", ""),
        managers=tuple(sorted(set(managers))),
        network="\n".join(plain(value) for key, value in words if key == "network_file"),
        dynamic="lease" in keys or any(info.get("dynamic") for info in infos if _is_ipv4(info)),
        addresses=tuple(_addresses(infos)),
        routes=tuple(_routes(routes, link["ifname"])),
    )


def _is_ipv4(info: Mapping[str, Any]) -> bool:
    return info.get("family") == "inet"


def _addresses(infos: Iterable[dict[str, Any]]) -> Iterator[NicAddress]:
    for info in infos:
        ipv4, scope = _is_ipv4(info), str(info.get("scope"))
        # The kernel makes link-local addresses of IPv6 itself, and the next router advertisement
        # brings the dynamic ones.
        if not ipv4 and (scope in ("link", "253") or info.get("dynamic")):
            continue
        yield NicAddress(
            info["local"],
            info["prefixlen"],
            peer=info.get("address", ""),
            broadcast=info.get("broadcast", ""),
            scope=scope if ipv4 and scope not in ("global", "0") else "",
            noprefixroute=bool(info.get("noprefixroute")),
            # The host had the address before: duplicate address detection would only delay it.
            nodad=not ipv4,
        )


def _routes(entries: Iterable[dict[str, Any]], nic: str) -> Iterator[NicRoute]:
    for entry in entries:
        protocol, table, scope = (
            str(entry.get(key, usual))
            for key, usual in (("protocol", "3"), ("table", "254"), ("scope", "0"))
        )
        if entry.get("dev") != nic or protocol in (_KERNEL, _RA, _DHCP):
            continue
        if str(entry.get("type", "1")) not in ("1", "unicast"):
            continue
        ipv6_default = entry["dst"] == "default" and ":" in entry.get("gateway", "")
        yield NicRoute(
            "::/0" if ipv6_default else entry["dst"],
            via=entry.get("gateway", ""),
            src=entry.get("prefsrc", ""),
            metric=entry.get("metric") or 0,
            table=table if table != "254" else "",
            mtu=_metrics(entry).get("mtu", 0),
            scope=scope if scope not in ("0", "global") else "",
            onlink="onlink" in entry.get("flags", ()),
            proto=protocol,
        )


def _metrics(route: Mapping[str, Any]) -> Mapping[str, Any]:
    metrics = route.get("metrics") or [{}]
    return dict(metrics[0])


def ours(path: str) -> bool:
    """Whether a file of networkd's is one that we made."""
    return path.startswith(_OURS)
