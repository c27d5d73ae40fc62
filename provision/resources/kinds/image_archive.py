"""Kind `image_archive`: a Docker image from an archive of the controller, by its layers.

Not by its id: with the containerd image store, the id of the same image is another digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource, keyed_lines
from provision.resources.kinds.image import (
    claim_path,
    claims_probe,
    has_image,
    prints_nothing,
    refuse_unclaimed,
    remove_unused,
    untag,
    write_claim,
)
from provision.resources.lib import stash
from provision.resources.on_hosts import ORIGINALS
from provision.resources.steps import Refuse, Run, Steps, Unless, Upload, fails, remove_file, sh

_OTHER_IMAGE = """
id() { docker image inspect --format '{{.Id}}' "$1"; }
now=$(id "$1") && [ -n "$now" ] && [ "$now" != "$(id "$2")" ]
"""
# The inventories that have made an image from an archive, of which one may be of this reference.
_USERS = f"""\
for claim in {ORIGINALS}/*/image_archive/*; do
  [ -f "$claim" ] || continue
  user=${{claim#{ORIGINALS}/}}
  echo "user ${{user%%/*}} $(cat "$claim")"
done
"""


@dataclass(frozen=True, slots=True)
class ImageArchive(Resource):
    """The image `reference` with exactly the `layers` (diff ids) of the archive `archive`.

    An unclaimed image with the same layers is used as it is; with other layers it is a conflict.
    """

    kind: ClassVar[str] = "image_archive"
    uses_dockerd: ClassVar[bool] = True
    edits: ClassVar[bool] = True
    before_removals: ClassVar[bool] = True
    takes_long: ClassVar[bool] = True
    probe: ClassVar[str] = f"""
need_docker
shared image
{claims_probe("image_archive")}{_USERS}"""
    fingerprint: ClassVar[str] = ":"  # the one of `image` covers both kinds

    reference: str
    layers: tuple[str, ...]
    archive: Path | None = field(default=None, compare=False)
    inventory: str = field(default="", compare=False)
    claimed: bool = field(default=False, compare=False)
    other_owner: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return self.reference

    @property
    def _claim(self) -> str:
        return claim_path(self.inventory, self.kind, self.reference)

    def is_foreign(self) -> None:
        return None  # each step goes by the claim

    def create(self) -> Steps:
        assert self.archive is not None
        load = Run(("docker", "load", "--quiet", "--input", self._upload))
        claim = write_claim(self._claim, self.reference)
        refused = refuse_unclaimed(self.reference, self._claim)
        upload = Upload(self.archive, self._upload)
        return (refused, upload, claim, load, *remove_file(self._upload))

    def delete(self) -> Steps:
        return (*remove_unused(self.reference, self._claim), *remove_file(self._upload))

    def stash(self, txn: str) -> Steps:
        stashed = self._stashed_reference(txn)
        tag = Run(("docker", "tag", self.reference, stashed))
        moved = (Unless(has_image(stashed), (tag,)), *untag(self.reference))
        unclaimed = Run(("test", "!", "-e", self._claim))
        return (Unless(unclaimed, moved), *stash.stash(txn, self._claim))

    def unstash(self, txn: str) -> Steps:
        stashed = self._stashed_reference(txn)
        tag = Run(("docker", "tag", stashed, self.reference))
        other = sh(_OTHER_IMAGE, self.reference, stashed)
        refused = Refuse(other, f"image {self.reference} is of others: {stashed} keeps its name")
        restored = Unless(fails(has_image(stashed)), (refused, tag, *untag(stashed)))
        return (restored, *stash.unstash(txn, self._claim))

    def drop_stash(self, txn: str) -> Steps:
        """Remove the stashed image; it keeps its reference if a container of others uses it."""
        stashed = self._stashed_reference(txn)
        users = Run(("docker", "ps", "--all", "--quiet", "--filter", f"ancestor={stashed}"))
        tag = Run(("docker", "tag", stashed, self.reference))
        renamed = Unless(has_image(self.reference), (tag,))
        dropped = stash.drop(txn, self._claim)
        return (Unless(prints_nothing(users), (renamed,)), *untag(stashed), *dropped)

    def _stashed_reference(self, txn: str) -> str:
        return f"provision-{txn}:{sha256(self.reference.encode()).hexdigest()[:16]}"

    def blocking_reason(self, after: Resource | None) -> str | None:  # noqa: ARG002
        if self.claimed:
            return None
        if self.other_owner:
            return f"image {self.reference} belongs to inventory {self.other_owner}"
        return f"image {self.reference} exists with other layers outside this inventory"

    def blocking_hint(self) -> str:
        if self.other_owner:
            hint = "name the same archive in both files, or save this one under another tag"
            return f"{hint}: it has other layers"
        return f"run `docker image rm {self.reference}`, or save the archive under another tag"

    @property
    def _upload(self) -> str:
        # Another archive of the same reference has another path: no upload is mistaken for it.
        digest = sha256("\n".join((self.reference, *self.layers)).encode()).hexdigest()[:16]
        return f"{ORIGINALS}/{self.inventory}/upload/{digest}.tar"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        claims = {reference for key, reference in lines if key == "claim"}
        users = [rest.split(" ", 1) for key, rest in lines if key == "user"]
        owners = {reference: user for user, reference in users if user != origin.inventory}
        for entry in (json.loads(rest) for key, rest in lines if key == "image"):
            layers = tuple(entry["RootFS"].get("Layers") or ())
            for tag in entry["RepoTags"] or ():
                ours = tag in claims
                image = cls(
                    origin.host,
                    tag,
                    layers,
                    inventory=origin.inventory,
                    claimed=ours,
                    other_owner=owners.get(tag, ""),
                )
                yield Found(image, ours)
