"""Values of variables: read from files and the environment, and hidden in plans."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from provision.cli.output_file import output_file
from provision.engine import report, saved_plan
from provision.engine.plan import Change, Plan, operations, plan
from provision.engine.plan_text import plan_lines
from provision.engine.report import ChangeResult, Report
from provision.engine.undo import inverse
from provision.inventory.load import load
from provision.model.errors import InventoryError, StalePlanError
from provision.resources import script
from provision.resources.kinds.container import DockerContainer
from provision.resources.on_hosts import Mark
from provision.resources.steps import Run

HEAD = "name: demo\nhosts: {h1: {address: 10.78.0.11}}\ncontainers:\n"


def container(**env: str) -> DockerContainer:
    """A container with these variables."""
    pairs = tuple(sorted(env.items()))
    return DockerContainer(
        "h1", "db", "busybox", (), "bridge", None, "no", Mark("demo", "bridge"), env=pairs
    )


def planned(before: DockerContainer | None, after: DockerContainer | None) -> Plan:
    """The plan that leads from one to the other."""
    current, wanted = ({each.ref: each} if each else {} for each in (before, after))
    return plan(current, wanted)


def reported(changes: tuple[Change, ...]) -> Report:
    """The report of a plan."""
    return Report(("h1",), tuple(map(ChangeResult, changes)), (), ())


def variables(folder: Path, env: str) -> dict[str, str]:
    """The variables of a container with this `env`."""
    path = folder / "i.yml"
    path.write_text(f"{HEAD}  db: {{host: h1, network: none, env: {env}}}\n")
    return dict(load(path).containers["db"].env)


def test_values_come_from_files_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last line end of a file is removed; the path starts at the inventory."""
    (tmp_path / "a").write_text("one\ntwo\n\n")
    (tmp_path / "b").write_bytes(b"\r\n")
    monkeypatch.setenv("THEIRS", " x\n")
    env = "{A: {file: a}, B: {file: ./b}, C: {from_env: THEIRS}, D: plain}"
    assert variables(tmp_path, env) == {"A": "one\ntwo\n", "B": "", "C": " x\n", "D": "plain"}
    assert load(tmp_path / "i.yml").secrets == (tmp_path / "a", tmp_path / "b")
    assert "plain" not in repr(load(tmp_path / "i.yml"))


