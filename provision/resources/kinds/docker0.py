"""Kind `docker0`: Docker's own default bridge on a subnet of ours, by keys of daemon.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, ClassVar

from provision.resources.base import ABSENT, Found, Origin, Ref, Resource
from provision.resources.lib.base64_text import plain
from provision.resources.lib.docker_api import RUNNING
from provision.resources.on_hosts import ORIGINALS
from provision.resources.steps import Attempt, Put, Run, Steps, Unless, record_once, remove_file, sh

DAEMON_JSON = "/etc/docker/daemon.json"
_RECORDS = f'{ORIGINALS}/"$name"/docker0'
_PLACE = ("bridge", "fixed-cidr", "default-gateway")
KEYS = ("bip", "mtu", "ip-masq", "allow-direct-routing", *_PLACE)
_FIXED = ("bridge", "bip", "fixed-cidr", "default-gateway", "mtu", "ip-masq")


@dataclass(frozen=True, slots=True)
class Docker0(Resource):
    """`settings`: sorted pairs of daemon.json key and JSON value; `effective`: what dockerd runs
    with (subnet/gateway/mtu/masquerade as `docker network inspect bridge` tells).

    `bip` is docker0's address now, `first_bip` the one before our first change.
    `text` is daemon.json as found (None: no file), `was` our record of it before the first change,
    `running` the containers that ran, `stopped` those that an interrupted restart left stopped.
    """

    kind: ClassVar[str] = "docker0"
    uses_dockerd: ClassVar[bool] = True
    edits: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
need_docker
shared networks containers addresses
[ ! -f {DAEMON_JSON} ] || echo "text $(base64 -w0 <{DAEMON_JSON})"
for was in {ORIGINALS}/*/docker0/daemon.json; do
  [ -f "$was" ] || continue
  owner=${{was%/docker0/*}}; echo "was ${{owner##*/}} $(base64 -w0 <"$was")"
done
[ ! -f {_RECORDS}/bip ] || echo "first $(cat {_RECORDS}/bip)"
[ ! -f {_RECORDS}/running ] || echo "stopped $(cat {_RECORDS}/running)"
pid=${{units#*MainPID=}}; pid=${{pid%%[!0-9]*}}
[ ! -r "/proc/$pid/cmdline" ] || echo "flags $(tr '\0' ' ' <"/proc/$pid/cmdline")"
"""
    fingerprint: ClassVar[str] = rf"""
[ ! -f {DAEMON_JSON} ] || echo "daemon.json $(sha256sum <{DAEMON_JSON})"
for was in {ORIGINALS}/*/docker0/*; do [ ! -f "$was" ] || echo "$was $(sha256sum <"$was")"; done
need ip
ip -4 -o address show dev docker0 2>/dev/null | sed -n 's/.* inet \([0-9./]*\) .*/docker0 \1/p'
"""

    settings: tuple[tuple[str, str], ...]
    effective: tuple[tuple[str, str], ...]
    inventory: str
    stopped: tuple[str, ...] = ()
    text: str | None = field(default=None, compare=False)
    was: str | None = field(default=None, compare=False)
    bip: str = field(default="", compare=False)
    first_bip: str = field(default="", compare=False)
    running: tuple[str, ...] = field(default=(), compare=False)
    taken_by: str = field(default="", compare=False)
    flags: tuple[str, ...] = field(default=(), compare=False)
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return "docker0"

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def create(self) -> Steps:
        return self.update(self)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, Docker0)
        merged = _object(current.text) | {key: json.loads(value) for key, value in self.settings}
        text = json.dumps(merged, indent=2) + "\n"
        record = record_once(self._was, ABSENT if current.text is None else current.text)
        if (current.settings, current.effective) == (self.settings, self.effective):
            return (_each("start", current.stopped), *remove_file(self._running))
        first = record_once(self._first_bip, current.bip)
        return (record, first, *current.restarted((Put(DAEMON_JSON, text),)))

    def delete(self) -> Steps:
        lasting, once = self._restored()
        end = _REMOVED if lasting is None else (Put(DAEMON_JSON, lasting),)
        restarted = self.restarted((Put(DAEMON_JSON, once),))
        return (*restarted, *end, *remove_file(self._first_bip), *remove_file(self._was))

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        """From any point of `delete`: the records, the file as found, and Docker as it ran."""
        return (*self._records(), *self._as_found())

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        assert isinstance(before, Docker0)
        if ours:
            return before.unstash("")
        # As it was before us: told its first address once more, by which Docker stores it.
        once = json.dumps({"bip": before.bip} | _object(before.text), indent=2) + "\n"
        end = _REMOVED if before.text is None else (Put(DAEMON_JSON, before.text),)
        restarted = before.restarted((Put(DAEMON_JSON, once),))
        runs = before._runs()
        records = (
            *remove_file(self._first_bip),
            *remove_file(self._was),
            *remove_file(self._running),
        )
        return (Unless(runs, restarted), *end, _each("start", before.running), *records)

    def _runs(self) -> Run:
        """Whether Docker runs with what it ran with when this was found."""
        shown = dict(self.effective)
        words = (self.bip, shown.get("mtu", ""), shown.get("masquerade", ""))
        return sh(_AS_BEFORE, *words)

    def _records(self) -> Steps:
        was = () if self.was is None else (record_once(self._was, self.was),)
        return (*was, *((record_once(self._first_bip, self.first_bip),) if self.first_bip else ()))

    def _as_found(self) -> Steps:
        end = _REMOVED if self.text is None else (Put(DAEMON_JSON, self.text),)
        runs = self._runs()
        started = _each("start", self.running)
        return (Unless(runs, self.restarted(end)), *end, started, *remove_file(self._running))

    def blocking_reason(self, after: Resource | None) -> str | None:  # noqa: ARG002
        if self.taken_by:
            return f"docker0 belongs to the inventory {self.taken_by} already"
        if self.flags:
            return (
                f"dockerd is started with {' '.join(self.flags)}, which daemon.json cannot change"
            )
        try:
            mine = _object(self.text)
        except ValueError as error:
            return f"{DAEMON_JSON} cannot be read: {error}"
        set_by_others = [key for key in _FIXED if key in mine] if self.was is None else []
        return f"{DAEMON_JSON} sets {', '.join(set_by_others)} already" if set_by_others else None

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        before = current if isinstance(current, Docker0) else self
        if before.stopped and before.settings == self.settings:
            return None
        count = len(before.running)
        stops = "; 1 running container stops and starts again"
        if count != 1:
            stops = f"; {count} running containers stop and start again"
        return "Docker restarts" + (stops if count else "")

    def restarted(self, change: Steps) -> Steps:
        """Change daemon.json and restart Docker; on failure the earlier file is put back."""
        earlier = (Put(DAEMON_JSON, self.text),) if self.text is not None else _REMOVED
        ran = self.running + self.stopped
        # With live-restore a running container keeps the old bridge, silently (moby 40272).
        restart = (_VALIDATED, _each("stop", self.running), _RESTARTED)
        return (
            Put(self._running, " ".join(ran) + "\n", 0o600),
            *change,
            Attempt(restart, (*earlier, _RESTARTED, _each("start", ran))),
            _each("start", ran),
            *remove_file(self._running),
        )

    def _restored(self) -> tuple[str | None, str]:
        """daemon.json as it was, with what others have changed since; and the one to restart with.

        Docker stores the default bridge's subnet: without `bip` it would keep ours for ever, so
        it is told the first one once more.
        """
        first = _object(None if self.was == ABSENT else self.was)
        now = {key: value for key, value in _object(self.text).items() if key not in KEYS}
        now |= {key: first[key] for key in KEYS if key in first}
        once = json.dumps({"bip": self.first_bip} | now, indent=2) + "\n"
        if now == first:
            return (None if self.was == ABSENT else self.was), once
        return json.dumps(now, indent=2) + "\n", once

    @property
    def _was(self) -> str:
        return f"{ORIGINALS}/{self.inventory}/docker0/daemon.json"

    @property
    def _first_bip(self) -> str:
        return f"{ORIGINALS}/{self.inventory}/docker0/bip"

    @property
    def _running(self) -> str:
        return f"{ORIGINALS}/{self.inventory}/docker0/running"

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        one = dict(lines)
        records = dict(value.partition(" ")[::2] for key, value in lines if key == "was")
        daemon_json = plain(one["text"]) if "text" in one else None
        ours = scope.inventory in records
        found = cls(
            host=scope.host,
            settings=_settings(daemon_json) if ours else (),
            effective=_effective(json.loads(one["networks"])),
            inventory=scope.inventory,
            stopped=tuple(one.get("stopped", "").split()),
            text=daemon_json,
            was=plain(records[scope.inventory]) if ours else None,
            bip=_bip(json.loads(one["addresses"])),
            first_bip=one.get("first", ""),
            running=_running(json.loads(one["containers"])),
            taken_by=min(records.keys() - {scope.inventory}, default=""),
            flags=tuple(word for word in one.get("flags", "").split() if _is_flag(word)),
        )
        yield Found(found, ours)


