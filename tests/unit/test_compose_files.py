"""Compose files of the shapes that people publish: containers or findings, as Compose reads them.

`compose_files/NAME.txt` has what is read from `NAME.yaml`; `--update-goldens` rewrites it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provision.inventory.compose.placement import Placement
from provision.inventory.compose.project import Project, read_project
from provision.inventory.compose.shape import Target
from provision.inventory.load import load
from provision.model.errors import InventoryError
from provision.model.fields.quantities import duration, size
from provision.model.findings import Position
from provision.model.inventory import Container
from tests.compose_program import config

FOLDER = Path(__file__).parent / "compose_files"
FILES = sorted(FOLDER.glob("*.yaml"))


def inventory(folder: Path, compose: Path) -> Path:
    """An inventory that places all services of a file on h1."""
    project = read_project(compose, "x")
    hosts = ", ".join(f"{service}: h1" for service in project.services)
    path = folder / "i.yml"
    path.write_text(
        "name: demo\nhosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}\n"
        "networks: {blue: {method: routes, cidr: 172.20.0.0/16}}\n"
        f"compose: [{{file: {compose}, project: x, network: blue, hosts: {{{hosts}}}}}]\n"
    )
    return path


def summary(container: Container) -> str:
    """A container as lines."""
    lines = [f"{container.name}: {container.image.ref}", f"network {container.network}"]
    lines += [f"command {json.dumps(container.command)}"] if container.command else []
    lines += [f"restart {container.restart}"]
    lines += [f"env {name}={json.dumps(value)}" for name, value in container.env]
    lines += [f"volume {volume}" for volume in container.volumes]
    lines += [f"port {port}" for port in container.ports]
    lines += [f"after {name}" for name in container.depends_on]
    lines += map(str, container.settings)
    return "\n  ".join(lines)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_read_or_has_a_finding_with_its_line(
    path: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Nothing is dropped: every service is a container, or a line says why not."""
    try:
        loaded = load(inventory(tmp_path, path))
        lines = [*map(summary, loaded.containers.values()), *loaded.notes]
    except InventoryError as error:
        lines = list(map(str, error.findings))
    text = "".join(f"{line}\n" for line in lines).replace(f"{FOLDER}/", "")
    golden = path.with_suffix(".txt")
    if request.config.getoption("--update-goldens"):
        golden.write_text(text)
    assert text == golden.read_text()


def placed(project: Project) -> dict[str, dict[str, Any]]:
    """The entries of `containers` of a project whose services are all on h1."""
    hosts = {service: ["h1"] for service in project.services}
    positions = {("network",): Position(), **{("hosts", name): Position() for name in hosts}}
    containers = Placement(project, Target(hosts, "blue", positions), set()).containers()
    assert not project.findings
    return {container.name: container.entry for container in containers}


