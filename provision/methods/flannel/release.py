"""Download a release of flannel: an archive with flanneld in it, or the program itself.

Acts on the controller only. What is fetched is known by its sha256, so the server need not be
trusted; a download that was cut off goes on where it ended.
"""

from __future__ import annotations

import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import file_digest, sha256
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from provision.model.errors import SupplyError
from provision.model.inventory import LocalBinary
from provision.model.text import count

ATTEMPTS = 4
"""Times that a download is begun or continued."""
PAUSE_S = 1.0
"""Seconds before a download that was cut off is continued."""
_IDLE_S = 30
"""Seconds that the server may be silent."""
_SAY_S = 2.0
"""Seconds between two lines of progress."""
_CHUNK = 1 << 18
_LARGEST = 512 << 20
"""Bytes that a download, or the program in it, may have; a release of flannel has about 20 MB."""
_ELF = b"\x7fELF"

Say = Callable[[str], None]


def fetched(url: str, digest: str, target: Path, say: Say) -> LocalBinary:
    """Download `url`, check its sha256 (hex), and put its flanneld into the folder `target`.

    Raises SupplyError. A partial download stays beside `target`, for the next attempt.
    """
    partial = target.with_name(f"{target.name}.part")
    continued = partial.exists()
    actual = _downloaded(url, partial, say)
    if actual != digest and continued:
        # The first bytes may be of another file: once more from the start.
        partial.unlink()
        actual = _downloaded(url, partial, say)
    if actual != digest:
        partial.unlink(missing_ok=True)
        raise SupplyError(
            f"{url}: its sha256 is {actual}, not {digest}",
            "check the URL, and the sum in the release notes",
        )
    try:
        program = _install(partial, target)
    except (tarfile.TarError, EOFError, KeyError) as error:
        raise SupplyError(
            f"{url}: it has no program flanneld for Linux ({error})",
            "name an archive of flannel's release, such as flannel-v0.27.4-linux-amd64.tar.gz",
        ) from error
    partial.unlink()
    return program


def cached(target: Path) -> LocalBinary | None:
    """The flanneld that an earlier download has put into `target`."""
    try:
        return LocalBinary(target / "flanneld", (target / "sha256").read_text().strip())
    except OSError:
        return None


def _downloaded(url: str, partial: Path, say: Say) -> str:
    """Complete the download, and return its sha256."""
    _download(url, partial, say)
    with partial.open("rb") as archive:
        return file_digest(archive, "sha256").hexdigest()


def _download(url: str, partial: Path, say: Say) -> None:
    """Fetch `url` into `partial`, and go on when the connection breaks. Raises SupplyError."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _continue(url, partial, say)
        except HTTPError as error:
            if error.code == 416 and partial.exists():
                # It has all bytes, or is not from this server: its sum decides.
                return
            if error.code < 500 or attempt == ATTEMPTS:
                raise _failed(url, f"HTTP {error.code} {error.reason}") from error
            time.sleep(PAUSE_S)
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            if attempt == ATTEMPTS:
                raise _failed(url, str(reason)) from error
            say(f"Downloading flanneld: {reason}; trying again")
            time.sleep(PAUSE_S)
        else:
            return


def _failed(url: str, reason: str) -> SupplyError:
    hint = "check the URL and the network, or name the program's file: flanneld: FILE"
    return SupplyError(f"downloading {url} failed: {reason}", hint)


class _SecureRedirects(HTTPRedirectHandler):
    """Follow redirections, but not to a connection that is not encrypted."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> Request | None:
        if not newurl.startswith("https://"):
            raise URLError(f"it leads to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _continue(url: str, partial: Path, say: Say) -> None:
    """Fetch the bytes that `partial` lacks. Raises URLError, HTTPException or OSError."""
    done = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    opener = build_opener(_SecureRedirects)
    with closing(opener.open(Request(url, headers=headers), timeout=_IDLE_S)) as response:
        # A server that knows no ranges sends everything.
        mode = "ab" if response.status == 206 else "wb"
        done = done if mode == "ab" else 0
        expected = response.headers.get("Content-Length")
        total = done + int(expected) if expected else None
        with partial.open(mode) as file:
            for size in _copied(response, file, done, _Progress(say, total)):
                done = size
    if total is not None and done < total:
        raise HTTPException(f"the connection ended {count(total - done, 'byte')} too early")


def _copied(
    response: HTTPResponse, file: IO[bytes], done: int, progress: _Progress
) -> Iterator[int]:
    """Copy the answer, and yield the size of the file after each part."""
    while chunk := response.read1(_CHUNK):
        done += len(chunk)
        if done > _LARGEST:
            raise SupplyError(
                f"the download has more than {count(_LARGEST, 'byte')}", "name a release of flannel"
            )
        file.write(chunk)
        progress.show(done)
        yield done


class _Progress:
    """Lines about a download, some seconds apart."""

    def __init__(self, say: Say, total: int | None) -> None:
        self.say, self.total, self.next = say, total, 0.0

    def show(self, done: int) -> None:
        """Print how many bytes have come, unless a line was printed a moment ago."""
        now = time.monotonic()
        if now < self.next and done != self.total:
            return
        self.next = now + _SAY_S
        of_total = f" of {self.total / 1e6:.1f}" if self.total is not None else ""
        self.say(f"Downloading flanneld: {done / 1e6:.1f}{of_total} MB")


def _install(archive: Path, target: Path) -> LocalBinary:
    """Put the program of a checked archive into `target`. Raises TarError, EOFError or KeyError."""
    target.mkdir(exist_ok=True)
    hashed = sha256()
    new = target / "flanneld.new"
    with _program(archive) as program, new.open("wb") as file:
        while chunk := program.read(_CHUNK):
            hashed.update(chunk)
            file.write(chunk)
    new.chmod(0o755)
    new.rename(target / "flanneld")
    # Written last: a folder without it is not used.
    (target / "sha256").write_text(hashed.hexdigest() + "\n")
    return LocalBinary(target / "flanneld", hashed.hexdigest())


@contextmanager
def _program(archive: Path) -> Iterator[IO[bytes]]:
    """The flanneld in an archive, or the file itself if it is a program, read from its start."""
    with archive.open("rb") as file:
        is_program = file.read(len(_ELF)) == _ELF
        file.seek(0)
        if is_program:
            yield file
            return
        with tarfile.open(fileobj=file) as members:
            for member in members:
                if not (member.isfile() and Path(member.name).name == "flanneld"):
                    continue
                extracted = members.extractfile(member)
                if extracted is None or member.size > _LARGEST:
                    break
                if extracted.read(len(_ELF)) != _ELF:
                    raise KeyError("its flanneld is not a program")
                extracted.seek(0)
                yield extracted
                return
            raise KeyError("no file of this name")
