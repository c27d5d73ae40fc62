"""Kind `image`: a Docker image, by its reference; pulled if it is missing.

Docker cannot label an image that is pulled. For each image that it pulls or loads, provision
therefore writes a claim: a file on the host. Images without a claim belong to others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource, keyed_lines
from provision.resources.lib import stash
from provision.resources.on_hosts import ORIGINALS
from provision.resources.steps import Put, Refuse, Run, Steps, Unless, fails, remove_file, sh

# Steps run without root's configuration of Docker; only a pull needs the logins to registries in
# it. `--host`, since the configuration may also name a context, and so another daemon.
_LOGINS = ("--config", "/root/.docker", "--host", "unix:///var/run/docker.sock")


def claims_probe(kind: str) -> str:
    """Shell text that prints `claim REFERENCE` for each image of a kind that `$name` has claimed.

    `$name` is the inventory's name (see `Resource.probe`).
    """
    folder = f'{ORIGINALS}/"$name"/{kind}'
    return f'for claim in {folder}/*; do [ ! -f "$claim" ] || echo "claim $(cat "$claim")"; done\n'


def claim_path(inventory: str, kind: str, reference: str) -> str:
    """The file on the host by which an inventory claims an image."""
    digest = sha256(reference.encode()).hexdigest()[:16]
    return f"{ORIGINALS}/{inventory}/{kind}/{digest}"


def write_claim(path: str, reference: str) -> Put:
    """Write the claim of an image.

    It comes before the image itself, so that an interrupted apply leaves no image without a claim.
    """
    return Put(path, reference + "\n", 0o600)


def refuse_unclaimed(reference: str, claim: str) -> Refuse:
    """Refuse an image that others have brought since the snapshot: it has no claim of ours."""
    program = '[ ! -f "$1" ] && shift && "$@" >/dev/null 2>&1'
    unclaimed = sh(program, claim, *has_image(reference).argv)
    return Refuse(unclaimed, f"image {reference} appeared since the plan: plan again")


def has_image(reference: str) -> Run:
    """Succeed if an image has this reference."""
    # `docker image ls` would succeed and print nothing.
    return Run(("docker", "image", "inspect", "--format", ".", reference))


def remove_unused(reference: str, claim: str) -> Steps:
    """Remove the claim, and the image unless a container still uses it.

    An image without the claim belongs to others.
    """
    # Containers of this inventory are removed before their image, so one that is left belongs to
    # others. `ancestor` also finds containers of images that are built on this one.
    list_users = Run(("docker", "ps", "--all", "--quiet", "--filter", f"ancestor={reference}"))
    is_missing = prints_nothing(Run(("docker", "image", "ls", "--quiet", reference)))
    remove = Run(("docker", "image", "rm", reference))
    remove_if_unused = Unless(list_users, (Unless(is_missing, (remove,)),), prints=True)
    unclaimed = Run(("test", "!", "-e", claim))
    return (Unless(unclaimed, (remove_if_unused,)), *remove_file(claim))


def untag(reference: str) -> Steps:
    """Remove a reference if it exists; Docker removes an image together with its last reference."""
    return (Unless(fails(has_image(reference)), (Run(("docker", "image", "rm", reference)),)),)


def prints_nothing(command: Run) -> Run:
    """Succeed if `command` prints nothing."""
    return sh('[ -z "$("$@")" ]', *command.argv)


@dataclass(frozen=True, slots=True)
class DockerImage(Resource):
    """An image with the reference `reference`; pulled only if the host has none.

    An image that the host already has is used as it is, even if the registry has a newer one.
    """

    kind: ClassVar[str] = "image"
    uses_dockerd: ClassVar[bool] = True
    edits: ClassVar[bool] = True
    before_removals: ClassVar[bool] = True
    takes_long: ClassVar[bool] = True
    probe: ClassVar[str] = f"""
need_docker
shared images
{claims_probe("image")}"""
    # `image*` matches the claims of both kinds, `image` and `image_archive`.
    fingerprint: ClassVar[str] = f"""
for claim in {ORIGINALS}/*/image*/*; do [ ! -f "$claim" ] || echo "$claim $(cat "$claim")"; done
"""

    reference: str
    inventory: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return self.reference

    @property
    def _claim(self) -> str:
        return claim_path(self.inventory, self.kind, self.reference)

    def is_foreign(self) -> None:
        return None  # each step goes by the claim

    def create(self) -> Steps:
        pull = Run(("docker", *_LOGINS, "pull", "--quiet", self.reference))
        refused = refuse_unclaimed(self.reference, self._claim)
        return (refused, write_claim(self._claim, self.reference), pull)

    def delete(self) -> Steps:
        return remove_unused(self.reference, self._claim)

    def stash(self, txn: str) -> Steps:
        # Only the claim goes now. The image stays until the transaction is confirmed, so that a
        # rollback does not depend on the registry.
        return stash.stash(txn, self._claim)

    def unstash(self, txn: str) -> Steps:
        return stash.unstash(txn, self._claim)

    def drop_stash(self, txn: str) -> Steps:
        return remove_unused(self.reference, stash.stash_path(txn, self._claim))

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        claims = {reference for key, reference in lines if key == "claim"}
        images = json.loads(dict(lines)["images"])
        # References by digest (`busybox@sha256:…`) are only in RepoDigests.
        references = {
            reference
            for image in images
            for key in ("RepoTags", "RepoDigests")
            for reference in image.get(key) or ()
        }
        for reference in sorted(references):
            yield Found(cls(origin.host, reference, origin.inventory), ours=reference in claims)