REFUSED = (
    *("flask-build", "nginx-relative", "voting-two-networks", "swarm-secrets", "random-port"),
    *("migration", "required", "links", "nfs"),
)
READ = [path for path in FILES if path.stem not in REFUSED]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell's variables count before those of the files."""
    for name in ("TZ", "PORT", "DATA", "DB_PASSWORD", "HEAP", "RETENTION", "PIHOLE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("path", READ, ids=lambda path: path.stem)
def test_a_file_is_read_as_compose_reads_it(path: Path) -> None:
    """Equal to `docker compose config`, key by key."""
    theirs = config(path)
    ours = placed(read_project(path, "x"))
    for name, service in theirs["services"].items():
        number = service.get("deploy", {}).get("replicas", service.get("scale", 1))
        for k in range(number):
            entry = ours.pop(service.get("container_name", f"x-{name}-{k + 1}"))
            assert entry.pop("service", name) == name
            assert normal(entry) == as_entry(service, theirs)
    assert not ours


KEYS = (
    *("image", "user", "working_dir", "hostname", "stop_signal", "init", "privileged"),
    *(
        "tty",
        "stdin_open",
        "read_only",
        "cap_add",
        "cap_drop",
        "security_opt",
        "group_add",
        "labels",
        "sysctls",
    ),
)


def normal(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of ours without what Compose has elsewhere, and in comparable units."""
    left_out = ("host", "network", "depends_on")
    result = {key: value for key, value in entry.items() if key not in left_out and value != []}
    for key in ("shm_size", "mem_limit"):
        result |= {key: size(str(result[key]))} if key in result else {}
    for key in ("env", "sysctls", "tmpfs", "extra_hosts"):
        result |= {key: dict(result[key])} if key in result else {}
    if not result.get("privileged", True):
        del result["privileged"]  # Compose leaves out the default
    if "cpus" in result:
        result["cpus"] = float(result["cpus"])
    if "stop_grace_period" in result:
        result["stop_grace_period"] = duration(result["stop_grace_period"])
    result["ulimits"] = {
        name: limit if isinstance(limit, dict) else {"soft": limit, "hard": limit}
        for name, limit in result.get("ulimits", {}).items()
    }
    health = result.get("healthcheck", {})
    result["healthcheck"] = {
        key: value if key in ("test", "retries") else duration(value)
        for key, value in health.items()
    }
    ports: set[str] = set()
    for text in result.get("ports", []):
        ports |= published(text)
    result["ports"] = ports
    result["devices"] = [full_device(text) for text in result.get("devices", [])]
    return result


def published(text: str) -> set[str]:
    """The single ports of an entry of `ports`."""
    from provision.model.fields.containers import ports

    return {str(port) for port in ports(text)}


def full_device(text: str) -> str:
    """SOURCE:TARGET:PERMISSIONS of a device."""
    from provision.model.fields.container_settings import device

    return device(text)


def as_entry(service: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """A service of `docker compose config` as `normal` has ours."""
    entry: dict[str, Any] = {key: service[key] for key in KEYS if key in service}
    entry["restart"] = service.get("restart", "no")
    entry |= {"mac": service["mac_address"]} if "mac_address" in service else {}
    for key in ("command", "entrypoint"):
        entry |= {key: service[key]} if service.get(key) else {}
    if "environment" in service:
        known = {name: text for name, text in service["environment"].items() if text is not None}
        entry["env"] = known
    if "volumes" in service and (volumes := [volume(v, whole) for v in service["volumes"]]):
        entry["volumes"] = volumes
    if "tmpfs" in service:
        pairs = (text.partition(":") for text in service["tmpfs"])
        entry["tmpfs"] = {path: options for path, _, options in pairs}
    if "extra_hosts" in service:
        pairs = (text.replace("=", ":", 1).partition(":") for text in service["extra_hosts"])
        entry["extra_hosts"] = {name: address for name, _, address in pairs}
    if "logging" in service:
        entry["logging"] = service["logging"]
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    memory = service.get("mem_limit", limits.get("memory"))
    entry |= {"mem_limit": int(memory)} if memory else {}
    entry |= {"shm_size": int(service["shm_size"])} if "shm_size" in service else {}
    cpus = service.get("cpus", limits.get("cpus"))
    entry |= {"cpus": float(cpus)} if cpus else {}
    if "stop_grace_period" in service:
        entry["stop_grace_period"] = duration(service["stop_grace_period"])
    entry["ulimits"] = {
        name: {side: str(n) for side, n in limit.items()}
        if isinstance(limit, dict)
        else {"soft": str(limit), "hard": str(limit)}
        for name, limit in service.get("ulimits", {}).items()
    }
    health = {k: v for k, v in service.get("healthcheck", {}).items() if k != "disable"}
    if service.get("healthcheck", {}).get("disable"):
        health["test"] = ["NONE"]
    entry["healthcheck"] = {
        key: value if key in ("test", "retries") else duration(value)
        for key, value in health.items()
    }
    entry["ports"] = {port(each) for each in service.get("ports", [])}
    entry["devices"] = [device_text(each) for each in service.get("devices", [])]
    return entry


def volume(mount: dict[str, Any], whole: dict[str, Any]) -> str:
    """A mount in the short form, with Docker's name of the volume."""
    source = mount["source"]
    source = whole["volumes"][source]["name"] if mount["type"] == "volume" else source
    return f"{source}:{mount['target']}{':ro' if mount.get('read_only') else ''}"


def port(port: dict[str, Any]) -> str:
    """A port in the short form."""
    address = f"{port['host_ip']}:" if "host_ip" in port else ""
    return f"{address}{port['published']}:{port['target']}/{port['protocol']}"


def device_text(device: Any) -> str:
    """A device in the short form; Compose before 2.30 prints the short one itself."""
    if isinstance(device, str):
        return full_device(device)
    return f"{device['source']}:{device['target']}:{device['permissions']}"
