"""File systems in memory, and settings that a service has twice, as Compose reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.inventory.compose.project import Project, read_project
from tests.compose_program import config


def project(folder: Path, service: str) -> Project:
    """The project of a file with one service."""
    path = folder / "compose.yaml"
    path.write_text(f"services:\n  a: {{image: busybox, {service}}}\n")
    return read_project(path, "x")


TMPFS = {
    "{mode: 01777}": "mode=1777",
    "{mode: 0o700, size: 1gb}": "size=1073741824,mode=700",
    "{mode: 493}": "mode=755",
    '{mode: "1777"}': "mode=1777",
    # Sizes that the kernel knows stay as they are on hosts.
    "{size: 64m}": "size=64m",
    "{size: 1048576}": "size=1048576",
    "{size: 10%}": "size=10%",
    "{size: 64kb}": "size=65536",
    "{size: 1.5g}": "size=1610612736",
    "{size: 2GiB}": "size=2147483648",
    '{size: "010"}': "size=10",
}


@pytest.mark.parametrize(("keys", "options"), TMPFS.items())
def test_a_tmpfs_has_the_options_of_the_kernel(keys: str, options: str, tmp_path: Path) -> None:
    """Compose asks Docker for a number of bytes, and for a mode that Docker prints in octal."""
    read = project(tmp_path, f"volumes: [{{type: tmpfs, target: /t, tmpfs: {keys}}}]")
    assert not read.findings
    assert read.services["a"].keys["tmpfs"] == {"/t": options}


@pytest.mark.parametrize("keys", [keys for keys in TMPFS if "%" not in keys and '"1' not in keys])
def test_compose_has_the_same_bytes_and_mode(keys: str, tmp_path: Path) -> None:
    """Units of the kernel are those of Compose."""
    service = f"volumes: [{{type: tmpfs, target: /t, tmpfs: {keys}}}]"
    ours = project(tmp_path, service).services["a"].keys["tmpfs"]["/t"]
    theirs = config(tmp_path / "compose.yaml")["services"]["a"]["volumes"][0]["tmpfs"]
    parts = dict(part.split("=") for part in ours.replace("64m", str(64 << 20)).split(","))
    assert parts.get("size") == theirs.get("size")
    assert int(parts.get("mode", "0"), 8) == theirs.get("mode", 0)


def test_a_tmpfs_may_be_read_only(tmp_path: Path) -> None:
    """Docker has an option of the mount for it."""
    read = project(
        tmp_path,
        "volumes: [{type: tmpfs, target: /t, read_only: true, tmpfs: {size: 1m}},"
        " {type: tmpfs, target: /u, read_only: true}, {type: tmpfs, target: /v, read_only: false}]",
    )
    assert read.services["a"].keys["tmpfs"] == {"/t": "size=1m,ro", "/u": "ro", "/v": ""}


FINDINGS = {
    "volumes: [{type: tmpfs, target: /t, tmpfs: {mode: 0888}}]": "'mode' must be an octal number",
    "volumes: [{type: tmpfs, target: /t, tmpfs: {mode: true}}]": "'mode' must be an octal number",
    "volumes: [{type: tmpfs, target: /t, tmpfs: {size: big}}]": "'big' is not a size",
    "tmpfs: '/t:size=1gb'": "the kernel takes no size '1gb' of a tmpfs",
    "tmpfs: /t, volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m}}]": "'/t' has two file",
    "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m}}], tmpfs: /t": "'/t' has two file",
    "devices: [{target: /dev/a}]": "'source' is missing in 'devices'",
    # Compose refuses these, too; the last one in the file would count.
    "mem_limit: 1m, deploy: {resources: {limits: {memory: 2m}}}": "'mem_limit' and 'deploy.res",
    "deploy: {resources: {limits: {cpus: 1}}}, cpus: 2": "'cpus' and 'deploy.resources.limits'",
    "scale: 2, deploy: {replicas: 3}": "'scale' and 'deploy.replicas' have different values",
    "deploy: {replicas: 3}, scale: 2": "'scale' and 'deploy.replicas' have different values",
}


@pytest.mark.parametrize(("service", "message"), FINDINGS.items())
def test_what_a_host_would_refuse_or_one_value_of_two_is_a_finding(
    service: str, message: str, tmp_path: Path
) -> None:
    """Nothing is dropped by the order of the keys."""
    (finding,) = project(tmp_path, service).findings
    assert message in finding.message
    assert finding.position.line == 2


@pytest.mark.parametrize(
    "service",
    [
        "mem_limit: 64m, deploy: {resources: {limits: {memory: 65536k}}}",
        "cpus: 2, deploy: {resources: {limits: {cpus: '2.0'}}}",
        "scale: 2, deploy: {replicas: 2}",
        "tmpfs: ['/t:size=64m,mode=1777', /u]",
    ],
)
def test_equal_values_are_taken(service: str, tmp_path: Path) -> None:
    """In whatever unit they are written."""
    assert not project(tmp_path, service).findings
