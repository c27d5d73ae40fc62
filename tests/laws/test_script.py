"""Law: any text survives the shell; rendered scripts do their steps and report the outcomes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from provision.resources import script
from provision.resources.steps import Attempt, Put, Run, Unless

TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)))


def sh(text: str) -> tuple[int, str]:
    """Run a script as the transport does; its exit status and stdout."""
    argv = ["sh", "-c", 'eval "$(cat)"']
    process = subprocess.run(argv, input=text.encode(), capture_output=True)
    return process.returncode, process.stdout.decode()


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=1))
def test_any_arguments_reach_the_command_unchanged(arguments: list[str]) -> None:
    """No character of an argument has a meaning for the shell."""
    _, stdout = sh(script.quoted(("printf", "%s\\n.", *arguments)))
    assert stdout == "".join(f"{argument}\n." for argument in arguments)


@settings(max_examples=60, deadline=None)
@given(TEXT)
def test_any_text_reaches_stdin_unchanged(text: str) -> None:
    """Even an empty text, and a text without a last newline."""
    _, stdout = sh(script.commands((Run(("cat",), stdin=text),)))
    assert stdout == text


@settings(max_examples=40, deadline=None)
@given(TEXT, st.sampled_from([0o600, 0o644, 0o755]))
def test_any_text_becomes_a_file_with_its_mode(text: str, mode: int) -> None:
    """The second run does not write a correct file again."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "deep er" / "it's"
        steps = (Put(str(path), text, mode),)
        for _ in range(2):
            rendered = script.render((steps,), nonce="n", lock=f"{folder}/lock")
            status, stdout = sh(rendered)
            (outcome,) = script.read(stdout, nonce="n", count=1)
            assert status == 0 and outcome is not None and outcome.status == 0, stdout
            assert path.read_bytes() == text.encode()
            assert path.stat().st_mode & 0o777 == mode
            inode = path.stat().st_ino
        assert path.stat().st_ino == inode
        assert [entry.name for entry in path.parent.iterdir()] == ["it's"]


def outcomes(
    *operations: tuple[object, ...], folder: str
) -> tuple[script.OperationResult | None, ...]:
    """Run the operations in one script; the outcome of each."""
    text = script.render(operations, nonce="n0nce", lock=f"{folder}/lock")  # type: ignore[arg-type]
    return script.read(sh(text)[1], nonce="n0nce", count=len(operations))


def test_a_failing_operation_ends_the_script(tmp_path: Path) -> None:
    """Earlier operations are done, its output is kept, and no later operation runs."""
    fail = Run(("sh", "-c", "echo why; exit 7"))
    first, second, third = outcomes(
        (Run(("true",)),), (fail, Run(("touch", f"{tmp_path}/no"))), (fail,), folder=str(tmp_path)
    )
    assert first is not None and first.status == 0
    assert second is not None and (second.status, second.output) == (7, "why")
    assert third is None
    assert not (tmp_path / "no").exists()


def test_output_of_a_command_is_not_a_marker(tmp_path: Path) -> None:
    """A command cannot know the nonce of the markers."""
    forged = Run(("printf", "\\n@other end 0 0 1.0\\n"))
    (outcome,) = outcomes((forged, Run(("false",))), folder=str(tmp_path))
    assert outcome is not None and outcome.status == 1


def test_unless_skips_steps_and_attempt_undoes_them(tmp_path: Path) -> None:
    """`Unless` skips its steps if its test succeeds; a failed `Attempt` runs its undo and fails."""
    touch = Run(("touch", f"{tmp_path}/touched"))
    undo = Run(("touch", f"{tmp_path}/undone"))
    steps = (Unless(Run(("true",)), (touch,)), Unless(Run(("echo", "x")), (touch,), prints=True))
    (outcome,) = outcomes(steps, folder=str(tmp_path))
    assert outcome is not None and outcome.status == 0
    assert not (tmp_path / "touched").exists()
    (outcome,) = outcomes((Attempt((Run(("false",)),), (undo,)),), folder=str(tmp_path))
    assert outcome is not None and outcome.status == 1
    assert (tmp_path / "undone").exists()


def test_a_symbolic_link_is_not_written_through(tmp_path: Path) -> None:
    """A link at our path would make us overwrite a foreign file."""
    target = tmp_path / "target"
    target.write_text("theirs")
    (tmp_path / "ours").symlink_to(target)
    (outcome,) = outcomes((Put(str(tmp_path / "ours"), "x"),), folder=str(tmp_path))
    assert outcome is not None and outcome.status != 0
    assert target.read_text() == "theirs"
