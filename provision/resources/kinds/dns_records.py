"""Kind `dns_records`: the names that a network's DNS server on one host answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import ClassVar

from provision.model.text import listed
from provision.resources.base import Found, Origin, Resource
from provision.resources.joint import JointChange
from provision.resources.lib.base64_text import decode_text
from provision.resources.on_hosts import ETC, Mark, service_name
from provision.resources.rows import ROWS
from provision.resources.steps import Put, Run, Steps, remove_file, sh

FOLDER = "names"
"""The folder of the files below that of the inventory."""
HOSTS_FILE, LOCAL_FILE, LIVE_FOLDER = ".hosts", ".local", ".live"
ORDINARY = "#"
"""The server of a name in dnsmasq's files that stands for those of `resolv.conf`."""
# The server reads its files again without a restart. One that does not run reads them when it
# starts.
_REREAD = 'systemctl -q is-active "$1" || exit 0; systemctl reload "$1"'
# An empty file is what a crash may leave of ours.
_IS_FOREIGN = """
line=$1; shift
for path in "$@"; do
  [ -e "$path" ] || [ -h "$path" ] || continue
  [ ! -h "$path" ] && [ -f "$path" ] || exit 0
  [ ! -s "$path" ] || [ "$(head -n 1 "$path")" = "$line" ] || exit 0
done
exit 1
"""


@dataclass(frozen=True, slots=True, order=True)
class DnsRow:
    """An address and its names; `key` is the first name, which is also the answer for PTR."""

    key: str
    address: IPv4Address
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, address: IPv4Address, names: tuple[str, ...]) -> DnsRow:
        """The row of an address with all its names."""
        return cls(names[0], address, names[1:])

    @property
    def value(self) -> str:
        """The address and the further names."""
        return " ".join((str(self.address), *self.names))

    @property
    def line(self) -> str:
        """The row as a line of hosts(5)."""
        return " ".join((str(self.address), self.key, *self.names))

    def __str__(self) -> str:
        return f"{self.key} {self.value}"


@dataclass(frozen=True, slots=True, order=True)
class DnsForward:
    """A name about which another host's server is asked: `key`, and below it; `value` is its
    address, and after `@` the own address from which it is asked."""

    key: str
    value: str

    @property
    def server(self) -> IPv4Address:
        """The address of the server that is asked."""
        return IPv4Address(self.value.partition("@")[0])

    @property
    def lines(self) -> Iterator[str]:
        """Yield the lines of the file of servers.

        dnsmasq sends all names below a name there, too. Below one without a dot is a whole
        top-level domain of others, such as `shop`: these names go where the host itself asks.
        """
        yield f"server=/{self.key}/{self.value}"
        if "." not in self.key:
            yield f"server=/*.{self.key}/{ORDINARY}"

    @property
    def is_name(self) -> bool:
        """False for the PTR records of a range, which stay at its host."""
        return not self.key.endswith(".in-addr.arpa")

    def __str__(self) -> str:
        return f"{self.key} {self.value}"


def live_folder(inventory: str, network: str) -> str:
    """The folder with a hosts file for each guest of a host: its address of now."""
    return f"{ETC}/{inventory}/{FOLDER}/{network}{LIVE_FOLDER}"


def reread(service: str) -> Run:
    """Let a DNS server read its files again."""
    return sh(_REREAD, service)


def rows(text: str) -> tuple[DnsRow, ...]:
    """The rows of a hosts file; lines that are none are left out."""
    return tuple(_rows(text))


def _rows(text: str) -> Iterator[DnsRow]:
    for line in text.splitlines():
        address, *names = line.split() or [""]
        if names and not line.startswith("#"):
            try:
                yield DnsRow.of(IPv4Address(address), tuple(names))
            except ValueError:
                continue  # somebody has edited the file, which `intact` tells


