"""Downloads of flannel's release from a real HTTPS server: resumed, checked, unpacked."""

from __future__ import annotations

import io
import ssl
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import provision.methods.flannel.binary as binary
import provision.methods.flannel.release as release
from provision.inventory.load import load
from provision.model.errors import InventoryError, SupplyError
from tests.authority import Authority

PROGRAM = b"\x7fELF" + bytes(range(256)) * 4000
CALLS = str(Path(sys.executable).with_name("provision"))


def archive(name: str = "flannel-v0.27.4/flanneld", content: bytes = PROGRAM) -> bytes:
    """A release: the program among other files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as members:
        for path, text in (("README.md", b"text"), (name, content)):
            member = tarfile.TarInfo(path)
            member.size = len(text)
            members.addfile(member, io.BytesIO(text))
    return buffer.getvalue()


class Server:
    """An HTTPS server with one file; it can end connections early, and knows ranges or not."""

    def __init__(self, folder: Path) -> None:
        self.content, self.requests = archive(), list[str | None]()
        self.cuts: list[int] = []
        """Bytes after which the next answers end."""
        self.ranges, self.location = True, ""
        Authority(folder).issue("server", "127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"https://127.0.0.1:{self.http.server_address[1]}/flannel.tar.gz"

    @property
    def digest(self) -> str:
        """The sha256 of the file."""
        return sha256(self.content).hexdigest()

    def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        return Handler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Send the file, or the rest of it."""
        asked = request.headers.get("Range")
        self.requests.append(asked)
        if self.location:
            request.send_response(302)
            request.send_header("Location", self.location)
            request.end_headers()
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked and self.ranges and start >= len(self.content):
            request.send_error(416)
            return
        start = start if self.ranges else 0
        body = self.content[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.cuts.pop(0) if self.cuts else None])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that this process and its children trust."""
    running = Server(tmp_path / "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority" / "ca.crt"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(release, "PAUSE_S", 0)
    yield running
    running.http.shutdown()
    running.http.server_close()


def test_a_release_is_downloaded_once(server: Server) -> None:
    """Its program is kept with its own checksum; the second time nothing is asked."""
    lines: list[str] = []
    program = binary.downloaded(server.url, server.digest, lines.append)
    assert program.path.read_bytes() == PROGRAM
    assert program.path.stat().st_mode & 0o777 == 0o755
    assert program.sha256 == sha256(PROGRAM).hexdigest()
    assert binary.downloaded(server.url, server.digest, print) == program
    assert binary.cached_release(server.digest) == program
    assert server.requests == [None]
    assert lines[-1].endswith(f"of {len(server.content) / 1e6:.1f} MB")
    assert not list(program.path.parent.parent.glob("*.part"))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_is_cut_off_goes_on(server: Server, ranges: bool) -> None:
    """With a server that knows no ranges, it begins anew."""
    server.cuts, server.ranges = [1000, 2000], ranges
    program = binary.downloaded(server.url, server.digest, print)
    assert program.path.read_bytes() == PROGRAM
    second = 3000 if ranges else 2000
    assert server.requests == [None, "bytes=1000-", f"bytes={second}-"]


def test_the_next_run_continues_a_download(server: Server) -> None:
    """Also when all bytes had come, and from another file's first bytes it starts over."""
    server.cuts = [1000] * release.ATTEMPTS
    with pytest.raises(SupplyError, match="too early"):
        binary.downloaded(server.url, server.digest, print)
    done = release.ATTEMPTS * 1000
    assert binary.downloaded(server.url, server.digest, print).path.is_file()
    assert server.requests[-1] == f"bytes={done}-"
    folder = binary.downloaded(server.url, server.digest, print).path.parent
    partial = folder.with_name(f"{folder.name}.part")
    for left in (server.content, b"x" * 500, server.content + b"x"):
        (folder / "sha256").unlink()
        partial.write_bytes(left)
        assert binary.downloaded(server.url, server.digest, print).path.read_bytes() == PROGRAM


def test_a_wrong_checksum_is_refused(server: Server) -> None:
    """Nothing is kept, and the error has both sums."""
    with pytest.raises(SupplyError, match=f"its sha256 is {server.digest}, not {'0' * 64}"):
        binary.downloaded(server.url, "0" * 64, print)
    assert binary.cached_release("0" * 64) is None
    assert not list(binary._cache().glob("*.part"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "no program flanneld"),
        (archive("flannel/other"), "no file of this name"),
        (archive(content=b"#!/bin/sh"), "is not a program"),
        (archive()[:2000], "no program flanneld"),
    ],
)
def test_an_archive_without_the_program_is_refused(
    server: Server, content: bytes, message: str
) -> None:
    """An archive that is cut, too; nothing of it is used later."""
    server.content = content
    with pytest.raises(SupplyError, match=message):
        binary.downloaded(server.url, server.digest, print)
    assert binary.cached_release(server.digest) is None


def test_the_program_itself_may_be_downloaded(server: Server) -> None:
    """The URL of a program instead of an archive."""
    server.content = PROGRAM
    assert binary.downloaded(server.url, server.digest, print).path.read_bytes() == PROGRAM


def test_a_redirection_stays_encrypted(server: Server) -> None:
    """A server that leads to plain HTTP is an error; an unknown authority and a 404 are, too."""
    server.location = server.url.replace("https://", "http://")
    with pytest.raises(SupplyError, match="which is not encrypted"):
        binary.downloaded(server.url, server.digest, print)


def test_a_server_of_an_unknown_authority_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is checked."""
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(SupplyError, match="CERTIFICATE_VERIFY_FAILED"):
        binary.downloaded(server.url, server.digest, print)


def inventory(folder: Path, source: str) -> Path:
    """An inventory whose network names `source`."""
    path = folder / "inventory.yml"
    path.write_text(
        "name: demo\nhosts: {h1: {address: 192.0.2.1}, h2: {address: 192.0.2.2}}\n"
        f"networks: {{over: {{method: flannel, cidr: 172.20.0.0/16, flanneld: {source}}}}}\n"
    )
    return path


def test_fetch_gets_the_release_that_an_inventory_names(server: Server, tmp_path: Path) -> None:
    """The command prints the program's path; afterwards the inventory's plan knows its sum."""
    path = inventory(tmp_path, f"{{url: {server.url!r}, sha256: {server.digest!r}}}")
    assert not load(path).networks["over"].files
    done = subprocess.run((CALLS, "fetch", "flanneld", path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Downloading flanneld: " in done.stderr
    program = load(path).networks["over"].files["flanneld"]
    assert done.stdout == f"flanneld: {program.path} (sha256 {program.sha256})\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{url: 'http://x/y', sha256: " + "a" * 64 + "}", "is not the https URL of a file"),
        ("{url: 'https://x/y', sha256: abc}", "is not 64 digits of 0-9 and a-f"),
        ("{url: 'https://x/y'}", "sha256"),
        ("{url: 'https://x/y', sha265: abc}", "sha265"),
    ],
)
def test_a_release_needs_a_url_and_a_checksum(tmp_path: Path, source: str, message: str) -> None:
    """Each mistake is one finding with its line."""
    with pytest.raises(InventoryError) as error:
        load(inventory(tmp_path, source))
    assert message in str(error.value) and "inventory.yml:3" in str(error.value), error.value
