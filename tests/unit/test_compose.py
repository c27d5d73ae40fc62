"""Compose's rules: interpolation, `.env`, YAML, and how services become containers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provision.inventory.compose import nodes
from provision.inventory.compose.project import read_project
from provision.inventory.load import load
from provision.model.errors import InventoryError
from provision.model.fields.env_files import LineError, variables
from provision.model.fields.interpolation import interpolate
from provision.model.fields.quantities import duration, duration_text, size
from provision.model.findings import BadValueError, FindingError
from provision.model.inventory import ContainerSetting, Inventory
from provision.resources.lib import container_request, container_settings
from tests.compose_program import config

KNOWN = {"SET": "value", "EMPTY": "", "OTHER": "other"}
INTERPOLATED = {
    "plain": "plain",
    "$SET": "value",
    "${SET}": "value",
    "a${SET}b$SET-c": "avalueb" + "value-c",
    "$$SET": "$SET",
    "$$$SET": "$value",
    "${UNSET}": "",
    "${UNSET-default}": "default",
    "${EMPTY-default}": "",
    "${EMPTY:-default}": "default",
    "${SET:-default}": "value",
    "${UNSET:-${OTHER}}": "other",
    "${UNSET:-${ALSO_UNSET:-deep}}": "deep",
    "${UNSET:-a:b}": "a:b",
    "${SET:+there}": "there",
    "${UNSET:+there}": "",
    "${EMPTY+there}": "there",
    "${EMPTY:+there}": "",
    "${SET?needed}": "value",
    "${EMPTY?needed}": "",
}
ENV_FILE = """# a comment
PLAIN=one # with a comment
HASH=a#b
SINGLE='$PLAIN "x"' # literal
DOUBLE="a\\tb $PLAIN \\"q\\""
LINES="first
second"
EMPTY=
export EXPORTED=yes
SPACED = around
BRACES=${PLAIN}-${MISSING:-none}
"""
ENV = {
    "PLAIN": "one",
    "HASH": "a#b",
    "SINGLE": '$PLAIN "x"',
    "DOUBLE": 'a\tb one "q"',
    "LINES": "first\nsecond",
    "EMPTY": "",
    "EXPORTED": "yes",
    "SPACED": "around",
    "BRACES": "one-none",
}


@pytest.mark.parametrize(("text", "value"), INTERPOLATED.items())
def test_variables_are_replaced(text: str, value: str) -> None:
    """As the documentation of Compose says."""
    assert interpolate(text, KNOWN.get, lambda _name: None) == value


def test_only_variables_without_default_are_noted() -> None:
    """Compose warns of the same ones."""
    names: list[str] = []
    interpolate("$A ${B} ${C:-x} ${D-$E} $SET ${F:+x}", KNOWN.get, names.append)
    assert names == ["A", "B", "E"]


@pytest.mark.parametrize(
    "text", ["$(id)", "${}", "${1X}", "${SET!x}", "${SET", "$", "$1", "${A:-${B}"]
)
def test_other_forms_are_refused_without_their_text(text: str) -> None:
    """The text may be a password."""
    with pytest.raises(BadValueError) as caught:
        interpolate(f"word{text}", KNOWN.get, lambda _name: None)
    assert text not in caught.value.message or text == "$"
    assert "word" not in caught.value.message


@pytest.mark.parametrize("text", ["${UNSET:?say why}", "${EMPTY:?say why}", "${UNSET?say why}"])
def test_a_required_variable_is_missing(text: str) -> None:
    """The message of the file is part of ours."""
    with pytest.raises(BadValueError, match="say why"):
        interpolate(text, KNOWN.get, lambda _name: None)


def test_an_env_file_is_read() -> None:
    """Quotes, comments, several lines, variables of lines before."""
    assert variables(ENV_FILE, {}.get) == ENV
    assert variables(ENV_FILE.replace("\n", "\r\n"), {}.get) == ENV
    assert variables("KNOWN\nUNKNOWN\n", {"KNOWN": "1"}.get) == {"KNOWN": "1"}


@pytest.mark.parametrize(
    ("text", "line"),
    [("A=1\nno value\n", 2), ("A='x\n", 1), ('\nA="x" y\n', 2), ("=x", 1), ("A=1\nB=$(id)", 2)],
)
def test_a_mistake_in_an_env_file_has_its_line(text: str, line: int) -> None:
    """And no part of a value."""
    with pytest.raises(LineError) as caught:
        variables(text, {}.get)
    assert caught.value.line == line
    assert "id" not in caught.value.message


def test_compose_reads_the_same_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker compose config` replaces and reads each of these texts alike."""
    for name in {**KNOWN, "UNSET": "", "ALSO_UNSET": "", "MISSING": ""}:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text("".join(f"{name}='{text}'\n" for name, text in KNOWN.items()))
    (tmp_path / "all.env").write_text(ENV_FILE)
    environment = {f"T{k}": text for k, text in enumerate(INTERPOLATED)}
    service = {"image": "busybox", "environment": environment, "env_file": ["all.env"]}
    path = tmp_path / "compose.yaml"
    path.write_text(json.dumps({"services": {"web": service}}))
    theirs = config(path)["services"]["web"]["environment"]
    expected = {f"T{k}": value for k, value in enumerate(INTERPOLATED.values())} | ENV
    # The output doubles each dollar sign, which `config` halves.
    assert theirs == {name: value.replace("$$", "$") for name, value in expected.items()}
    assert read_project(path, "x").services["web"].keys["env"] == expected


