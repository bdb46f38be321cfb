"""`eval --tasks`: student beside teacher on items of files, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from asnn_goose.cli import app


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """Ten items of two tasks."""
    folder = tmp_path / "items"
    folder.mkdir()
    for file, item in (
        ("copa.jsonl", {"query": "It rained, therefore", "choices": ["it was wet.", "no."]}),
        ("lambada_openai.jsonl", {"context": "The goose", "continuation": "flew"}),
    ):
        rows = [item | {"gold": n % 2} for n in range(10)]
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def asked(runner: CliRunner, file: Path, *words: object) -> tuple[str, dict[str, Any]]:
    result = runner.invoke(app, ["eval", *map(str, words), "--json", str(file)])
    assert result.exit_code == 0, result.output
    return result.stdout, json.loads(file.read_text())


def test_a_student_beside_itself_on_the_engine(
    runner: CliRunner, student_dir: Path, items: Path, text_file: Path, tmp_path: Path
) -> None:
    said, found = asked(
        runner,
        tmp_path / "new" / "tasks.json",
        student_dir,
        *("--teacher", student_dir, "--task-data", items, "--limit", "5", "--on", text_file),
        *("--tasks", "copa,lambada_openai", "--tasks", "generation"),
    )
    student, teacher = found["tasks"]["student"], found["tasks"]["teacher"]
    assert student["copa"]["item"] == teacher["copa"]["item"] == [1, 3, 5, 7, 9]
    assert student["copa"]["item_answer"] == teacher["copa"]["item_answer"]
    assert student["copa"]["chance"] == 0.5
    assert found["relative"]["lambada_openai"] is None or (
        found["relative"]["lambada_openai"]["same"] == 1.0
    )
    assert found["agreement"]["whole"] > 0.8  # packed in fp16, a tie may fall the other way
    assert set(found["samples"][0]) == {"prompt", "student", "teacher"}
    assert "lambada_openai" in said
    assert "of the continuations to the end" in said


def test_a_teacher_alone_in_pytorch(
    runner: CliRunner, teacher_dir: Path, items: Path, tmp_path: Path
) -> None:
    said, found = asked(
        runner, tmp_path / "t.json", teacher_dir, "--tasks", "copa", "--task-data", items
    )
    assert list(found["tasks"]) == ["model"]
    assert found["relative"] == {}
    assert found["tasks"]["model"]["copa"]["items"] == 10
    assert "relative" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tasks", "cpoa"], "did you mean 'copa'"),
        (["--tasks", "piqa"], "piqa.jsonl is not there"),
        (["--tasks", "instructions"], "no chat template"),
        (["--tasks", "copa", "--window", "32"], "--window 32: no use with --tasks"),
        (["--tasks", "copa", "--engine", "fast"], "engine"),
        (["--on", "austen"], "--task-data"),
    ],
)
def test_wrong_options_are_one_message(
    runner: CliRunner, teacher_dir: Path, items: Path, words: list[str], said: str
) -> None:
    result = runner.invoke(app, ["eval", str(teacher_dir), *words, "--task-data", str(items)])
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