_AS_BEFORE = r"""
option() { docker network inspect --format "{{index .Options \"com.docker.network.$1\"}}" bridge; }
mtu=$(option driver.mtu) && masquerade=$(option bridge.enable_ip_masquerade) || exit
[ "${mtu:-1500} ${masquerade:-true}" = "$2 $3" ] &&
[ "$(ip -4 -o address show dev docker0 | sed -n 's/.* inet \([0-9./]*\) .*/\1/p')" = "$1" ]
"""
_REMOVED: Steps = (Run(("rm", "-f", "--", DAEMON_JSON)),)
_VALIDATED = Run(
    # Docker before 23 cannot validate; there a failed start is undone.
    ("sh", "-c", "dockerd --help | grep -q -- --validate || exit 0; dockerd --validate >/dev/null")
)
_RESTARTED = Run(
    ("sh", "-c", "systemctl reset-failed docker 2>/dev/null; systemctl restart docker.service")
)


def _each(verb: str, containers: tuple[str, ...]) -> Run:
    """`docker VERB` of those that are still there: the same plan may have removed some."""
    there = '[ -n "$(docker ps -aq --no-trunc -f "id=$c")" ] || continue'
    each = f'for c; do {there}; docker {verb} "$c" >/dev/null || exit; done'
    return sh(each, *containers)


