"""Archives of `docker save`: the image in an archive and its layers, without unpacking it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any, BinaryIO

from provision.model.fields.files import open_regular, resolve
from provision.model.fields.images import reference
from provision.model.findings import BadValueError
from provision.model.inventory import Image
from provision.model.text import count, quoted

# Far above any image; without limits, a crafted archive could fill the memory.
_MAX_MEMBERS = 20_000
_MAX_JSON_BYTES = 4 << 20
_HINT = "make it anew: docker save -o FILE NAME:TAG"
# The first bytes of gzip, bzip2, xz and zstd files.
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


def saved_image(text: str, folder: Path) -> Image:
    """The image in the archive `text`, a path relative to `folder`. Raises BadValueError."""
    try:
        path = resolve(text, folder)
        with open_regular(path) as file:
            return _image(file, path)
    except BadValueError as error:
        raise BadValueError(f"archive {quoted(text)}: {error.message}", error.hint) from error
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, MemoryError) as error:
        message = f"archive {quoted(text)}: cannot be read as a tar file"
        raise BadValueError(message, _HINT) from error


def _image(file: BinaryIO, path: Path) -> Image:
    if file.read(6).startswith(_COMPRESSED):
        raise BadValueError("is compressed", "unpack it first, for example: gunzip FILE")
    file.seek(0)
    # "r:" reads uncompressed archives only: members of others cannot be reached without unpacking.
    with tarfile.open(fileobj=file, mode="r:") as tar:
        members = _members(tar)
        manifest = _json(tar, members, "manifest.json")
        if not (isinstance(manifest, list) and all(isinstance(m, dict) for m in manifest)):
            raise BadValueError("its manifest.json lists no images", _HINT)
        if len(manifest) != 1:
            raise BadValueError(f"holds {count(len(manifest), 'image')}, not 1", _HINT)
        config = _json(tar, members, str(manifest[0].get("Config")))
    return Image(_tag(manifest[0]), path, _layers(config))


def _members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    members = {}
    for number, member in enumerate(tar):
        if number >= _MAX_MEMBERS:
            hint = "is this the right file?"
            raise BadValueError(f"holds more than {_MAX_MEMBERS} files", hint)
        members[member.name] = member
    return members


def _json(tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], name: str) -> Any:
    member = members.get(name)
    if member is None or not member.isreg():
        message = f"is not an archive of `docker save`: {quoted(name)} is missing in it"
        raise BadValueError(message, _HINT)
    if member.size > _MAX_JSON_BYTES:
        raise BadValueError(f"its {quoted(name)} is too large", _HINT)
    source = tar.extractfile(member)
    assert source is not None  # a regular member has content
    try:
        return json.loads(source.read(_MAX_JSON_BYTES))
    except (ValueError, RecursionError):
        raise BadValueError(f"its {quoted(name)} is not valid JSON", _HINT) from None


def _tag(manifest: dict[str, Any]) -> str:
    tags = manifest.get("RepoTags")
    if not (isinstance(tags, list) and tags and isinstance(tags[0], str)):
        raise BadValueError("its image has no name", "save it by NAME:TAG, not by its id")
    # `docker load` creates all tags; the first is the one that containers will use.
    return reference(tags[0])


def _layers(config: Any) -> tuple[str, ...]:
    """The digests of the layers, by which Docker identifies the content of an image."""
    rootfs = config.get("rootfs") if isinstance(config, dict) else None
    layers = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    valid = isinstance(layers, list) and all(isinstance(layer, str) for layer in layers)
    if not valid or not layers:
        raise BadValueError("its configuration lists no layers", _HINT)
    return tuple(layers)
