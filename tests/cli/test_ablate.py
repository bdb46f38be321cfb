"""`ablate` from grid to table and plot, with cells that train nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asnn_goose.cli import app
from asnn_goose.cli.ablate import progress_line
from asnn_goose.eval.comparison import Measurement, Protocol
from asnn_goose.eval.copy_probe import CopyTally
from asnn_goose.eval.perplexity import Score
from asnn_goose.eval.texts import Text
from asnn_goose.recipe import load_recipe
from asnn_goose.study import ablation
from asnn_goose.study.ablation import Advance
from asnn_goose.study.cell import Task, failure_of, main
from asnn_goose.study.evaluate import Evaluation
from asnn_goose.study.grid import ScoringTable, load_grid
from asnn_goose.study.request import STUDENT, TEACHER
from asnn_goose.study.scores import read_scores

FAKE = Path(__file__).resolve().parent.parent / "study" / "fake_cell.py"

GRID = """
name = "grid"
base = "{base}"
seeds = [0, 1]
eval = {{ on = ["validation"], tokens = 640, window = 64 }}
cell = [{{ name = "control" }}, {{ name = "higher", set = ["stage.0.lr=0.5"] }}]
"""


@pytest.fixture
def grid_file(tmp_path: Path, recipe_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ablation, "CELL", (sys.executable, str(FAKE)))
    file = tmp_path / "grid.toml"
    file.write_text(GRID.format(base=recipe_file.name))
    return file


def test_from_grid_to_table(runner: CliRunner, grid_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    result = runner.invoke(app, ["ablate", str(grid_file), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "4 runs, 2 at a time" in result.stdout
    assert "[4/4] " in result.stdout
    assert "| higher | `stage.0.lr=0.5` | 2 |" in result.stdout
    table = json.loads((out / "table.json").read_text())
    higher = next(row for row in table["rows"] if row["cell"] == "higher")
    assert higher["difference"]["mean"] == pytest.approx(0.5 - 1e-3)
    assert (out / "table.md").read_text() in result.stdout
    assert (out / "plot.png").stat().st_size > 1000
    assert "<svg" in (out / "plot.svg").read_text()


def test_a_dry_run_starts_nothing(
    runner: CliRunner, grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["ablate", str(grid_file), "--dry-run", "--seed", "1"])
    assert result.exit_code == 0, result.output
    assert "control  1,024 tokens  (control)" in result.stdout
    assert "higher  1,024 tokens  stage.0.lr=0.5" in result.stdout
    assert "2 runs, 2,048 training tokens in all" in result.stdout
    assert not (tmp_path / "runs").exists()


def test_one_failure_costs_one_cell(
    runner: CliRunner, grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "study"
    monkeypatch.setenv("FAKE_FAIL", "higher-seed1")
    result = runner.invoke(app, ["ablate", str(grid_file), "--out", str(out)])
    assert result.exit_code == 1
    assert "higher seed 1  failed: exit code 2: error: training diverged" in result.stdout
    assert "- higher-seed1: exit code 2" in (out / "table.md").read_text()
    assert "| higher | `stage.0.lr=0.5` | 1 |" in result.stdout
    monkeypatch.setenv("FAKE_FAIL", "")
    again = runner.invoke(app, ["ablate", str(grid_file), "--out", str(out), "--resume"])
    assert again.exit_code == 0, again.output
    assert "3 of 4 runs are finished and kept" in again.stdout
    assert "| higher | `stage.0.lr=0.5` | 2 |" in again.stdout


def test_screening_then_more_seeds(runner: CliRunner, grid_file: Path, tmp_path: Path) -> None:
    verb = ["ablate", str(grid_file), "--out", str(tmp_path / "study"), "--workers", "1"]
    assert runner.invoke(app, [*verb, "--seed", "0"]).exit_code == 0
    result = runner.invoke(app, [*verb, "--resume", "--cell", "higher"])
    assert "2 of 4 runs are finished and kept" in result.stdout
    assert "| **control** |  | 2 |" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cell", "highr"], "did you mean 'higher'?"),
        (["--seed", "5"], "seed 5: the grid has 0, 1"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_wrong_options_are_one_message(
    runner: CliRunner, grid_file: Path, words: list[str], said: str
) -> None:
    result = runner.invoke(app, ["ablate", str(grid_file), *words])
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_progress_says_when_all_will_be_done(grid_file: Path) -> None:
    run = next(iter(load_grid(grid_file).runs()))
    advance = Advance(run=run, done=3, total=8, seconds=72.4, eta_s=180.0, failure=None)
    assert progress_line(advance) == "[3/8] control seed 0  finished, 1 min 12 s, 3 min 00 s left"


def test_what_eval_writes_is_what_a_study_reads(tmp_path: Path) -> None:
    found = [
        Measurement(
            text="validation",
            model=role,
            score=Score(nll_sum=nats, tokens=100, bytes=400),
            copying=CopyTally().found(),
            seconds=2.0,
            peak_bytes=1,
        )
        for role, nats in ((TEACHER, 250.0), (STUDENT, 290.0))
    ]
    texts = [Text(name="validation", parts=(("sotu", "validation"),))]
    file = tmp_path / "eval.json"
    Evaluation(
        protocol=Protocol(window=64, limit=1000),
        texts=texts,
        models={TEACHER: "a", STUDENT: "b"},
        measurements=found,
        probes={},
    ).write(file)
    scoring = ScoringTable(on=("validation",), tokens=1000, window=64)
    scores = read_scores(file, scoring=scoring)
    assert scores.log_ratios == {"validation": pytest.approx(0.4)}
    assert scores.teacher == {"validation": (100, 250.0)}


def test_report_of_a_run(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no step" in result.stderr


@pytest.fixture
def task(recipe_file: Path, tmp_path: Path) -> Task:
    (tmp_path / "recipe.toml").write_text(load_recipe(recipe_file).to_toml())
    return Task(
        recipe=tmp_path / "recipe.toml",
        folder=tmp_path / "run",
        scores=tmp_path / "run" / "scores.json",
        outcome=tmp_path / "outcome.json",
        scoring=ScoringTable(on=("validation",), tokens=320, window=32),
    )


def test_a_real_cell_is_trained_and_scored_and_not_trained_twice(
    task: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Task.model_validate_json(task.model_dump_json()) == task
    assert main(task.model_dump_json()) == 0
    assert failure_of(task.outcome) is None
    first = read_scores(task.scores, scoring=task.scoring)
    assert first.teacher["validation"][0] == 320
    assert first.tokens == 1024
    assert (task.folder / "report.html").exists()
    assert "loading the teacher" in capsys.readouterr().out
    assert main(task.model_dump_json()) == 0
    assert "loading the teacher" not in capsys.readouterr().out
    assert read_scores(task.scores, scoring=task.scoring).log_ratios == first.log_ratios


def test_a_cell_that_fails_says_why(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    task.recipe.write_text(task.recipe.read_text().replace('kind = "align"', 'kind = "alin"'))
    assert main(task.model_dump_json()) == 2
    why = failure_of(task.outcome)
    assert why is not None
    assert why.startswith("error: ")
    assert "did you mean 'align'" in why
    assert "Traceback" in capsys.readouterr().err