def test_merge_keys_and_aliases() -> None:
    """Explicit keys count before merged ones, and the first merged mapping before the next."""
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {z: 3, <<: [*a, *b]}\nd: *a\n"
    root = nodes.read(Path("f"), text).plain()
    assert root["c"] == {"x": 1, "y": 1, "z": 3}
    assert root["d"] == {"x": 1, "y": 1}


@pytest.mark.parametrize(
    "text",
    [
        "a: *none\n",
        "a: &a [1]\nb: {<<: *a}\n",
        "a: !reset null\n",
        "a: 1\na: 2\n",
        "a: 1\n---\nb: 2\n",
        "",
        "? [a]\n: b\n",
        "a: &a [1, *a]\n",
        "[" * 60 + "]" * 60,
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 9)),
    ],
)
def test_yaml_that_cannot_be_used_has_a_position(text: str) -> None:
    """Also a file of few lines whose aliases would be millions of values."""
    with pytest.raises(FindingError) as caught:
        nodes.read(Path("f"), text)
    assert caught.value.finding.position.line


def test_durations_and_sizes() -> None:
    """The notation of Go and of Docker."""
    texts = {"1m30s": "90s", "1.5s": "1500ms", "500us": "500us", "2h": "7200s", "0": "0s"}
    assert {text: duration_text(duration(text)) for text in texts} == texts
    sizes = {"64m": 64 << 20, "1gb": 1 << 30, "1.5k": 1536, "7": 7, "2GiB": 2 << 30, "3b": 3}
    assert {text: size(text) for text in sizes} == sizes
    for text in ("", "5", "1d", "s", "-1s", "1 s"):
        with pytest.raises(BadValueError):
            duration(text)


HEAD = """name: demo
hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}, h3: {address: 10.78.0.13}}
networks: {blue: {method: routes, cidr: 172.20.0.0/16}}
"""


def loaded(folder: Path, compose: str, entry: str, *, names: bool = False) -> Inventory:
    """The inventory of a Compose file placed by an entry of `compose`."""
    (folder / "compose.yaml").write_text(compose)
    path = folder / "i.yml"
    head = HEAD.replace("method: routes", "method: routes, names: true") if names else HEAD
    path.write_text(f"{head}compose: [{{file: compose.yaml, network: blue{entry}}}]\n")
    return load(path)


def test_copies_are_placed_in_turn(tmp_path: Path) -> None:
    """`replicas` of a list of hosts; without a number, one on each host."""
    compose = (
        "services: {a: {image: x, deploy: {replicas: 3}}, b: {image: x}, c: {image: x, scale: 0}}"
    )
    entry = ", project: p, hosts: {a: [h2, h3], b: [h1, h3], c: h1}"
    containers = loaded(tmp_path, compose, entry).containers
    assert {name: container.host for name, container in containers.items()} == {
        "p-a-1": "h2",
        "p-a-2": "h3",
        "p-a-3": "h2",
        "p-b-1": "h1",
        "p-b-2": "h3",
    }


