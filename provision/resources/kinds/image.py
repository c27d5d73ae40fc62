"""Kind `image`: a Docker image, by its reference; pulled if it is missing.

Images may belong to others as well: only the claim on the host says that provision pulled one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource, keyed_lines
from provision.resources.on_hosts import ORIGINALS
from provision.resources.steps import Put, Run, Steps, Unless, fails, remove_file, sh


def claims_probe(kind: str) -> str:
    """Shell text that prints the reference of each image that the inventory has claimed."""
    folder = f'{ORIGINALS}/"$name"/{kind}'
    return f'for claim in {folder}/*; do [ ! -f "$claim" ] || echo "claim $(cat "$claim")"; done\n'


def claim_path(inventory: str, kind: str, reference: str) -> str:
    """The file on the host by which an inventory claims an image."""
    digest = sha256(reference.encode()).hexdigest()[:16]
    return f"{ORIGINALS}/{inventory}/{kind}/{digest}"


def write_claim(path: str, reference: str) -> Put:
    """Claim an image, before it is there: what an interrupted apply leaves is known as ours."""
    return Put(path, reference + "\n", 0o600)


def has_image(reference: str) -> Run:
    """Succeed if an image has this reference."""
    # `docker image ls` would succeed and print nothing.
    return Run(("docker", "image", "inspect", "--format", ".", reference))


def remove_unused(reference: str, claim: str) -> Steps:
    """Remove an image and its claim; the image stays if a container of others uses it."""
    # `ancestor` also finds containers of images that are built on this one.
    users = Run(("docker", "ps", "--all", "--quiet", "--filter", f"ancestor={reference}"))
    missing = prints_nothing(Run(("docker", "image", "ls", "--quiet", reference)))
    remove = Run(("docker", "image", "rm", reference))
    return (Unless(users, (Unless(missing, (remove,)),), prints=True), *remove_file(claim))


def untag(reference: str) -> Steps:
    """Remove a reference, if it is there; Docker removes an image with its last reference."""
    return (Unless(fails(has_image(reference)), (Run(("docker", "image", "rm", reference)),)),)


def prints_nothing(command: Run) -> Run:
    """Succeed if `command` prints nothing."""
    return sh('[ -z "$("$@")" ]', *command.argv)


@dataclass(frozen=True, slots=True)
class DockerImage(Resource):
    """The image `reference`, whatever its content; pulled if it is missing."""

    kind: ClassVar[str] = "image"
    uses_dockerd: ClassVar[bool] = True
    edits: ClassVar[bool] = True
    before_removals: ClassVar[bool] = True
    probe: ClassVar[str] = f"""
need_docker
shared images
{claims_probe("image")}"""
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

    def create(self) -> Steps:
        pull = Run(("docker", "pull", "--quiet", self.reference))
        return (write_claim(self._claim, self.reference), pull)

    def delete(self) -> Steps:
        return remove_unused(self.reference, self._claim)

    def stash(self, txn: str) -> Steps:  # noqa: ARG002
        # The image stays until the transaction is confirmed: a rollback needs no pull.
        return remove_file(self._claim)

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        return (write_claim(self._claim, self.reference),)

    def drop_stash(self, txn: str) -> Steps:  # noqa: ARG002
        return remove_unused(self.reference, self._claim)

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        claims = {reference for key, reference in lines if key == "claim"}
        images = json.loads(dict(lines)["images"])
        # References by digest (`busybox@sha256:…`) are only in RepoDigests.
        lists = (entry.get(key) for entry in images for key in ("RepoTags", "RepoDigests"))
        for reference in sorted({name for names in lists for name in names or ()}):
            yield Found(cls(origin.host, reference, origin.inventory), ours=reference in claims)
