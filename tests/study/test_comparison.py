from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from asnn_goose.study.comparison import Row, as_json, comparable, compare, markdown
from asnn_goose.study.grid import Grid, load_grid
from asnn_goose.study.plot import draw, half_width, points
from asnn_goose.study.scores import Scores


@pytest.fixture
def grid(grid_file: Path) -> Grid:
    return load_grid(grid_file)


def scores(cell: str, seed: int, value: float, *, teacher: float = 250.0) -> Scores:
    return Scores(
        cell=cell,
        seed=seed,
        log_ratios={"validation": value, "austen": 2 * value},
        teacher={"validation": (100, teacher), "austen": (50, teacher)},
        tokens=1000,
        tokens_per_s=200.0 + seed,
    )


FOUND = [
    scores("control", 0, 0.40),
    scores("control", 1, 0.50),
    scores("control", 2, 0.90),
    scores("slow", 0, 0.30),
    scores("slow", 1, 0.42),
    scores("fast", 0, 0.60),
]


def row_of(rows: list[Row], cell: str, text: str = "validation") -> Row:
    return next(row for row in rows if (row.cell, row.text) == (cell, text))


def test_differences_are_paired_by_seed(grid: Grid) -> None:
    slow = row_of(compare(grid, FOUND), "slow")
    assert slow.mean == pytest.approx(0.36)
    assert slow.spread == pytest.approx(0.06 * math.sqrt(2))
    assert slow.difference is not None
    # Seed 2, which only the control has, takes no part.
    assert slow.difference.pairs == 2
    assert slow.difference.mean == pytest.approx(-0.09)
    assert slow.difference.error == pytest.approx(0.01)
    assert slow.difference.p == pytest.approx(1 - 2 / math.pi * math.atan(9))
    assert slow.tokens_per_s == 200.5


def test_best_first_and_the_control_differs_from_nothing(grid: Grid) -> None:
    # By difference: the control's mean is pulled up by a seed that fast has not.
    rows = compare(grid, [*FOUND[:5], scores("fast", 0, 0.45)])
    assert [row.cell for row in rows] == ["slow", "control", "fast"] * 2
    assert row_of(rows, "control").difference is None
    assert row_of(rows, "fast").mean < row_of(rows, "control").mean
    assert row_of(rows, "slow", "austen").mean == pytest.approx(0.72)


def test_more_cells_make_a_p_count_for_less(grid: Grid) -> None:
    found = [scores("fast", seed, 0.61 + 0.2 * seed) for seed in (0, 1)]
    rows = [row for row in compare(grid, [*FOUND[:5], *found]) if row.text == "validation"]
    p = [row.difference.p for row in rows if row.difference]
    assert len(p) == 2
    assert max(row.q for row in rows if row.difference) == pytest.approx(max(p))
    low = min((row for row in rows if row.difference), key=lambda row: row.difference.p)
    assert low.difference.p < low.q <= 2 * low.difference.p
    alone = row_of(compare(grid, FOUND), "slow")
    assert alone.difference is not None
    assert alone.q == alone.difference.p


def test_cells_without_runs_are_left_out(grid: Grid) -> None:
    assert [row.cell for row in compare(grid, FOUND[3:4])] == ["slow", "slow"]
    assert compare(grid, FOUND[3:4])[0].difference is None
    assert compare(grid, []) == []


def test_other_windows_or_teachers_are_left_out_with_a_reason(grid: Grid) -> None:
    other = scores("slow", 1, 0.1, teacher=251.0)
    kept, refused = comparable(grid, [other, *FOUND[:3]])
    assert [one.cell for one in kept] == ["control"] * 3
    assert set(refused) == {"slow-seed1"}
    assert "251.00" in refused["slow-seed1"]
    fewer = replace(FOUND[3], teacher={"validation": (99, 250.0)})
    assert list(comparable(grid, [*FOUND[:3], fewer])[1]) == ["slow-seed0"]
    assert comparable(grid, []) == ([], {})


def test_markdown(grid: Grid) -> None:
    text = markdown(grid, compare(grid, FOUND), {"fast-seed1": "exit code 2: error: no"})
    assert "| slow | `stage.0.lr=0.1` | 2 | 1.433 | 0.3600 | 0.0849 | -0.0900 ± 0.0100 |" in text
    assert "| **control** |  | 3 | 1.822 | 0.6000 | 0.2646 |  |  |  | 201 |" in text
    # One seed: a difference, but neither spread, error nor p.
    assert "| fast | `stage.0.lr=0.3` | 1 | 1.822 | 0.6000 |  | +0.2000 |  |  | 200 |" in text
    assert text.index("## validation") < text.index("## austen") < text.index("## Failed")
    assert "- fast-seed1: exit code 2: error: no" in text
    assert "corrected for the number of cells" in text


def test_pipes_do_not_break_the_table(grid: Grid) -> None:
    row = replace(compare(grid, FOUND)[0], changes=("name=a|b",))
    line = next(x for x in markdown(grid, [row], {}).splitlines() if x.startswith("| slow"))
    assert line.replace("\\|", "").count("|") == 11


def test_json_has_everything_and_null_for_what_is_not_known(grid: Grid) -> None:
    found = json.loads(as_json(grid, compare(grid, FOUND), {"a": "b"}))
    assert found["control"] == "control"
    assert found["failures"] == {"a": "b"}
    assert found["tokens"] == {"fast": 1000, "control": 1000, "slow": 1000}
    fast = next(row for row in found["rows"] if row["cell"] == "fast")
    assert fast["by_seed"] == {"0": 0.60}
    assert fast["spread"] is None
    assert fast["difference"]["p"] is None
    assert fast["difference"]["mean"] == pytest.approx(0.2)


def test_dots_are_differences_to_the_control_with_the_same_seed(grid: Grid) -> None:
    rows = compare(grid, FOUND)
    control = row_of(rows, "control")
    assert points(row_of(rows, "slow"), control) == pytest.approx([-0.10, -0.08])
    assert half_width(row_of(rows, "slow")) == pytest.approx(12.7062 * 0.01, rel=1e-4)
    # One seed: a dot without an interval, not moved by the seeds that only the control has.
    assert points(row_of(rows, "fast"), control) == pytest.approx([0.2])
    assert half_width(row_of(rows, "fast")) == 0.0
    assert points(control, control) == [0.0, 0.0, 0.0]
    assert half_width(control) == 0.0
    assert points(row_of(rows, "slow"), None) == [0.30, 0.42]


def test_plots_are_drawn(grid: Grid, tmp_path: Path) -> None:
    files = [tmp_path / "plot.svg", tmp_path / "plot.png"]
    draw(compare(grid, FOUND), files)
    svg = files[0].read_text()
    assert svg.startswith("<?xml")
    assert files[1].read_bytes().startswith(b"\x89PNG")
    draw(compare(grid, FOUND), files[:1])
    assert files[0].read_text() == svg
