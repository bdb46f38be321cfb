"""Every verb finds out before its work whether its output can be written, and shows its results."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.eval.texts import text_named
from asnn_goose.model import GooseForCausalLM

NOWHERE = "/proc/none/out"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of models that were loaded, which takes the time that is to be spared."""
    found: list[str] = []

    def refuse(kind: Any, folder: Any, **_: Any) -> Any:
        found.append(str(folder))
        raise AssertionError("loaded before the output was checked")

    for module in ("assistant", "teacher"):
        monkeypatch.setattr(f"asnn_goose.model.{module}.load_weights", refuse)
    return found


@pytest.mark.parametrize(
    "words",
    [
        ("eval", "{student}", "--on", "{text}", "--json", NOWHERE),
        ("export", "{student}", "--to", "packed", "--out", NOWHERE),
        ("export", "{student}", "--to", "compact", "--out", NOWHERE),
        ("sensitivity", "{student}", "--planes", "1", "--on", "{text}", "--out", NOWHERE),
        ("distill", "{recipe}", "--out", NOWHERE),
        ("teacher", "write", "{teacher}", "--tokens", "1k", "--out", NOWHERE + ".jsonl"),
        ("teacher", "tune", "{teacher}", "--out", NOWHERE),
        ("bench", "{student}", "--json", NOWHERE),
    ],
)
def test_a_place_that_cannot_be_written_is_named_first(
    words: tuple[str, ...],
    runner: CliRunner,
    student_dir: Path,
    teacher_dir: Path,
    text_file: Path,
    recipe_file: Path,
    loads: list[str],
) -> None:
    places = {
        "student": student_dir,
        "teacher": teacher_dir,
        "text": text_file,
        "recipe": recipe_file,
    }
    result = runner.invoke(app, [word.format(**places) for word in words])
    assert result.exit_code == 2, result.output
    assert "/proc" in result.stderr
    assert not loads


def test_results_are_shown_where_they_cannot_be_saved(
    runner: CliRunner, student_dir: Path, text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "scores.json")

    monkeypatch.setattr("asnn_goose.study.evaluate.Evaluation.write", full)
    words = ["eval", str(student_dir), "--on", str(text_file), "--json", "scores.json"]
    result = runner.invoke(app, words)
    assert result.exit_code == 2
    assert "bits/byte" in result.stdout
    assert "scores.json: No space left on device" in result.stderr


def test_a_student_in_a_folder_that_cannot_be_written_is_told_of_export(
    runner: CliRunner, student_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = shutil.copytree(student_dir, tmp_path / "s", ignore=shutil.ignore_patterns("packed"))

    def refused(path: Path) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("asnn_goose.disk.check_folder", refused)
    result = runner.invoke(app, ["generate", str(student), "Hi"])
    assert result.exit_code == 2
    assert "Read-only file system" in result.stderr
    assert "in packed form to another folder" in result.stderr


def test_a_model_without_a_number_is_no_success(
    runner: CliRunner, student_dir: Path, text_file: Path, tmp_path: Path
) -> None:
    """Finite weights whose product is not."""
    model = GooseForCausalLM.from_pretrained(student_dir)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3e38)
    model.save_pretrained(tmp_path / "s")
    for file in student_dir.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "s")
    words = ["eval", str(tmp_path / "s"), "--on", str(text_file), "--json", str(tmp_path / "j")]
    result = runner.invoke(app, words)
    assert result.exit_code == 2
    assert "its weights have diverged" in result.stderr
    found = json.loads((tmp_path / "j").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert found["measurements"][0]["perplexity"] is None


def test_a_text_that_was_trained_on_is_known_by_its_content(
    runner: CliRunner,
    recipe_file: Path,
    long_text_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A relative path in the recipe; eval from elsewhere, of the file, a copy and a link."""
    recipe = recipe_file.read_text().replace(str(long_text_file), f"./{long_text_file.name}")
    recipe_file.write_text(recipe)
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    assert runner.invoke(app, ["distill", str(recipe_file), "--out", str(run)]).exit_code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    copy, link = tmp_path / "copy.txt", tmp_path / "link.txt"
    shutil.copy(long_text_file, copy)
    link.symlink_to(long_text_file)
    (tmp_path / "other.txt").write_text(long_text_file.read_text() + "more")
    for model in (run, run / "model"):
        words = ["eval", str(model), "--tokens", "200"]
        for file in (long_text_file, copy, link):
            result = runner.invoke(app, [*words, "--on", str(file)])
            assert f"test split of {file}" in result.stdout, result.output
        result = runner.invoke(app, [*words, "--on", str(tmp_path / "other.txt")])
        assert "all of" in result.stdout


def test_names_of_texts_know_content(long_text_file: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(long_text_file, tmp_path / "copy.txt"))
    found = text_named(str(copy), trained_on=[str(long_text_file)])
    assert found.parts == ((str(copy), "test"),)


Run = Callable[..., Any]


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "{student}", "Hi", "--seed", "-1"),
        ("generate", "{student}", "Hi", "--threads", "100000"),
        ("teacher", "tune", "{teacher}", "--seed", "4294967296"),
        ("distill", "{recipe}", "--dry-run", "--set", "seed=4294967296"),
        ("distill", "{recipe}", "--dry-run", "--set", "stage.0.seed=4294967296"),
        ("distill", "{recipe}", "--dry-run", "--set", "train.threads=100000"),
    ],
)
def test_numbers_beyond_what_works_are_refused(
    words: tuple[str, ...],
    runner: CliRunner,
    student_dir: Path,
    teacher_dir: Path,
    recipe_file: Path,
) -> None:
    places = {"student": student_dir, "teacher": teacher_dir, "recipe": recipe_file}
    result = runner.invoke(app, [word.format(**places) for word in words])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output


def test_a_large_seed_trains(runner: CliRunner, recipe_file: Path, tmp_path: Path) -> None:
    words = ["distill", str(recipe_file), "--out", str(tmp_path / "r"), "--set", "seed=4294968"]
    result = runner.invoke(app, words)
    assert result.exit_code == 0, result.output