@dataclass(frozen=True, slots=True)
class DnsRecords(Resource):
    """The records of a network; `service` reads them again when they change.

    Two files hold them: one of addresses, and one of the names with dots, about which no other
    server is asked (for an IPv6 address, for example). `here` are such names that the folder of
    live files has, and `forwards` those that only another host knows. `intact` is False if their
    text differs from what these make.
    """

    kind: ClassVar[str] = "dns_records"
    only_where: ClassVar[tuple[str, ...]] = (f'{ETC}/"$name"/{FOLDER}',)
    probe: ClassVar[str] = rf"""
files {ETC}/"$name"/{FOLDER}/*
"""
    fingerprint: ClassVar[str] = rf"""
for file in {ETC}/*/{FOLDER}/*; do
  [ ! -f "$file" ] || echo "$(stat -c '%a %n' "$file") $(sha256sum <"$file")"
done
"""

    network: str
    inventory: str
    rows: tuple[DnsRow, ...] = field(metadata=ROWS)
    intact: bool = True
    service: str = field(default="", compare=False, repr=False)
    here: tuple[str, ...] = ()
    forwards: tuple[DnsForward, ...] = field(default=(), metadata=ROWS)

    @property
    def name(self) -> str:
        return self.network

    @property
    def hosts_path(self) -> str:
        """The path of the hosts file."""
        return self._path(HOSTS_FILE)

    @property
    def local_path(self) -> str:
        """The path of the file of names about which no other server is asked."""
        return self._path(LOCAL_FILE)

    def _path(self, end: str) -> str:
        return f"{ETC}/{self.inventory}/{FOLDER}/{self.network}{end}"

    @property
    def _head(self) -> str:
        return f"# {Mark(self.inventory, self.network).tag}"

    @property
    def _texts(self) -> dict[str, str]:
        lines = {
            self.hosts_path: [row.line for row in self.rows],
            self.local_path: [
                *(f"server=/{name}/" for name in dict.fromkeys((*self._dotted, *self.here))),
                *(line for each in self.forwards for line in each.lines),
            ],
        }
        return {path: "\n".join((self._head, *text, "")) for path, text in lines.items()}

    @property
    def _dotted(self) -> Iterator[str]:
        return (name for row in self.rows for name in (row.key, *row.names) if "." in name)

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, self._head, self.hosts_path, self.local_path)

    def create(self) -> Steps:
        files = (Put(path, text) for path, text in self._texts.items())
        return (*files, *((reread(self.service),) if self.service else ()))

    def joint_change(self, current: Resource) -> JointChange | None:
        """A host that becomes the home of a name must not go on asking others for it.

        It may ask this one, which asks it: dnsmasq would pass one question on without an end, also
        with --dns-loop-detect (seen with 2.90).
        """
        assert isinstance(current, DnsRecords)
        before = {each.key: each.server for each in current.forwards} | dict.fromkeys(current.here)
        moved = {
            each.key: each.server
            for each in self.forwards
            if each.is_name and before.get(each.key, each.server) != each.server
        }
        if not moved:
            return None
        effect = (
            f"would not learn that it has {listed(tuple(moved))} now, and the two DNS servers "
            "would ask each other without an end"
        )
        return JointChange(self.network, effect, frozenset(moved.values()))

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        return (*remove_file(self.hosts_path), *remove_file(self.local_path))

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        files: dict[str, tuple[str, str]] = {}
        for line in text.splitlines():
            mode, encoded, path = line.split(" ", 2)
            files[path] = (mode, decode_text(encoded))
        networks = (path.rsplit("/", 1)[1].rpartition(".")[0] for path in files)
        for network in dict.fromkeys(networks):
            yield Found(_parsed(network, files, origin), ours=True)


def _parsed(network: str, files: dict[str, tuple[str, str]], origin: Origin) -> DnsRecords:
    empty = DnsRecords(origin.host, network, origin.inventory, ())
    _, text = files.get(empty.hosts_path, ("", ""))
    service = service_name(origin.inventory, network, "dns")
    records = DnsRecords(origin.host, network, origin.inventory, rows(text), service=service)
    _, local = files.get(empty.local_path, ("", ""))
    servers = tuple(_servers(local))
    dotted = frozenset(records._dotted)
    records = replace(
        records,
        here=tuple(name for name, server in servers if not server and name not in dotted),
        forwards=tuple(DnsForward(name, server) for name, server in servers if server),
    )
    intact = all(files.get(path) == ("644", text) for path, text in records._texts.items())
    return replace(records, intact=intact)


def _servers(text: str) -> Iterator[tuple[str, str]]:
    """Yield each name of a file of servers, with the server that is asked, empty for none."""
    for line in text.splitlines():
        key, *fields = line.split("/")
        if key == "server=" and len(fields) == 2 and fields[1] != ORDINARY:
            yield fields[0], fields[1]