@pytest.mark.parametrize(
    ("entry", "name", "project"),
    [
        (", project: own", "name: theirs\n", "own"),
        ("", "name: theirs\n", "theirs"),
        ("", "", "shop1"),
    ],
)
def test_the_name_of_a_project(tmp_path: Path, entry: str, name: str, project: str) -> None:
    """The entry's, the file's, or that of the folder in the characters that Compose allows."""
    folder = tmp_path / "_Shop.1"
    folder.mkdir()
    compose = (
        name + "services: {a: {image: x, volumes: [d:/d], x-provision: {host: h1}}}\nvolumes: {d: }"
    )
    containers = loaded(folder, compose, entry).containers
    assert list(containers) == [f"{project}-a-1"]
    assert containers[f"{project}-a-1"].volumes == (f"{project}_d:/d",)


def test_dependencies_order_containers_of_one_host(tmp_path: Path) -> None:
    """Across hosts, and about health, a note says that nothing waits."""
    compose = """services:
  a: {image: x, depends_on: [b, c]}
  b: {image: x}
  c: {image: x}
  d: {image: x, depends_on: {b: {condition: service_healthy}}}
"""
    inventory = loaded(tmp_path, compose, ", project: p, hosts: {a: h1, b: h1, c: h2, d: h1}")
    assert inventory.containers["p-a-1"].depends_on == ("p-b-1",)
    assert inventory.containers["p-d-1"].depends_on == ("p-b-1",)
    assert [note.removeprefix(f"{tmp_path}/") for note in inventory.notes] == [
        "compose.yaml:2:33: service 'a': 'c' is on another host, and its start is not waited for",
        "compose.yaml:5:30: service 'd': 'b' is started first, but its health is not waited for",
    ]


def test_profiles_and_unset_variables_are_noted(tmp_path: Path) -> None:
    """As Compose does: the service is left out, the variable is empty."""
    compose = (
        "services:\n  a: {image: x, profiles: [debug]}\n  b: {image: 'x:${UNSET_TAG-1}$UNSET_A'}\n"
    )
    inventory = loaded(tmp_path, compose, ", project: p, hosts: {b: h1}")
    assert list(inventory.containers) == ["p-b-1"]
    assert [note.removeprefix(f"{tmp_path}/") for note in inventory.notes] == [
        "compose.yaml:3:14: the variable 'UNSET_A' is not set, so it is empty",
        "compose.yaml:2:3: service 'a' has profiles, and 'hosts' does not name it: it is left out",
    ]
    assert len(loaded(tmp_path, compose, ", hosts: {a: h1, b: h1}").containers) == 2


def test_the_shell_counts_before_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And `environment` before `env_file`; a name alone takes the value of the shell or of .env."""
    (tmp_path / ".env").write_text("SHOP_A=file\nSHOP_B=file\n")
    (tmp_path / "web.env").write_text("C=file\nD=file\n")
    monkeypatch.setenv("SHOP_A", "shell")
    compose = """services:
  a:
    image: x
    environment: [SHOP_A, SHOP_B, SHOP_NONE, "D=own"]
    env_file: {path: web.env}
""".replace("{path: web.env}", "[{path: web.env}, {path: none.env, required: false}]")
    inventory = loaded(tmp_path, compose, ", project: p, hosts: {a: h1}")
    assert dict(inventory.containers["p-a-1"].env) == {
        "SHOP_A": "shell",
        "SHOP_B": "file",
        "C": "file",
        "D": "own",
    }
    assert inventory.secrets == (tmp_path / ".env", tmp_path / "web.env")


def test_values_of_variables_are_in_no_message(tmp_path: Path) -> None:
    """Neither of a Compose file nor of its .env."""
    (tmp_path / ".env").write_text("CANARY $x\n")
    compose = "services: {a: {image: x, environment: {A: [CANARY], B: 'CANARY${', C: {x: CANARY}}}}"
    with pytest.raises(InventoryError) as caught:
        loaded(tmp_path, compose, ", project: p, hosts: {a: h1}")
    assert len(caught.value.findings) == 4
    assert "CANARY" not in str(caught.value)


ALIASED = "services: {db: {image: x, networks: {back: {aliases: [DB, sql, sql.example.org]}}}}\n"


def test_aliases_of_a_network_become_those_of_the_container(tmp_path: Path) -> None:
    """The service's own name is one already; a network without names is a finding with its line."""
    compose = f"{ALIASED}networks: {{back: }}\n"
    named = loaded(tmp_path, compose, ", project: p, hosts: {db: h1}", names=True)
    (container,) = named.containers.values()
    assert (container.aliases, container.service) == (("sql", "sql.example.org"), "db")
    with pytest.raises(InventoryError, match="'aliases' has no effect: network 'blue'") as caught:
        loaded(tmp_path, compose, ", project: p, hosts: {db: h1}")
    (finding,) = caught.value.findings
    assert finding.position is not None and finding.position.path.name == "compose.yaml"
    with pytest.raises(InventoryError, match="2 containers cannot have the same alias"):
        loaded(tmp_path, compose, ", project: p, hosts: {db: [h1, h2]}", names=True)


