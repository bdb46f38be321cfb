"""`distill`: what a dry run promises, and a whole tiny run from recipe to ratio."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.cli.distill import estimate_lines
from asnn_goose.recipe import Estimate, StageEstimate, estimate, load_recipe
from asnn_goose.train import checkpoint


def test_dry_run_prints_a_recipe_and_trains_nothing(
    runner: CliRunner, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(
        app, ["distill", str(recipe_file), "--dry-run", "--set", "stage.0.tokens=200k"]
    )
    assert result.exit_code == 0, result.output
    resolved = tomllib.loads(result.stdout)
    assert resolved["stage"][0]["tokens"] == 200_000
    assert resolved["stage"][1]["tokens"] == 512
    assert "# parameters: teacher " in result.stdout
    assert "peak memory about" in result.stdout
    assert not (tmp_path / "runs").exists()


def test_machines_that_are_not_here(runner: CliRunner, recipe_file: Path) -> None:
    words = ["distill", str(recipe_file), "--machines", "1x2xL40S"]
    result = runner.invoke(app, [*words, "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "30% of 92 Tflop/s in fp32, exchanges at 32 GB/s" in result.stdout
    assert "# in all, on 1 x 2 L40S, a whole student on each: 0.0 h" in result.stdout
    refused = runner.invoke(app, words)
    assert refused.exit_code == 2
    assert "add --dry-run" in refused.output


def test_estimate_in_words() -> None:
    stage = StageEstimate(
        name="align",
        steps=147,
        tokens=150_528,
        trained=7,
        seconds=605.0,
        memory_bytes=3 * 10**9,
        checkpoint_bytes=10**9,
    )
    found = Estimate(
        teacher=134_515_008, student=5, matrix_flops=9e10, keep=2, stages=(stage, stage)
    )
    assert estimate_lines(found) == [
        "# parameters: teacher 134,515,008, student 5",
        *["# align: 147 steps, 150,528 tokens, 7 parameters train, about 10 min 05 s, 3.0 GB"] * 2,
        "# in all: 301,056 tokens, about 20 min 10 s on this machine (90 Gflop/s),"
        " peak memory about 3.0 GB, disk about 3.0 GB",
    ]


def test_the_estimated_checkpoint_is_the_largest_one_written(
    runner: CliRunner, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "prune", lambda folder, *, keep: None)
    settings = ["train.checkpoint_minutes=0"]
    out = tmp_path / "run"
    verb = ["distill", str(recipe_file), "--out", str(out), "--set", *settings]
    assert runner.invoke(app, verb).exit_code == 0
    tensors = [
        sum(
            tensor.nbytes
            for file in step.glob("*.safetensors")
            for tensor in load_file(file).values()
        )
        for step in checkpoint.steps(out / "checkpoints")
    ]
    found = estimate(load_recipe(recipe_file, settings))
    assert max(stage.checkpoint_bytes for stage in found.stages) == pytest.approx(
        max(tensors), rel=0.1
    )


def test_from_recipe_to_ratio_and_not_twice(
    runner: CliRunner, recipe_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "tiny"
    verb = ["distill", str(recipe_file), "--out", str(out)]
    trained = runner.invoke(app, verb)
    assert trained.exit_code == 0, trained.output
    for part in ("align (1 of 2) 4/4", "distill (2 of 2) 4/4", "trained on 1,024 tokens"):
        assert part in trained.stdout
    assert trained.stdout.splitlines()[-1] == f"next: asnn-goose eval {out}"

    scored = runner.invoke(app, ["eval", str(out)])
    assert scored.exit_code == 0, scored.output
    assert scored.stdout.splitlines()[-1].startswith("ratio ")

    taken = runner.invoke(app, verb)
    assert taken.exit_code == 2
    assert "resume its run" in taken.stderr
    metrics = (out / "metrics.jsonl").read_bytes()
    complete = runner.invoke(app, [*verb, "--resume"])
    assert complete.exit_code == 0, complete.output
    assert "is complete" in complete.stdout
    assert (out / "metrics.jsonl").read_bytes() == metrics


def test_complete_means_this_very_recipe(
    runner: CliRunner, recipe_file: Path, tmp_path: Path
) -> None:
    verb = ["distill", str(recipe_file), "--out", str(tmp_path / "run"), "--quiet"]
    assert runner.invoke(app, verb).exit_code == 0
    other = runner.invoke(app, [*verb, "--resume", "--set", "stage.1.lr=3e-4"])
    assert other.exit_code == 2
    assert "stage.1.lr" in other.stderr


def test_quiet(runner: CliRunner, recipe_file: Path, tmp_path: Path) -> None:
    verb = ["distill", str(recipe_file), "--out", str(tmp_path / "run"), "--quiet"]
    result = runner.invoke(app, verb)
    assert result.exit_code == 0
    assert "tokens/s  " not in result.stdout
    assert "saved " in result.stdout


@pytest.mark.parametrize(
    ("setting", "said"),
    [("stage.0.tokenz=5", "tokens"), ("stage.0.tokens", "place=value"), ("seed=x", "seed")],
)
def test_wrong_settings_are_one_message(
    runner: CliRunner, recipe_file: Path, setting: str, said: str
) -> None:
    result = runner.invoke(app, ["distill", str(recipe_file), "--set", setting])
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_missing_recipe_is_one_message(runner: CliRunner) -> None:
    result = runner.invoke(app, ["distill", "no/such.toml"])
    assert result.exit_code == 2
    assert result.stderr == "error: no/such.toml: No such file or directory\n"