@pytest.mark.parametrize(
    ("source", "column", "message"),
    [
        ("{file: none.txt}", 49, "file 'none.txt': no such file; check the path"),
        ("{file: .}", 49, "file '.': is a folder, not a file"),
        ("{file: nul}", 49, "file 'nul': the value holds a NUL character"),
        ("{file: latin}", 49, "file 'latin': is not UTF-8 text"),
        ("{file: large}", 49, "file 'large': is larger than 64 KiB"),
        ("{from_env: NO_SUCH}", 53, "the environment variable 'NO_SUCH' is not set on this"),
        ("{}", 42, "a value comes from a file or from a variable; write {file: secret.txt} or"),
        ("{file: a, from_env: B}", 42, "a value comes from a file or from a variable"),
        ("{files: a}", 43, "unknown key 'files'; did you mean 'file'?"),
        ("{file: 5}", 49, "'file' must be text, not a number"),
        ("4711", 42, "'X' must be text, not a number; quote it"),
        ('"4711\\0"', 42, "text must not hold NUL or a lone surrogate"),
    ],
)
def test_a_value_that_cannot_be_read_is_a_finding_of_its_line(
    tmp_path: Path, source: str, column: int, message: str
) -> None:
    """No message has a value."""
    (tmp_path / "nul").write_bytes(b"4711\0")
    (tmp_path / "latin").write_bytes(b"4711\xe9")
    (tmp_path / "large").write_bytes(b"x" * ((64 << 10) + 1))
    with pytest.raises(InventoryError) as caught:
        variables(tmp_path, f"{{X: {source}}}")
    assert f"i.yml:4:{column}: {message}" in str(caught.value)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    ("compose", "env", "message"),
    [
        (False, "{X: !hunter2 }", "tags (!) are not allowed here; quote text that begins with !"),
        (False, "{X: !hunter2 and more}", "tags (!) are not allowed here"),
        (True, "{X: !hunter2 and more}", "tags (!) are not allowed here"),
        (False, "{X: *hunter2}", "aliases (*) are not allowed here"),
        (False, "{DB_PASSWORD=hunter2: x}", "environment variable 'DB_PASSWORD=…' cannot be used"),
        (False, "{X: {from_env: DB=hunter2}}", "environment variable 'DB=…' cannot be used"),
        (False, "[DB_PASSWORD=hunter2]", "'env' must be a mapping, not a list"),
        (False, "{X: [hunter2]}", "'X' must be text"),
        (True, "{X: !hunter2 }", "tags (!) are not allowed here; quote text that begins with !"),
        (True, "{X: *hunter2}", "this alias has no anchor before it"),
        (True, "{X: [hunter2]}", ""),
        (True, '{"X\\0=hunter2": x}', "cannot be used"),
        (True, "{X: '${A-hunter2'}", ""),
    ],
)
def test_a_password_that_yaml_reads_as_something_else_is_in_no_message(
    tmp_path: Path, compose: bool, env: str, message: str
) -> None:
    """Such as one that begins with `!` or `*` and has no quotes."""
    if compose:
        (tmp_path / "c.yml").write_text(f"services: {{db: {{image: x, environment: {env}}}}}\n")
        text = "compose: [{file: c.yml, network: none, hosts: {db: h1}}]\n"
        (tmp_path / "i.yml").write_text(HEAD.replace("containers:\n", text))
    with pytest.raises(InventoryError) as caught:
        load(tmp_path / "i.yml") if compose else variables(tmp_path, env)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_plans_tell_which_variable_differs_but_no_value() -> None:
    """Text and JSON; with `show_secrets` both have the values."""
    before, after = container(A="1111", B="2222", OLD="3333"), container(A="1111", B="4444", C="5")
    result = reported(planned(before, after).changes)
    text = "\n".join(plan_lines(result))
    for line in ("B=(hidden, differs)", "C=(hidden)", "OLD=(removed)"):
        assert line in text
    assert "A=" not in text
    (change,) = report.plan_json(result)["changes"]
    assert change["before"]["env"] == [[name, "(hidden)"] for name in ("A", "B", "OLD")]
    assert change["after"]["env"] == [
        ["A", "(hidden)"],
        ["B", "(hidden, differs)"],
        ["C", "(hidden)"],
    ]
    for shape in (report.plan_json(result), report.result_json(result)):
        assert not any(value in json.dumps(shape) for value in ("1111", "2222", "3333", "4444"))
    assert "2222" in json.dumps(report.plan_json(result, show_secrets=True))
    assert "B=2222 → 4444" in "\n".join(plan_lines(result, show_secrets=True))
    long = reported(planned(None, container(A="one\ntwo", B="")).changes)
    text = "\n".join(plan_lines(long, show_secrets=True))
    assert r'A="one\ntwo"' in text and 'B=""' in text


def test_a_saved_plan_notices_another_value_and_has_none(tmp_path: Path) -> None:
    """Not even a digest with which short passwords could be tried out quickly."""
    changes = planned(None, container(A="1111")).changes
    path = tmp_path / "p"
    path.write_text(saved_plan.text(tmp_path / "i.yml", None, reported(changes)))
    assert "1111" not in path.read_text()
    saved = saved_plan.read(path)
    saved_plan.require_same(saved, iter(changes))
    with pytest.raises(StalePlanError, match="values of environment variables"):
        saved_plan.require_same(saved, planned(None, container(A="2222")).changes)


def test_a_private_file_replaces_one_that_others_can_read(tmp_path: Path) -> None:
    """A plan that is saved over an older one has mode 0600; other files keep their mode."""
    for name, mode, expected in (("plan", 0o600, 0o600), ("page", 0o666, 0o664)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o664)
        with output_file("-o", tmp_path / name, mode=mode) as file:
            assert file is not None and file.write("new")
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == expected


def test_steps_have_values_on_stdin_and_the_rollback_has_none() -> None:
    """The host keeps the rollback in a file, and any user reads the arguments of a process."""
    secret = container(A="1111\n2222")
    (creation,) = operations(planned(None, secret), txn="0a")
    assert all(isinstance(step, Run) and "1111" not in str(step.argv) for step in creation.steps)
    for before, after in ((None, secret), (secret, None), (secret, container(A="3333"))):
        for operation in operations(planned(before, after), txn="0a"):
            text = script.commands(inverse(operation, txn="0a"))
            assert not any(value in text for value in ("1111", "3333"))
