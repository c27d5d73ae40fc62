"""Kind `docker0`: the subnet of Docker's default bridge, set by keys of daemon.json.

dockerd reads these keys at its start only, so every change restarts Docker and with it the running
containers. If the restart fails, the previous daemon.json is restored and Docker started with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from typing import ClassVar

from provision.resources.base import ABSENT, Found, Origin, Ref, Resource, keyed_lines
from provision.resources.lib import bridge_state, default_bridge, edited_file
from provision.resources.lib.base64_text import decode_text
from provision.resources.lib.bridge_state import BridgeLinks, BridgeState
from provision.resources.lib.default_bridge import (
    EXCLUSIVE_KEYS,
    Pairs,
    dump,
    json_object,
    mode_and_owner,
)
from provision.resources.lib.docker_restart import RESTART, RUNS_WITH, VALIDATE, each
from provision.resources.on_hosts import ORIGINALS, Mark
from provision.resources.steps import (
    Attempt,
    Put,
    Run,
    Steps,
    Unless,
    record_once,
    remove_file,
    sh,
)

DAEMON_JSON = "/etc/docker/daemon.json"
NEW_FILE = "644 0:0"
"""Mode and owner of a daemon.json that provision makes."""
_RECORDS = f'{ORIGINALS}/"$name"/docker0'


@dataclass(frozen=True, slots=True)
class Docker0(Resource):
    """Docker's default bridge, as daemon.json configures it and dockerd runs it.

    `settings` are sorted pairs of a daemon.json key and its JSON value; `effective` are pairs of
    what dockerd runs with (`default_bridge.effective`). `stopped` are ids of containers that an
    interrupted restart of Docker left stopped. `lacks` names what the kernel does not have of the
    bridge, and `restarted` the containers that restart when it is healed.

    For the way back: `text` is the content of daemon.json (None: no file), `attributes` its mode
    and owner, and `original_text` the
    recorded one before the first change (`ABSENT`: no file); `bip` is the address of docker0 with
    its prefix length, `original_bip` the recorded one; `running` are ids of running containers.
    `other_owner` is another inventory that owns docker0 already; `daemon_flags` are arguments of
    dockerd that daemon.json cannot change.
    """

    kind: ClassVar[str] = "docker0"
    uses_dockerd: ClassVar[bool] = True
    edits: ClassVar[bool] = True
    # $units are the properties of docker.service; its process has dockerd's arguments.
    probe: ClassVar[str] = rf"""
need_docker
shared networks containers {" ".join(bridge_state.KEYS)}
[ ! -f {DAEMON_JSON} ] || echo "text $(base64 -w0 <{DAEMON_JSON})
attributes $(stat -L -c '%a %u:%g' {DAEMON_JSON})"
for record in {ORIGINALS}/*/docker0/daemon.json; do
  [ -f "$record" ] || continue
  owner=${{record%/docker0/*}}; echo "was ${{owner##*/}} $(base64 -w0 <"$record")"