RED = ", red: {method: vxlan, cidr: 172.21.0.0/16, hosts: [h1, h2]}}\n"


def test_external_networks_are_those_of_the_inventory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the service; the project's own ones are that of the entry."""
    monkeypatch.setattr(f"{__name__}.HEAD", HEAD[:-2] + RED)
    compose = """services:
  web: {image: x, networks: [front, back]}
  api: {image: x, networks: {back: {ipv4_address: 172.21.1.9}, front: {ipv4_address: 172.20.1.9}}}
  db: {image: x, networks: [back]}
  old: {image: x, networks: [front, also]}
networks: {front: , back: {name: red, external: true}, also: {name: blue, external: true}}
"""
    entry = ", project: p, hosts: {web: h1, api: h2, db: h1, old: h3}"
    containers = loaded(tmp_path, compose, entry).containers
    networks = {
        name: (each.network, [further.name for further in each.networks])
        for name, each in containers.items()
    }
    assert networks == {
        "p-web-1": ("blue", ["red"]),
        "p-api-1": ("red", ["blue"]),
        "p-db-1": ("red", []),
        "p-old-1": ("blue", []),
    }
    api = containers["p-api-1"]
    assert (str(api.address), str(api.networks[0].address)) == ("172.21.1.9", "172.20.1.9")
    for place, position in (("db: h3", "i.yml:4"), ("web: h3", "compose.yaml:2")):
        service = place.partition(":")[0]
        moved = entry.replace(f"{service}: h1", place)
        with pytest.raises(InventoryError, match="'h3' is not in network 'red'") as caught:
            loaded(tmp_path, compose, moved)
        assert f"{position}:" in str(caught.value.findings[0])


TWICE = "also: {name: blue, external: true}"


def test_an_address_of_a_network_with_two_names_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The project's own network and an external one may be the same in the inventory."""
    monkeypatch.setattr(f"{__name__}.HEAD", HEAD[:-2] + RED)
    compose = (
        "services:\n  web: {image: x, networks: {default: {}, also: {ipv4_address: 172.20.0.9,"
        ' mac_address: "02:00:00:00:00:09"}}}\nnetworks: {' + TWICE + "}\n"
    )
    web = loaded(tmp_path, compose, ", project: p, hosts: {web: h1}").containers["p-web-1"]
    assert (web.network, str(web.address), web.mac) == ("blue", "172.20.0.9", "02:00:00:00:00:09")
    assert not web.networks


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        (
            "{default: {ipv4_address: 172.20.0.8}, also: {ipv4_address: 172.20.0.9}}",
            "'web' has a second address in network 'blue'",
        ),
        (
            '{default: {}, back: {mac_address: "02:00:00:00:00:09"}}',
            "'web' has a MAC address in 'back', which is not the first of its networks",
        ),
        (
            '{default: {mac_address: "02:00:00:00:00:08"},'
            ' also: {mac_address: "02:00:00:00:00:09"}}',
            "'web' has a second MAC address in network 'blue'",
        ),
    ],
)
def test_no_address_of_a_network_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, networks: str, message: str
) -> None:
    """The second one is named, with its line."""
    monkeypatch.setattr(f"{__name__}.HEAD", HEAD[:-2] + RED)
    compose = (
        f"services:\n  web:\n    image: x\n    networks: {networks}\n"
        f"networks: {{{TWICE}, back: {{name: red, external: true}}}}\n"
    )
    with pytest.raises(InventoryError) as caught:
        loaded(tmp_path, compose, ", project: p, hosts: {web: h1}")
    (finding,) = caught.value.findings
    assert message in finding.message
    assert finding.position is not None and finding.position.line == 4


