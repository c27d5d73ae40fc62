"""Kinds `image` and `image_archive`: what containers are made of, pulled or from the controller."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.on_hosts import ORIGINALS
from provision.resources.steps import Put, Run, Steps, Unless, Upload, remove_file, sh


def _claims(kind: str) -> str:
    folder = f'{ORIGINALS}/"$name"/{kind}'
    return f'for claim in {folder}/*; do [ ! -f "$claim" ] || echo "claim $(cat "$claim")"; done\n'


# The images themselves are brought by others, too: only the claims tell what is ours.
_WITNESS = f"""
for claim in {ORIGINALS}/*/image*/*; do [ ! -f "$claim" ] || echo "$claim $(cat "$claim")"; done
"""


def _claim(image: DockerImage | ImageArchive) -> str:
    digest = sha256(image.reference.encode()).hexdigest()[:16]
    return f"{ORIGINALS}/{image.inventory}/{image.kind}/{digest}"


def _claimed(image: DockerImage | ImageArchive) -> Put:
    return Put(_claim(image), image.reference + "\n", 0o600)


def _removal(image: DockerImage | ImageArchive) -> Steps:
    """One that we brought goes, unless a container of others is made of it by now."""
    used = Run(("docker", "ps", "--all", "--quiet", "--filter", f"ancestor={image.reference}"))
    there = Run(("docker", "image", "ls", "--quiet", image.reference))
    remove = Run(("docker", "image", "rm", image.reference))
    gone = sh('[ -z "$("$@")" ]', *there.argv)
    return (
        Unless(used, (Unless(gone, (remove,)),), prints=True),
        *remove_file(_claim(image)),
    )


def _tagged(reference: str) -> Run:
    return Run(("docker", "image", "inspect", "--format", ".", reference))


def _untagged(reference: str) -> Steps:
    """Take a name off an image, which goes with its last one."""
    gone = sh('! "$@" >/dev/null 2>&1', *_tagged(reference).argv)
    return (Unless(gone, (Run(("docker", "image", "rm", reference)),)),)


@dataclass(frozen=True, slots=True)
class DockerImage(Resource):
    """An image by its name, whatever it holds; pulled where it is absent."""

    kind: ClassVar[str] = "image"
    uses_dockerd: ClassVar[bool] = True
    edits: ClassVar[bool] = True
    before_removals: ClassVar[bool] = True
    probe: ClassVar[str] = f"""
need_docker
shared images
{_claims("image")}"""
    fingerprint: ClassVar[str] = _WITNESS

    reference: str
    inventory: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return self.reference

    def create(self) -> Steps:
        pull = Run(("docker", "pull", "--quiet", self.reference))
        return (_claimed(self), pull)

    def delete(self) -> Steps:
        return _removal(self)

    def stash(self, txn: str) -> Steps:  # noqa: ARG002
        return remove_file(_claim(self))

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        return (_claimed(self),)

    def drop_stash(self, txn: str) -> Steps:  # noqa: ARG002
        return _removal(self)

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        claims = {reference for word, reference in lines if word == "claim"}
        listed = json.loads(dict(lines)["images"])
        names = (entry.get(key) for entry in listed for key in ("RepoTags", "RepoDigests"))
        for reference in sorted({name for some in names for name in some or ()}):
            yield Found(cls(scope.host, reference, scope.inventory), ours=reference in claims)


@dataclass(frozen=True, slots=True)
class ImageArchive(Resource):
    """An image with exactly the layers (diff ids) of an archive, which the controller sends.

    The same layers, found without our mark, serve; other layers under its name are a conflict.
    """

    kind: ClassVar[str] = "image_archive"
    uses_dockerd: ClassVar[bool] = True
    edits: ClassVar[bool] = True
    before_removals: ClassVar[bool] = True
    probe: ClassVar[str] = f"""
need_docker
shared image
{_claims("image_archive")}"""
    fingerprint: ClassVar[str] = ":"  # that of `image` shows both

    reference: str
    layers: tuple[str, ...]
    archive: Path | None = field(default=None, compare=False)
    inventory: str = field(default="", compare=False)
    claimed: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        return self.reference

    def create(self) -> Steps:
        assert self.archive is not None
        load = Run(("docker", "load", "--quiet", "--input", self._upload))
        claim = _claimed(self)
        return (Upload(self.archive, self._upload), claim, load, *remove_file(self._upload))

    def delete(self) -> Steps:
        return (*_removal(self), *remove_file(self._upload))

    def stash(self, txn: str) -> Steps:
        aside = self._aside(txn)
        return (
            Unless(_tagged(aside), (Run(("docker", "tag", self.reference, aside)),)),
            *_untagged(self.reference),
            *remove_file(_claim(self)),
        )

    def unstash(self, txn: str) -> Steps:
        aside = self._aside(txn)
        back = Run(("docker", "tag", aside, self.reference))
        gone = sh('! "$@" >/dev/null 2>&1', *_tagged(aside).argv)
        return (Unless(gone, (back, *_untagged(aside))), _claimed(self))

    def drop_stash(self, txn: str) -> Steps:
        """A container of others may be made of it by now: then it keeps its name."""
        aside = self._aside(txn)
        used = Run(("docker", "ps", "--all", "--quiet", "--filter", f"ancestor={aside}"))
        named = Unless(_tagged(self.reference), (Run(("docker", "tag", aside, self.reference)),))
        unused = sh('[ -z "$("$@")" ]', *used.argv)
        return (Unless(unused, (named,)), *_untagged(aside))

    def _aside(self, txn: str) -> str:
        return f"provision-{txn}:{sha256(self.reference.encode()).hexdigest()[:16]}"

    def blocking_reason(self, after: Resource | None) -> str | None:  # noqa: ARG002
        return None if self.claimed else f"image {self.reference} is another one and is not ours"

    @property
    def _upload(self) -> str:
        digest = sha256("\n".join((self.reference, *self.layers)).encode()).hexdigest()[:16]
        return f"{ORIGINALS}/{self.inventory}/upload/{digest}.tar"

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.partition(" ")[::2] for line in text.splitlines()]
        claims = {reference for word, reference in lines if word == "claim"}
        for entry in (json.loads(entry) for word, entry in lines if word == "image"):
            layers = tuple(entry["RootFS"].get("Layers") or ())
            for tag in entry["RepoTags"] or ():
                ours = tag in claims
                image = cls(scope.host, tag, layers, inventory=scope.inventory, claimed=ours)
                yield Found(image, ours)
