from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.format.packed import read_packed


@pytest.mark.parametrize(("form", "kind"), [("int8", np.int8), ("int4", np.uint8)])
def test_a_student_is_packed(
    runner: CliRunner, student_dir: Path, tmp_path: Path, form: str, kind: type
) -> None:
    out = tmp_path / "goose"
    words = ["--out", str(out), "--dense", form, "--low-rank", form, "--head", form]
    done = runner.invoke(app, ["export", str(student_dir), "--to", "packed", *words])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == str(out)
    parts = [line.split()[0] for line in lines[1:]]
    assert parts == ["embedding", "head", "mixer", "low", "mlp", "rest", "together"]
    assert "in fp32" in lines[-1]
    packed = read_packed(out)
    for name in ("blocks.0.mixer.key", "blocks.0.mixer.decay.up", "embedding", "lm_head"):
        assert packed.tensors[f"{name}.weight"].dtype == kind
    assert (out / "tokenizer.json").is_file()


def test_a_run_is_packed_beside_its_model(
    runner: CliRunner, student_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").touch()
    shutil.copytree(student_dir, tmp_path / "model")
    for _ in range(2):  # the second time it is replaced
        done = runner.invoke(app, ["export", str(tmp_path), "--to", "packed"])
        assert done.exit_code == 0, done.output
        assert read_packed(tmp_path / "packed").config["hidden_size"] == 16


def refused(runner: CliRunner, *words: str) -> str:
    done = runner.invoke(app, ["export", *words])
    assert done.exit_code == 2
    assert done.stdout == ""
    return done.stderr


def test_what_is_no_student_is_named(
    runner: CliRunner, teacher_dir: Path, student_dir: Path, tmp_path: Path
) -> None:
    assert "is no student" in refused(runner, str(teacher_dir), "--to", "packed")
    assert "is no student" in refused(runner, str(tmp_path / "none"), "--to", "packed")
    (tmp_path / "recipe.toml").touch()
    assert "has no model/ yet" in refused(runner, str(tmp_path), "--to", "packed")
    bare = tmp_path / "bare"
    shutil.copytree(student_dir, bare)
    (bare / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refused(runner, str(bare), "--to", "packed")


def test_wrong_options_are_named(runner: CliRunner, student_dir: Path, tmp_path: Path) -> None:
    student = str(student_dir)
    assert "'int3'" in refused(runner, student, "--to", "packed", "--dense", "int3")
    assert "'elf'" in refused(runner, student, "--to", "elf")
    assert "--to" in refused(runner, student)
    head = ("--head", "ternary", "--out", str(tmp_path / "x"))
    assert "multiple of 64" in refused(runner, student, "--to", "packed", *head)
    (tmp_path / "own.txt").touch()
    said = refused(runner, student, "--to", "packed", "--out", str(tmp_path))
    assert "is no packed model: choose another folder" in said


@pytest.mark.parametrize("target", ["packed", "compact", "hub-folder", "gguf", "nir"])
def test_what_is_exported_is_not_written_over(
    target: str, runner: CliRunner, student_dir: Path, recipe_file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(student_dir, run / "model", ignore=shutil.ignore_patterns("packed"))
    shutil.copyfile(recipe_file, run / "recipe.toml")
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    there = run / "model" / ("model.safetensors" if target in ("compact", "gguf") else "")
    said = refused(runner, str(run), "--to", target, "--out", str(there))
    assert "choose another" in said
    assert before == {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}


def test_a_packed_model_is_not_packed_again(
    runner: CliRunner, student_dir: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "goose")
    runner.invoke(app, ["export", str(student_dir), "--to", "packed", "--out", out])
    assert "is packed already" in refused(runner, out, "--to", "packed")


def test_a_damaged_student_is_named(runner: CliRunner, student_dir: Path, tmp_path: Path) -> None:
    student = tmp_path / "student"
    shutil.copytree(student_dir, student)
    config = json.loads((student / "config.json").read_text())
    (student / "config.json").write_text(json.dumps(config | {"precision": {"donw": {}}}))
    assert "did you mean 'down'" in refused(runner, str(student), "--to", "packed")


def test_a_run_is_made_a_folder_to_share(
    runner: CliRunner, student_dir: Path, recipe_file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(student_dir, run / "model")
    shutil.copyfile(recipe_file, run / "recipe.toml")
    done = runner.invoke(app, ["export", str(run), "--to", "hub-folder"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == str(run / "hub")
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["not in it"] * 2 + [
        "upload it with"
    ]
    card = (run / "hub" / "README.md").read_text()
    assert "| long.txt | by length | not known to asnn-goose | the maker's own choice |" in card
    assert str(tmp_path) not in card.partition("## Recipe")[0]
    assert (run / "hub" / "packed" / "packed.safetensors").is_file()
    refusal = runner.invoke(app, ["push", str(run / "model"), "me/goose"])
    assert refusal.exit_code == 2
    assert "is no folder to share" in refusal.stderr