SETTINGS = tuple(
    ContainerSetting(key, value)
    for key, value in sorted(
        {
            "cap_add": '["NET_ADMIN", "SYS_TIME"]',
            "cpus": "0.5",
            "devices": '["/dev/a:/dev/b:rwm"]',
            "entrypoint": '["sh", "-c"]',
            "extra_hosts.six": "::1",
            "healthcheck.interval": "90s",
            "healthcheck.retries": "3",
            "healthcheck.test": '["NONE"]',
            "init": "false",
            "labels.a.b": "c",
            "logging.driver": "local",
            "logging.options.max-size": "1m",
            "mem_limit": "1024",
            "privileged": "true",
            "stop_grace_period": "60s",
            "sysctls.net.core.somaxconn": "9",
            "tmpfs./run": "",
            "ulimits.nofile": "1:2",
        }.items()
    )
)


def test_settings_are_read_as_they_were_requested() -> None:
    """The API has Config and HostConfig apart; a label tells which settings are the inventory's."""
    keys = json.dumps([setting.key for setting in SETTINGS])
    body = json.loads(
        container_request.body(
            image="x",
            command=(),
            env=(),
            labels={container_settings.SETTINGS_LABEL: keys},
            stop_signal=None,
            network="none",
            address=None,
            mac=None,
            restart="on-failure:3",
            ports=(),
            volumes=(),
            settings=SETTINGS,
        )
    )
    entry = {"Config": body, "HostConfig": body["HostConfig"]}
    assert container_settings.read(entry) == SETTINGS
    # Docker 20.10 and later show capabilities with or without CAP_, in an order of their own.
    body["HostConfig"]["CapAdd"] = ["CAP_SYS_TIME", "CAP_NET_ADMIN"]
    assert container_settings.read(entry) == SETTINGS
    del body["Labels"][container_settings.SETTINGS_LABEL]
    assert container_settings.read(entry) == ()


def test_an_entrypoint_that_was_taken_away_is_no_difference() -> None:
    """Docker shows none in place of the single empty argument that takes away that of the image."""
    labels = {container_settings.SETTINGS_LABEL: json.dumps(["entrypoint"])}
    entry = {"Config": {"Labels": labels, "Entrypoint": None}, "HostConfig": {}}
    (setting,) = container_settings.read(entry)
    assert setting == ContainerSetting("entrypoint", json.dumps([""]))


def test_a_setting_that_docker_does_not_show_differs() -> None:
    """Such as a limit that the kernel of a host does not know."""
    labels = {container_settings.SETTINGS_LABEL: json.dumps(["user", "ulimits.core", "labels.x"])}
    entry = {"Config": {"Labels": labels}, "HostConfig": {}}
    assert container_settings.read(entry) == ()


@pytest.mark.parametrize(
    ("compose", "message"),
    [
        (
            "a: {image: x}\n  b: {image: x, networks: [back]}",
            "service 'b' is on 'back', apart from",
        ),
        ("a: {image: x, networks: [back]}\n  b: {image: x}", "service 'b' is on 'default', apart"),
        ("a: {image: x, networks: [red]}", "the inventory has no network 'red'"),
        ("a: {image: x, networks: [back, front]}", "service 'a' is on 2 networks of the project"),
        ("a: {image: x, networks: {back: {priority: 1}}}", "'priority' in 'back' is not supported"),
        ("a: {image: x, networks: [back]}\n  b: {image: x, network_mode: none}", ""),
        ("a: {image: x, networks: {back: , }}\n  b: {image: x, networks: [back]}", ""),
        ("a: {image: x, networks: [blue]}", ""),
    ],
)
def test_services_that_compose_would_part_are_refused(
    tmp_path: Path, compose: str, message: str
) -> None:
    """They would reach each other on the network of the inventory."""
    networks = "networks: {back: , front: , red: {external: true}, blue: {external: true}}"
    text = f"services:\n  {compose}\n{networks}\n"
    entry = ", hosts: {a: h1, b: h1}" if " b:" in text else ", hosts: {a: h1}"
    if not message:
        assert loaded(tmp_path, text, entry).containers
        return
    with pytest.raises(InventoryError) as caught:
        loaded(tmp_path, text, entry)
    assert [message in finding.message for finding in caught.value.findings] == [True]
