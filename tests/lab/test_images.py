"""Images that no registry has, on booted hosts: plan says so before a change begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.hosts import HOSTS, Hosts, assert_same, without_records

pytestmark = [pytest.mark.lab, pytest.mark.full]

# A registry with one image that has a manifest, and none that can be pulled. dockerd takes those at
# 127.0.0.1 without TLS.
REGISTRY = """
cat >/run/registry.py <<'END'
import http.server, json
MANIFEST = json.dumps({
    "schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
    "config": {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "size": 2, "digest": "sha256:" + "0" * 64,
    },
    "layers": [],
}).encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/v2/":
            status, kind, body = 200, "application/json", b"{}"
        elif "/there/manifests/" in self.path:
            kind = "application/vnd.docker.distribution.manifest.v2+json"
            status, body = 200, MANIFEST
        else:
            error = {"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}
            status, kind, body = 404, "application/json", json.dumps({"errors": [error]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")
    do_HEAD = do_GET
http.server.ThreadingHTTPServer(("127.0.0.1", 5000), Handler).serve_forever()
END
systemd-run -q --unit=registry python3 /run/registry.py
for try in $(seq 100); do
  python3 -c 'import socket; socket.create_connection(("127.0.0.1", 5000))' 2>/dev/null && exit
  sleep 0.1
done
exit 1
"""
INVENTORY = """
name: pulled
hosts:
  h1: {{address: {data}.11}}
  h2: {{address: {data}.12}}
  h3: {{address: {data}.13}}
networks:
  blue: {{method: routes, cidr: 172.20.0.0/16}}
containers:
  c1: {{host: h1, network: blue, image: "127.0.0.1:5000/gone:1"}}
  c2: {{host: h2, network: blue, image: "127.0.0.1:5000/gone:1"}}
  c3: {{host: h3, network: blue, image: "127.0.0.1:5000/there:1"}}
  c4: {{host: h3, network: blue}}
"""
FILE = "pulled.yml"


@pytest.fixture
def registry(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts, each with a registry, and an inventory with an image that it does not have."""
    mixed.everywhere(REGISTRY)
    (mixed.lab.folder / FILE).write_text(INVENTORY.format(data=mixed.networks[1]))
    yield mixed
    mixed.everywhere("systemctl stop registry; rm -f /run/registry.py", check=False)
    mixed.provision("destroy", FILE, "--yes", status=None)


def test_an_image_that_no_registry_has_is_told_before_the_change(registry: Hosts) -> None:
    """plan names image and hosts; apply says the same, fails at the pull, and rolls back."""
    before = without_records(registry.capture())
    (warning,) = registry.json("plan", FILE)["warnings"]
    assert warning.startswith("h1, h2: image 127.0.0.1:5000/gone:1 cannot be pulled now: ")
    assert "manifest unknown" in warning.lower(), warning
    assert registry.json("apply", FILE, status=5)["warnings"] == [warning]
    assert_same(before, without_records(registry.capture()))
    registry.ssh("h1", "systemctl stop registry")
    refused = registry.json("plan", FILE)["warnings"]
    assert any(line.startswith("h1, h2: image ") and "refused" in line for line in refused), refused
    for host in HOSTS:
        registry.ssh(host, "docker tag busybox 127.0.0.1:5000/gone:1")
        registry.ssh(host, "docker tag busybox 127.0.0.1:5000/there:1")
    assert registry.json("plan", FILE)["warnings"] == []
    registry.everywhere("docker image rm 127.0.0.1:5000/gone:1 127.0.0.1:5000/there:1")
