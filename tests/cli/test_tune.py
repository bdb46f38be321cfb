"""`teacher tune`: from a teacher to a tuned one that `eval` scores beside it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asnn_goose.cli import app


@pytest.fixture
def verb(teacher_dir: Path, long_text_file: Path, tmp_path: Path) -> list[str]:
    settings = ["--tokens", "1k", "--window", "64", "--lr", "1e-2", "--text", str(long_text_file)]
    return ["teacher", "tune", str(teacher_dir), *settings, "--out", str(tmp_path / "run")]


def refusal(runner: CliRunner, *words: str) -> str:
    result = runner.invoke(app, [*words])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr


def test_from_a_teacher_to_its_ratio(
    runner: CliRunner, verb: list[str], teacher_dir: Path, long_text_file: Path, tmp_path: Path
) -> None:
    tuned = runner.invoke(app, verb)
    assert tuned.exit_code == 0, tuned.output
    assert "pretrain (1 of 1) 16/16" in tuned.stdout
    model = tmp_path / "run" / "model"
    last = tuned.stdout.splitlines()[-1]
    assert last == f"next: asnn-goose eval {model} --teacher {teacher_dir}"
    words = ["--on", str(long_text_file), "--tokens", "1k", "--window", "64"]
    scored = runner.invoke(app, [*last.split()[2:], *words])
    assert scored.exit_code == 0, scored.output
    assert float(scored.stdout.split()[-1]) < 0.9  # below the teacher it was made of
    record = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())["tuned_teacher"]
    assert record["model"] == str(teacher_dir)
    assert (record["tokens"], record["seed"], record["lr"]) == (1000, 0, 0.01)


def test_a_run_folder_points_to_its_teacher(
    runner: CliRunner, verb: list[str], tmp_path: Path
) -> None:
    assert runner.invoke(app, [*verb, "--quiet"]).exit_code == 0
    run = tmp_path / "run"
    for words in (["eval", str(run)], ["generate", str(run), "Hi"]):
        assert f"trained a teacher: give {run / 'model'}" in refusal(runner, *words)
    assert "resume its run" in refusal(runner, *verb)
    resumed = runner.invoke(app, [*verb, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert "resumed from" in resumed.stdout
    assert "window was 64" in refusal(runner, *verb, "--resume", "--window", "32")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tokens", "10"], "tokens = 10: must be above 64, one step's"),
        (["--lr", "0"], "lr = 0.0: must be above 0"),
        (["--text", "sotuu"], "did you mean 'sotu'"),
        (["--text", "no/such.txt"], "no/such.txt"),
        (["--window", "900k", "--tokens", "1M"], "needs 900001: shorten the window"),
        (["--precision", "fp16"], "'fp16'"),
    ],
)
def test_bad_input_is_one_message(
    runner: CliRunner, verb: list[str], words: list[str], said: str, tmp_path: Path
) -> None:
    assert said in refusal(runner, *verb, *words)
    assert not (tmp_path / "run").exists()


def test_a_student_is_no_teacher_to_tune(runner: CliRunner, student_dir: Path) -> None:
    said = refusal(runner, "teacher", "tune", str(student_dir))
    assert "family 'asnn_goose', which is not supported" in said
