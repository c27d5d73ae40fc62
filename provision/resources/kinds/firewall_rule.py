"""Kind `firewall_rule`: a rule of ufw or firewalld that lets packets of a network in.

ufw and firewalld keep their rules over reboots themselves, so the follower does not know them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource, keyed_lines
from provision.resources.on_hosts import ETC, Mark
from provision.resources.render import program_text
from provision.resources.steps import Put, Run, Steps, remove_file, sh

UFW, FIREWALLD = "ufw", "firewalld"
_NO_ZONE = "-"
_PROGRAM = program_text("host/firewall_files.sh", "host/firewall_rule.sh")
# A rule with the same arguments without our mark has been made since the snapshot. ufw writes
# comments in hexadecimal: `provision:`, whichever inventory's.
_IS_FOREIGN = """
grep -F "### tuple ### $1" /etc/ufw/user.rules 2>/dev/null |
  grep -qvF " comment=70726f766973696f6e3a"
"""
# The permanent rule is the user's, who has not reloaded firewalld yet: it stays at the end.
_NOTE_SAVED = r"""
for claim in /etc/provision/*/firewall/"$1"; do [ ! -f "$claim" ] || exit 0; done
folder=/var/lib/provision/firewall/saved-by-user
! firewall-cmd -q --permanent --zone="$2" --query-"$3" ||
  { mkdir -p "$folder" && : >"$folder/$1"; }
"""


@dataclass(frozen=True, slots=True)
class FirewallRule(Resource):
    """A rule in `tool`.

    For ufw, `rule` are the arguments of `ufw`. For firewalld it is a rich rule, or `source RANGE`
    for a source of `zone`; firewalld has it both at `runtime` and `saved` (permanently). A rule has
    a claim of each inventory that uses it, as neither the sources nor the rich rules of firewalld
    have room for a mark. `claimed` is False if only other inventories have one, or if nobody has:
    somebody has deleted that of a rule of ufw, whose comment tells the inventory.
    """

    kind: ClassVar[str] = "firewall_rule"
    edits: ClassVar[bool] = True
    # First of all: daemons that the change starts wait for each other through the firewall.
    before_removals: ClassVar[bool] = True
    probe: ClassVar[str] = program_text("look/firewall_rule.sh")
    fingerprint: ClassVar[str] = rf"""
sed -n '/^### tuple .* comment=70726f766973696f6e3a/p' /etc/ufw/user.rules 2>/dev/null | sort
stat -L -c '%n %a %u:%g' /etc/ufw/user.rules /etc/ufw/user6.rules 2>/dev/null
for claim in {ETC}/*/firewall/*; do [ ! -f "$claim" ] || echo "$claim"; done
"""

    tool: str
    zone: str
    rule: str
    inventory: str
    runtime: bool = True
    saved: bool = True
    claimed: bool = field(default=True, repr=False)
    has_other_users: bool = field(default=False, compare=False, repr=False)

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.tool, self.zone, self.rule)))

    def is_foreign(self) -> Run | None:
        if self.tool != UFW:
            return None  # adding a rule that firewalld has changes nothing
        return sh(_IS_FOREIGN, _ufw_tuple(self.rule))

    @property
    def _has_lost_claim(self) -> bool:
        return not self.claimed and not self.has_other_users

    def create(self) -> Steps:
        # The claim is written first, so that an interrupted apply leaves no rule without an owner.
        steps = (self._claim_file, self._program("open"))
        if self.tool == UFW:
            return steps
        return (sh(_NOTE_SAVED, self._digest, self.zone, self._option), *steps)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, FirewallRule)
        # The rule is there: a claim is all that this inventory adds.
        return self.create() if current.claimed else (self._claim_file,)

    def delete(self) -> Steps:
        return self._removal("close")

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        return (self._program("open"),) if self._has_lost_claim else self.create()

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        before = current if isinstance(current, FirewallRule) else self
        if not before._has_lost_claim:
            return None
        return f"rule {before.name} is ours, damaged: its claim {self._claim_path} was deleted"

    def _removal(self, verb: str) -> Steps:
        close = () if self.has_other_users else (self._program(verb),)
        return (*close, *remove_file(self._claim_path))

    def drift_cause(self) -> str:
        if not (self.runtime or self.saved):
            return f"firewall rule {self.name} is missing"
        if not self.runtime:
            return f"firewall rule {self.name} is saved, but not in effect"
        return "" if self.saved else f"firewall rule {self.name} is gone after the next reload"

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        if before is None:
            return self._removal("undo")
        assert isinstance(before, FirewallRule)
        if ours and before._has_lost_claim:
            return remove_file(self._claim_path)
        if ours:  # something had removed the rule, and left the claim
            return () if before.saved else (self._program("undo"),)
        return replace(self, has_other_users=before.has_other_users)._removal("undo")

    def _program(self, verb: str) -> Run:
        arguments = verb, self._claim_path, self.tool, self.zone or _NO_ZONE
        if self.tool == UFW:
            fields = shlex.split(self.rule)
            return sh(
                _PROGRAM, *arguments, Mark(self.inventory).tag, _ufw_tuple(self.rule), *fields
            )
        return sh(_PROGRAM, *arguments, self._option)

    @property
    def _option(self) -> str:
        """The end of firewall-cmd's option: `rich-rule=…` or `source=…`."""
        kind, _, value = self.rule.partition(" ")
        return f"source={value}" if kind == "source" else f"rich-rule={self.rule}"

    @property
    def claim(self) -> str:
        """The line of the claim on the host."""
        return f"{self.tool} {self.zone or _NO_ZONE} {self.rule}"

    @property
    def _claim_file(self) -> Put:
        return Put(self._claim_path, f"{self.claim}\n")

    @property
    def _claim_path(self) -> str:
        return f"{ETC}/{self.inventory}/firewall/{self._digest}"

    @property
    def _digest(self) -> str:
        return sha256(self.claim.encode()).hexdigest()[:16]

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        owners: dict[tuple[str, str, str], set[str]] = {}
        for owner, line in (rest.split(" ", 1) for key, rest in lines if key == "claim"):
            tool, zone, rule = line.split(" ", 2)
            if tool == UFW and owner == origin.inventory:
                _ufw_tuple(rule)  # a damaged claim is an error now, not in the midst of a change
            owners.setdefault((tool, zone.removeprefix(_NO_ZONE), rule), set()).add(owner)
        runtime = set(_firewalld(lines, "runtime"))
        ufw = {(UFW, "", _ufw_rule(rest)): _ufw_owner(rest) for key, rest in lines if key == "ufw"}
        saved = {*_firewalld(lines, "saved"), *ufw}
        if ("firewalld", "off") in lines:
            # It cannot be asked, and keeps what it has.
            runtime = {key for key in owners if key[0] == FIREWALLD}
            saved |= runtime
        for key in sorted({*owners, *runtime, *saved}):
            names = owners.get(key, set())
            others = names - {origin.inventory}
            lost = not names and ufw.get(key) == origin.inventory
            resource = cls(
                origin.host,
                *key,
                origin.inventory,
                runtime=key in runtime or key in ufw,
                saved=key in saved,
                claimed=origin.inventory in names or (not names and not lost),
                has_other_users=bool(others),
            )
            yield Found(resource, ours=origin.inventory in names or lost)


def _firewalld(lines: list[tuple[str, str]], key: str) -> Iterator[tuple[str, str, str]]:
    """Yield the rich rules and sources of every zone."""
    for zone, _, text in (rest.partition(" ") for keyword, rest in lines if keyword == key):
        settings = json.loads(text)["data"][0] if text else {}
        for rule in settings.get("rules_str", {}).get("data", ()):
            yield FIREWALLD, zone, str(rule)
        for source in settings.get("sources", {}).get("data", ()):
            yield FIREWALLD, zone, f"source {source}"


_ANY = "0.0.0.0/0"
_UFW_RULE = re.compile(r"(allow) proto (\w+) from ([\d./]+)(?: to any port ([\w,:]+))?")


def _ufw_tuple(rule: str) -> str:
    """The rule as ufw writes it to user.rules: `allow udp 4789 0.0.0.0/0 any 10.0.0.0/24 in`.

    Raises ValueError for a rule of another form.
    """
    match = _UFW_RULE.fullmatch(rule)
    if match is None:
        raise ValueError(f"{rule!r} is not a rule that provision opens with ufw")
    verb, protocol, source, port = match[1], match[2], match[3], match[4] or "any"
    return f"{verb} {protocol} {port} {_ANY} any {source} in"


def _ufw_rule(line: str) -> str:
    """The arguments of `ufw allow` for a line of user.rules; the line itself for other forms."""
    text, _, _ = line.partition(" comment=")
    fields = text.split(" ")
    if len(fields) != 7 or fields[0] != "allow" or fields[3:5] != [_ANY, "any"]:
        return text
    verb, protocol, port, _, _, source, direction = fields
    if direction != "in" or source == _ANY:
        return text
    rule = f"{verb} proto {protocol} from {source}"
    return rule if port == "any" else f"{rule} to any port {port}"


def _ufw_owner(line: str) -> str:
    """The inventory whose mark the comment of a line of user.rules is; empty: none.

    A rule of another form than `_ufw_tuple` has is the user's, who may comment it with any text.
    """
    _, _, encoded = line.partition(" comment=")
    if not _UFW_RULE.fullmatch(_ufw_rule(line)):
        return ""
    try:
        mark = Mark.of_tag(bytes.fromhex(encoded).decode())
    except ValueError:
        return ""
    return "" if mark.network else mark.inventory