done
[ ! -f {_RECORDS}/bip ] || echo "first $(cat {_RECORDS}/bip)"
[ ! -f {_RECORDS}/running ] || echo "stopped $(cat {_RECORDS}/running)"
pid=${{units#*MainPID=}}; pid=${{pid%%[!0-9]*}}
[ ! -r "/proc/$pid/cmdline" ] || echo "flags $(tr '\0' ' ' <"/proc/$pid/cmdline")"
"""
    fingerprint: ClassVar[str] = rf"""
[ ! -h {DAEMON_JSON} ] || echo "daemon.json -> $(readlink {DAEMON_JSON})"
[ ! -f {DAEMON_JSON} ] ||
  echo "daemon.json $(stat -L -c '%a %u:%g' {DAEMON_JSON}) $(sha256sum <{DAEMON_JSON})"
for file in {ORIGINALS}/*/docker0/*; do [ ! -f "$file" ] || echo "$file $(sha256sum <"$file")"; done
need ip
ip -4 -o address show dev docker0 2>/dev/null | sed -n 's/.* inet \([0-9./]*\) .*/docker0 \1/p'
"""

    settings: Pairs
    effective: Pairs
    inventory: str
    stopped: tuple[str, ...] = ()
    lacks: str = ""
    restarted: tuple[str, ...] = field(default=(), compare=False)
    text: str | None = field(default=None, compare=False)
    attributes: str = field(default=NEW_FILE, compare=False)
    original_text: str | None = field(default=None, compare=False)
    bip: str = field(default="", compare=False)
    original_bip: str = field(default="", compare=False)
    running: tuple[str, ...] = field(default=(), compare=False)
    other_owner: str = field(default="", compare=False)
    daemon_flags: tuple[str, ...] = field(default=(), compare=False)
    needs: tuple[Ref, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return "docker0"

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def is_followed(self) -> bool:
        return bool(self.effective and self._bridge[2])

    @property
    def bridge_name(self) -> str:
        """The bridge of Docker's default network."""
        return self._bridge[0]

    def restore(self) -> Steps:
        _, _, address, subnet = self._bridge
        return (bridge_state.restore(self.bridge_name, address, subnet),)

    def is_foreign(self) -> None:
        return None  # provision did not create docker0; each change refuses another daemon.json

    def create(self) -> Steps:
        return self.update(self)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, Docker0)
        if (current.settings, current.effective) == (self.settings, self.effective):
            healed = (
                (bridge_state.heal(*current._bridge, Mark(self.inventory), current.restarted),)
                if current.lacks
                else ()
            )
            return (
                *healed,
                each("start", current.stopped),
                *remove_file(self._record("running")),
            )
        original = ABSENT if current.text is None else current.text
        # What others set after our first change goes: "bridge": "none" beside "bip" stops dockerd.
        before = current.text if current.original_text is None else current._original_file
        values = default_bridge.without_keys(current.text, before)
        values |= {key: json.loads(value) for key, value in self.settings}
        return (
            *(() if current is self else (edited_file.refuse_changed(DAEMON_JSON, current.text),)),
            record_once(self._record("daemon.json"), original),
            record_once(self._record("bip"), current.bip),
            *current._restart(current._daemon_json(dump(values))),
        )

    def delete(self) -> Steps:
        original = self._original_file
        values = default_bridge.without_keys(self.text, original)
        once = dump({"bip": self.original_bip} | values)  # see `undo`
        # A file that somebody has removed meanwhile does not come back.
        last = original if values == json_object(original) else dump(values)
        return (
            edited_file.refuse_changed(DAEMON_JSON, self.text),
            *self._restart(self._daemon_json(once)),
            *self._daemon_json(None if self.text is None else last),
            *remove_file(self._record("bip")),
            *remove_file(self._record("daemon.json")),
        )

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        """From any point of `delete`: the records, daemon.json and Docker as they were parsed."""
        return (*self._recorded(), *self._as_parsed())

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        assert isinstance(before, Docker0)
        unchanged = (before.settings, before.effective) == (self.settings, self.effective)
        if ours and before.lacks and unchanged:
            return bridge_state.without_address(before._bridge[2], before.lacks)
        if ours:
            return before.unstash("")
        # Docker stores the default bridge's subnet and would keep ours without `bip`. It starts
        # once with the address of before, which it then keeps without the key.
        once = dump({"bip": before.bip} | json_object(before.text))
        return (
            Unless(before._runs_as_parsed(), before._restart(before._daemon_json(once))),
            *before._daemon_json(before.text),
            each("start", before.running),
            *remove_file(self._record("bip")),
            *remove_file(self._record("daemon.json")),
            *remove_file(self._record("running")),
        )

    @property
    def _bridge(self) -> tuple[str, str, str, IPv4Network]:
        """The bridge, Docker's name of the network, its address, and its subnet.

        The address is empty where the bridge is not one of Docker's own.
        """
        values = {key: json.loads(value) for key, value in self.settings}
        subnet = IPv4Network(dict(self.effective)["subnet"])
        return values.get("bridge", "docker0"), "bridge", values.get("bip", ""), subnet

    def _compared_with(self, kernel: BridgeLinks | None) -> Docker0:
        """This bridge, and what the kernel lacks of it."""
        if kernel is None or not self.effective:
            return self
        state = kernel.bridge(*self._bridge)
        return replace(self, lacks=state.lacks, restarted=state.restarted)

    def _runs_as_parsed(self) -> Run:
        """Succeed if Docker runs with the values that it ran with when this was parsed."""
        values = dict(self.effective)
        return sh(RUNS_WITH, self.bip, values.get("mtu", ""), values.get("masquerade", ""))

    def _recorded(self) -> Steps:
        text, bip = self.original_text, self.original_bip
        return (
            *((record_once(self._record("daemon.json"), text),) if text is not None else ()),
            *((record_once(self._record("bip"), bip),) if bip else ()),
        )

    def _as_parsed(self) -> Steps:
        file = self._daemon_json(self.text)
        return (
            Unless(self._runs_as_parsed(), self._restart(file)),
            *file,
            each("start", self.running),
            *remove_file(self._record("running")),
        )

    def blocking_reason(self, after: Resource | None) -> str | None:  # noqa: ARG002
        if self.other_owner:
            return f"docker0 already belongs to the inventory {self.other_owner}"
        if self.daemon_flags:
            flags = " ".join(self.daemon_flags)
            return f"dockerd is started with {flags}, which daemon.json cannot change"
        try:
            values = json_object(self.text)
        except ValueError as error:
            return f"{DAEMON_JSON} cannot be read: {error}"
        set_by_others = [key for key in EXCLUSIVE_KEYS if key in values]
        if self.original_text is None and set_by_others:
            return f"{DAEMON_JSON} already sets {', '.join(set_by_others)}"
        return None

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        before = current if isinstance(current, Docker0) else self
        if before.settings == self.settings and (before.stopped or before.lacks):
            return BridgeState(restarted=before.restarted).disruption
        match len(before.running):
            case 0:
                return "Docker restarts"
            case 1:
                return "Docker restarts; 1 running container stops and starts again"
            case count:
                return f"Docker restarts; {count} running containers stop and start again"

    def _restart(self, change: Steps) -> Steps:
        """Change daemon.json by `change` and restart Docker; if that fails, restore `text`.

        The ids of the containers to start again are recorded first: a restart that is interrupted
        leaves them stopped, and the next apply starts them.
        """
        started = self.running + self.stopped
        # Containers stop first: with live-restore a container that runs through the restart would
        # stay on the old bridge without notice (https://github.com/moby/moby/issues/40272).
        restart = (
            VALIDATE,
            each("stop", self.running),
            RESTART,
        )
        revert = (
            *self._daemon_json(self.text),
            RESTART,
            each("start", started),
        )
        return (
            Put(self._record("running"), " ".join(started) + "\n", 0o600),
            *change,
            Attempt(restart, revert),
            each("start", started),
            *remove_file(self._record("running")),
        )

    def _daemon_json(self, text: str | None) -> Steps:
        """Write daemon.json, with `attributes` if it does not exist; None: remove it."""
        return edited_file.write(DAEMON_JSON, text, self.attributes)

    @property
    def _original_file(self) -> str | None:
        """The recorded daemon.json before our first change; None: there was no file."""
        return None if self.original_text == ABSENT else self.original_text

    def _record(self, name: str) -> str:
        """A file of records: `daemon.json` and `bip` as they were, or ids to start (`running`)."""
        return f"{ORIGINALS}/{self.inventory}/docker0/{name}"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        values = dict(lines)
        records = dict(rest.partition(" ")[::2] for key, rest in lines if key == "was")
        daemon_json = decode_text(values["text"]) if "text" in values else None
        ours = origin.inventory in records
        docker0 = cls(
            host=origin.host,
            settings=default_bridge.settings(daemon_json) if ours else (),
            effective=default_bridge.effective(json.loads(values["networks"])),
            inventory=origin.inventory,
            stopped=tuple(values.get("stopped", "").split()),
            text=daemon_json,
            attributes=mode_and_owner(values.get("attributes", NEW_FILE)),
            original_text=decode_text(records[origin.inventory]) if ours else None,
            bip=default_bridge.bridge_address(json.loads(values["addresses"])),
            original_bip=values.get("first", ""),
            running=default_bridge.running_ids(json.loads(values["containers"])),
            other_owner=min(records.keys() - {origin.inventory}, default=""),
            daemon_flags=default_bridge.exclusive_flags(values.get("flags", "")),
        )
        yield Found(docker0._compared_with(BridgeLinks.parse(lines)) if ours else docker0, ours)
