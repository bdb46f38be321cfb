"""`chat` in a pipe and before a person: turns, commands, and what ends it."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from asnn_goose.cli import app
from asnn_goose.cli.chat import interruptible, turns
from asnn_goose.infer.sampler import Drawer


def chat(runner: CliRunner, folder: Path, stdin: str, *words: str) -> Result:
    common = ["chat", str(folder), "--greedy", "--tokens", "6"]
    return runner.invoke(app, [*common, *words], input=stdin)


def test_every_line_of_a_pipe_is_a_turn(runner: CliRunner, instruct_dir: Path) -> None:
    result = chat(runner, instruct_dir, "Hello\n\nAnd now?\n")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("[read ") == 2
    assert "> " not in result.stderr
    both = result.stdout
    assert chat(runner, instruct_dir, "Hello").stdout == both[: len(both) // 2] or both


def test_commands(runner: CliRunner, instruct_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept"
    lines = ["Hello", f"/save {file}", "/reset", f"/load {file}", "/save", "/fly", "/quit", "no"]
    result = chat(runner, instruct_dir, "\n".join(lines))
    assert result.exit_code == 0
    said = result.stderr.splitlines()
    assert [line for line in said if line.startswith(("[save", "[reset", "[load"))] == [
        "[save: 2 messages]",
        "[reset: 0 messages]",
        "[load: 2 messages]",
    ]
    assert "error: '/save' is no command: write /save FILE" in said
    assert any(line.startswith("error: '/fly' is no command: write /reset") for line in said)
    assert result.stderr.count("[read ") == 1


def test_a_missing_file_does_not_end_the_chat(runner: CliRunner, instruct_dir: Path) -> None:
    result = chat(runner, instruct_dir, "/load nowhere\nHello")
    assert result.exit_code == 0
    assert "error: nowhere: No such file or directory" in result.stderr
    assert "[read " in result.stderr


def test_a_model_without_a_template_is_refused(runner: CliRunner, student_dir: Path) -> None:
    result = chat(runner, student_dir, "Hello")
    assert result.exit_code == 2
    assert "has no chat template: chat needs a student of an instruct teacher" in result.stderr


def test_a_teacher_is_refused(runner: CliRunner, teacher_dir: Path) -> None:
    result = chat(runner, teacher_dir, "Hello")
    assert result.exit_code == 2
    assert "is no student" in result.stderr


def test_ctrl_c_ends_the_answer_and_keeps_the_chat(
    runner: CliRunner, instruct_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, calls = Drawer.draw, iter(range(1000))

    def interrupted(drawer: Drawer, logits_V: np.ndarray) -> int:
        if next(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return draw(drawer, logits_V)

    monkeypatch.setattr(Drawer, "draw", interrupted)
    result = chat(runner, instruct_dir, "One\nTwo\n")
    assert result.exit_code == 0
    first, second = (line for line in result.stderr.splitlines() if line.startswith("[read "))
    assert "drew 3" in first
    assert first.endswith("stopped]")
    assert "drew 6" in second
    assert not second.endswith("stopped]")


def test_the_second_ctrl_c_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible() as cancelled:  # noqa: PT012
        assert not cancelled()
        signal.raise_signal(signal.SIGINT)
        assert cancelled()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_person_gets_a_prompt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def typed() -> Iterator[str]:
        yield from (" Hi ", "", "there")

    lines, prompts = typed(), []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", ask)
    assert list(turns(greeting="hello")) == ["Hi", "there"]
    assert prompts == ["> "] * 4
    assert capsys.readouterr().err == "hello\n"


def test_a_loaded_file_of_another_model_is_named(
    runner: CliRunner, instruct_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "kept"
    chat(runner, instruct_dir, f"Hello\n/save {file}")
    header, _, data = file.read_bytes().partition(b"\n")
    magic, _, settings = header.partition(b"{")
    changed = json.loads(b"{" + settings) | {"model": "00000000"}
    file.write_bytes(magic + json.dumps(changed).encode() + b"\n" + data)
    result = chat(runner, instruct_dir, f"/load {file}\nHi")
    assert "is a state of another model" in result.stderr
    assert result.exit_code == 0