def _settings(text: str | None) -> tuple[tuple[str, str], ...]:
    try:
        mine = _object(text)
    except ValueError:
        return ()
    return tuple(sorted((key, json.dumps(mine[key])) for key in KEYS if key in mine))


def _bip(links: list[dict[str, Any]]) -> str:
    for link in links:
        for held in link.get("addr_info", ()) if link["ifname"] == "docker0" else ():
            if held["family"] == "inet":
                return f"{held['local']}/{held['prefixlen']}"
    return ""


def _running(containers: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(entry["Id"] for entry in containers if entry["State"] in RUNNING)


def _effective(networks: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    bridge = next(entry for entry in networks if entry["Name"] == "bridge")
    pools, options = bridge["IPAM"]["Config"], bridge["Options"] or {}
    # With `bip` older versions print the bridge's address as the subnet.
    subnet = ip_network(pools[0]["Subnet"], strict=False)
    masquerade = options.get("com.docker.network.bridge.enable_ip_masquerade", "true")
    mtu = options.get("com.docker.network.driver.mtu", "1500")
    shown = (("masquerade", masquerade), ("mtu", mtu), ("subnet", str(subnet)))
    part = pools[0].get("IPRange", "")
    return (*shown, *((("range", part),) if part else ()))


def _object(text: str | None) -> dict[str, Any]:
    value = json.loads(text) if text and text.strip() else {}
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


def _is_flag(word: str) -> bool:
    names = tuple(f"--{key}" for key in _FIXED)
    return word == "-b" or word.split("=")[0] in names
