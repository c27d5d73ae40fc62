"""Commands that contact no host: schema, init, completion, usage errors, saved plans."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from provision.engine.plan import Change
from provision.engine.report import ChangeResult, Report
from provision.engine.saved_plan import read, require_same, text
from provision.inventory.json_schema import json_schema
from provision.inventory.load import load
from provision.model.errors import StalePlanError, UsageError
from provision.resources.base import Ref
from provision.resources.kinds.sysctl import Sysctl

ROOT = Path(__file__).parents[2]
PROGRAM = str(Path(sys.executable).with_name("provision"))


def run(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run `provision` in a folder; its exit status, stdout and stderr."""
    process = subprocess.run(
        (PROGRAM, *arguments),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | (env or {}),
    )
    return process.returncode, process.stdout, process.stderr


def test_the_schema_accepts_every_example() -> None:
    """The schema itself is valid, and so are the inventories of the golden cases."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    paths = [*ROOT.glob("inventories/*.yml"), *ROOT.glob("tests/cases/*/*/inventory.yml")]
    assert len(paths) > 5
    for path in paths:
        validator.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    "change",
    [
        {"nmae": "demo"},
        {"packages": "maybe"},
        {"hosts": {"h1": {"adress": "10.0.0.1"}}},
        {"networks": {"blue": {"method": "route", "cidr": "10.0.0.0/8"}}},
        {"networks": {"BLUE": {"method": "routes", "cidr": "10.0.0.0/8"}}},
        {"networks": {"blue": {"method": "routes", "cidr": "10.0.0.0/8", "access": None}}},
        {"containers": {"c1": {"network": "blue"}}},
        {"ssh": {"port": 70000}},
    ],
)
def test_the_schema_refuses_mistakes(change: dict[str, Any]) -> None:
    """An editor can underline them."""
    valid = {"name": "demo", "hosts": {"h1": {"address": "10.0.0.1"}}}
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid(valid)
    assert not validator.is_valid(valid | change)


def test_the_schema_describes_its_keys(tmp_path: Path) -> None:
    """`provision schema` prints it as JSON."""
    status, stdout, _ = run(tmp_path, "schema")
    assert status == 0
    top = json.loads(stdout)["properties"]
    host = top["hosts"]["additionalProperties"]["properties"]
    assert "peers" in host["address"]["description"] or "hosts" in host["address"]["description"]
    # The same keys mean something else in other sections.
    for section in ("containers", "guests"):
        container = top[section]["additionalProperties"]["properties"]
        assert container["address"]["description"].startswith("fixed address")
    project = top["compose"]["items"]["properties"]
    assert project["file"]["description"].startswith("Compose file")
    assert project["hosts"]["description"].startswith("host of each service")


def test_validate_prints_the_notes_about_a_file(tmp_path: Path) -> None:
    """Every command prints them, also the one that users run first."""
    (tmp_path / "c.yaml").write_text("services: {a: {image: x, environment: {A: $UNSET_A}}}\n")
    (tmp_path / "i.yml").write_text(
        "name: demo\nhosts: {h1: {address: 10.0.0.1}, h2: {address: 10.0.0.2}}\n"
        "networks: {blue: {method: routes, cidr: 172.20.0.0/16}}\n"
        "compose: [{file: c.yaml, network: blue, hosts: {a: h1}}]\n"
    )
    note = "c.yaml:1:43: the variable 'UNSET_A' is not set, so it is empty\n"
    summary = "i.yml: valid: 2 hosts, 1 network, 1 container\n"
    assert run(tmp_path, "validate", "i.yml") == (0, summary, note)
    status, stdout, stderr = run(tmp_path, "validate", "--json", "i.yml")
    assert (status, json.loads(stdout)["errors"], stderr) == (0, [], note)


def test_init_writes_a_valid_inventory(tmp_path: Path) -> None:
    """Options replace its questions, and an existing file is never overwritten."""
    options = ("--host", "a=10.1.1.1", "--host", "b=10.1.1.2", "--name", "mine", "--user", "me")
    assert run(tmp_path, "init", *options)[0] == 0
    loaded = load(tmp_path / "inventory.yml")
    assert (loaded.name, list(loaded.hosts)) == ("mine", ["a", "b"])
    assert loaded.hosts["a"].ssh.sudo
    status, _, stderr = run(tmp_path, "init", *options)
    assert (status, "inventory.yml already exists" in stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no hosts are given"),
        (("--host", "a"), "'a' is not NAME=ADDRESS"),
        (("--host", "a=1.2.3"), "1.2.3 has 3 of an IPv4"),
        (("--host", "a=10.1.1.1", "--host", "b=10.1.1.1"), "same address"),
        (("--host", "a=10.1.1.1", "--host", "b=10.1.1.2", "--method", "rutes"), "'routes'"),
    ],
)
def test_init_refuses_invalid_options(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """The exit status is 2, and no file is written."""
    status, _, stderr = run(tmp_path, "init", *arguments)
    assert status == 2
    assert message in stderr and "Traceback" not in stderr
    assert not list(tmp_path.iterdir())


def test_init_checks_each_answer_when_it_is_given(tmp_path: Path) -> None:
    """On a terminal: a wrong answer is asked for again at once, and the method is asked for."""
    answers = ("BAD", "mine", "a", "a=10.1.1.1", "b=10.1.1.1", "b=10.1.1.2", "", "rutes", "vxlan")
    master, terminal = os.openpty()
    os.write(
        master, "".join(f"{answer}\n" for answer in (*answers, "10.0.0.0/33", "", "")).encode()
    )
    done = subprocess.run(
        (PROGRAM, "init"), cwd=tmp_path, stdin=terminal, capture_output=True, text=True, timeout=60
    )
    os.close(terminal)
    os.close(master)
    assert (done.returncode, done.stderr.count("Error:")) == (0, 5), done.stderr
    written = load(tmp_path / "inventory.yml")
    assert (written.name, list(written.hosts)) == ("mine", ["a", "b"])
    assert written.networks["blue"].method == "vxlan"


def test_tab_completes_verbs_and_names(tmp_path: Path) -> None:
    """The shell completes commands, and for --limit the hosts and groups of the inventory."""
    (tmp_path / "i.yml").write_text(
        "name: demo\nhosts: {h1: {address: 10.0.0.1}, web: {address: 10.0.0.2}}\n"
        "groups: {edge: [h1]}\n"
    )

    def completed(line: str) -> set[str]:
        env = {
            "_PROVISION_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
        }
        _, stdout, _ = run(tmp_path, env=env)
        return {entry.split(",", 1)[1] for entry in stdout.split()}

    assert {"plan", "apply", "verify"} <= completed("provision ")
    assert completed("provision plan i.yml --limit e") == {"edge"}
    assert completed("provision plan i.yml --limit edge:!h") == {"edge:!h1"}
    for shell in ("bash", "zsh", "fish"):
        assert "_PROVISION_COMPLETE" in run(tmp_path, "completion", shell)[1]


# The line, bash's words of it, the one that it replaces ($2), and what must replace that. As bash
# 5.2 splits them by its default COMP_WORDBREAKS.
BASH_LINES = [
    ("plan i.yml --limit h1:e", "plan i.yml --limit h1 : e", "e", "edge"),
    ("plan i.yml --limit h1:", "plan i.yml --limit h1 :", "", "h1 web edge"),
    ("plan i.yml --limit=h", "plan i.yml --limit = h", "h", "h1"),
    ("plan i.yml --limit=", "plan i.yml --limit =", "", "h1 web edge"),
    ("plan i.yml --limit=h1:!e", "plan i.yml --limit = h1 : !e", "!e", "!edge"),
    ("plan i.yml --limit 'h1:e", "plan i.yml --limit 'h1:e", "h1:e", "h1:edge"),
    ("plan i.yml --limit h1:'e", "plan i.yml --limit h1 : 'e", "e", "edge"),
    ("plan i.yml --limit h1,e", "plan i.yml --limit h1,e", "h1,e", "h1,edge"),
    # COMP_WORDBREAKS of the user without `:` and `=`
    ("plan i.yml --limit=h1:e", "plan i.yml --limit=h1:e", "--limit=h1:e", "--limit=h1:edge"),
    ("plan i.yml --limit ", "plan i.yml --limit ", "", "h1 web edge"),
    ("plan i.yml --ta", "plan i.yml --ta", "--ta", "--take-over"),
    ("ver", "ver", "ver", "verify"),
]


@pytest.mark.parametrize(("line", "words", "typed", "expected"), BASH_LINES)
def test_bash_completes_words_that_it_breaks(
    tmp_path: Path, line: str, words: str, typed: str, expected: str
) -> None:
    """The script gives the whole line, and replaces the part that bash takes for a word."""
    (tmp_path / "i.yml").write_text(
        "name: demo\nhosts: {h1: {address: 10.0.0.1}, web: {address: 10.0.0.2}}\n"
        "groups: {edge: [h1]}\n"
    )
    array = " ".join(map(shlex.quote, f"provision {words}".split(" ")))
    program = f"""
        eval "$({PROGRAM} completion bash)"
        COMP_WORDS=({array}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        COMP_LINE={shlex.quote(f"provision {line}")}' beyond the cursor'
        COMP_POINT=$((${{#COMP_LINE}} - 18))
        _provision_completion {PROGRAM} {shlex.quote(typed)}
        echo "${{COMPREPLY[@]}}"
    """
    argv = ("bash", "--norc", "-c", program)
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (expected, "")


def _report(value: str) -> Report:
    """The report of a plan that sets one sysctl to a value."""
    before, after = (Sysctl("h1", "k", text, "demo") for text in ("0", value))
    change = Change(Ref("h1", "sysctl", "k"), "update", before, after, None)
    return Report(("h1", "h2"), (ChangeResult(change),), (), ())


def test_a_saved_plan_is_stale_if_the_changes_differ(tmp_path: Path) -> None:
    """One more, one less or another change makes it stale."""
    planned, changed = _report("1"), _report("2")
    (tmp_path / "p").write_text(text(tmp_path / "i.yml", "h1,h2", planned))
    saved = read(tmp_path / "p")
    assert (saved.inventory, saved.limit) == (tmp_path / "i.yml", "h1,h2")
    require_same(saved, [result.change for result in planned.results])
    for changes in ([], [result.change for result in changed.results]):
        with pytest.raises(StalePlanError, match="h1: its changes are not those of the plan"):
            require_same(saved, changes)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"digests": 1}', '{"digests": {}}', "\0"])
def test_a_file_that_is_not_a_saved_plan_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever it contains, the error says so."""
    (tmp_path / "p").write_text(text)
    with pytest.raises(UsageError, match="is not a saved plan"):
        read(tmp_path / "p")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("apply",), "apply needs an inventory, or --plan FILE"),
        (("apply", "i.yml", "--plan", "p"), "apply needs an inventory, or --plan FILE"),
        (("apply", "--plan", "nothing"), "no such file"),
        (("plan", "i.yml", "--limit", "h9"), "no host or group matches 'h9'"),
        (("plan", "i.yml", "--limit", "!all"), "matches no host"),
        (("plan", "i.yml", "--timeout", "0"), "'--timeout'"),
        (("plan", "i.yml", "--timeout", "abc"), "'--timeout'"),
        (("plan", "i.yml", "--timeout", "1e9"), "'--timeout'"),
        (("plan", "i.yml", "--jobs", "0"), "'--jobs'"),
        (("plan", "i.yml", "--ssh-config", "nothing"), "--ssh-config nothing: no such file"),
        (("destroy", "i.yml"), "stdin is not a terminal"),
        (("apply", "i.yml", "--strategy", "serial"), "--strategy serial: no such strategy"),
        (("apply", "i.yml", "--strategy", "rolling"), "--strategy rolling: no such strategy"),
        (("apply", "i.yml", "--strategy", "rolling=0"), "write a number from 1, or a percentage"),
        (("apply", "i.yml", "--strategy", "rolling=101%"), "'101%' is not a number of hosts"),
        (("apply", "i.yml", "--strategy", "rolling=1", "--manual"), "leave one of the two out"),
        (("apply", "i.yml", "--max-failures", "1"), "add that strategy"),
        (
            ("apply", "i.yml", "--strategy", "rolling=1", "--max-failures", "-1"),
            "--max-failures -1: '-1' is not a number of hosts",
        ),
        (("trust",), "Missing argument"),
        (("aply", "i.yml"), "No such command 'aply'. Did you mean apply?"),
        (("xyz", "i.yml"), "No such command 'xyz'."),
    ],
)
def test_a_usage_error_exits_with_2(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Its message has no traceback, and no host is contacted."""
    hosts = "{h1: {address: 192.0.2.1}, h2: {address: 192.0.2.2}}"
    (tmp_path / "i.yml").write_text(f"name: demo\nhosts: {hosts}\n")
    status, _, stderr = run(tmp_path, *arguments)
    assert (status, message in stderr, "Traceback" in stderr) == (2, True, False), stderr


@pytest.mark.parametrize("path", [".", "/dev/zero", "/dev/null", "fifo", "loop", "big", "none"])
def test_an_inventory_must_be_a_file(tmp_path: Path, path: str) -> None:
    """Plan exits with 3 at once, whatever the path leads to."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    with (tmp_path / "big").open("wb") as file:
        file.truncate(2 << 30)
    process = subprocess.run(
        (PROGRAM, "plan", path), cwd=tmp_path, capture_output=True, text=True, timeout=10
    )
    assert (process.returncode, "Traceback" in process.stderr) == (3, False), process.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "--host", "h1"), "No such option: --host (--limit chooses hosts"),
        (("apply", "--check"), "No such option: --check (`provision plan` shows the changes"),
        (("apply", "--jsn"), "--json"),
    ],
)
def test_an_option_of_another_program(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """The error says what does the same here; else click suggests the nearest option."""
    status, _, stderr = run(tmp_path, *arguments, "i.yml")
    assert status == 2
    assert message in " ".join(stderr.split())
