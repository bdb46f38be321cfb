"""A study whose cells train nothing: what is kept, retried, refused."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from asnn_goose.study.ablation import (
    Advance,
    Study,
    StudyError,
    StudyInterrupted,
)
from asnn_goose.study.grid import load_grid


class Bench:
    """A study and what it told."""

    def __init__(self, grid_file: Path, cell: tuple[str, ...]) -> None:
        self.grid_file, self.cell = grid_file, cell
        self.out = grid_file.parent / "study"

    def go(self, *, resume: bool = False, cells: tuple[str, ...] = ("slow",)) -> list[Advance]:
        grid = load_grid(self.grid_file)
        told: list[Advance] = []
        self.study = Study(
            grid=grid,
            out=self.out,
            cell=self.cell,
            tell=lambda text: None,
            on_run=told.append,
        )
        self.study.carry_out(list(grid.runs(cells=cells, seeds=[0])), resume=resume)
        return told


@pytest.fixture
def bench(grid_file: Path, fake_cell: tuple[str, ...]) -> Bench:
    return Bench(grid_file, fake_cell)


def test_every_run_is_trained_and_scored(bench: Bench) -> None:
    told = bench.go()
    assert sorted(one.run.name for one in told) == ["control-seed0", "slow-seed0"]
    assert [(one.done, one.total, one.failure) for one in told] == [(1, 2, None), (2, 2, None)]
    assert told[1].eta_s == 0 < told[0].eta_s
    scores, unusable = bench.study.results()
    assert unusable == {}
    found = {one.cell: one.log_ratios for one in scores}
    assert found["control"] == pytest.approx({"validation": 0.4, "austen": 0.4})
    assert found["slow"] == pytest.approx({"validation": 0.3, "austen": 0.3})
    assert {one.tokens_per_s for one in scores} == {250.0}
    assert (bench.out / "logs" / "slow-seed0.log").read_text() == "began 1\n"


def test_models_go_once_scored_unless_they_are_to_be_kept(bench: Bench) -> None:
    bench.go(cells=("slow",))
    run = bench.out / "runs" / "slow-seed0"
    assert {entry.name for entry in run.iterdir()} == {"recipe.toml", "metrics.jsonl", "eval.json"}
    text = bench.grid_file.read_text()
    bench.grid_file.write_text(text.replace("base =", "keep_models = true\nbase ="))
    bench.go(cells=("fast",), resume=True)
    assert (bench.out / "runs" / "fast-seed0" / "model").is_dir()


def test_a_failed_run_is_told_and_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "slow-seed0")
    failures = {one.run.name: one.failure for one in bench.go()}
    assert failures == {
        "control-seed0": None,
        "slow-seed0": "exit code 2: error: training diverged",
    }
    monkeypatch.setenv("FAKE_FAIL", "")
    assert [one.run.name for one in bench.go(resume=True)] == ["slow-seed0"]
    assert len(bench.study.results()[0]) == 2
    assert "resumed 1" in (bench.out / "logs" / "slow-seed0.log").read_text()


def test_a_run_that_writes_no_scores_has_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.cell = (*bench.cell[:1], "-c", "print('nothing to do')")
    assert all("No such file" in str(one.failure) for one in bench.go())


def test_a_taken_folder_is_refused(bench: Bench) -> None:
    bench.go()
    with pytest.raises(StudyError, match="resume it"):
        bench.go()


def test_another_recipe_is_not_taken_for_the_same_cell(bench: Bench) -> None:
    bench.go()
    text = bench.grid_file.read_text()
    bench.grid_file.write_text(text.replace("lr=0.1", "lr=0.15"))
    with pytest.raises(StudyError, match="'slow' was begun with another recipe"):
        bench.go(resume=True)


def test_other_scoring_is_not_taken_for_the_same(bench: Bench) -> None:
    bench.go()
    text = bench.grid_file.read_text()
    bench.grid_file.write_text(text.replace("window = 64", "window = 32"))
    with pytest.raises(StudyError, match="window 64, the grid says 32"):
        bench.go(resume=True)
    assert all("window 64" in reason for reason in bench.study.results()[1].values())


def test_broken_scores_are_named(bench: Bench) -> None:
    bench.go()
    (bench.out / "runs" / "slow-seed0" / "eval.json").write_text('{"protocol": {}')
    with pytest.raises(StudyError, match="is not what eval writes"):
        bench.go(resume=True)


def test_scores_that_are_not_finite_are_refused(bench: Bench) -> None:
    bench.go()
    file = bench.out / "runs" / "slow-seed0" / "eval.json"
    content: Any = json.loads(file.read_text())
    content["measurements"][1]["score"]["nll_sum"] = float("nan")
    file.write_text(json.dumps(content))
    with pytest.raises(StudyError, match="not finite"):
        bench.go(resume=True)


def test_a_signal_stops_it_and_resume_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLEEP", "60")

    def stop() -> None:
        while not list(bench.out.glob("runs/*/recipe.toml")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(StudyInterrupted) as stopped:
        bench.go()
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    monkeypatch.setenv("FAKE_SLEEP", "0")
    assert len(bench.go(resume=True)) == 2


def test_a_cell_that_leaves_no_word_was_ended_from_outside(bench: Bench) -> None:
    bench.cell = (*bench.cell[:1], "-c", "import os; os.kill(os.getpid(), 9)")
    assert {one.failure for one in bench.go()} == {"exit code -9: it was ended from outside"}


def test_an_earlier_outcome_is_not_taken_for_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "slow-seed0")
    bench.go()
    bench.cell = (*bench.cell[:1], "-c", "import os; os.kill(os.getpid(), 9)")
    assert [one.failure for one in bench.go(resume=True)] == [
        "exit code -9: it was ended from outside"
    ]
