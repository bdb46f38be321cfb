from __future__ import annotations

from pathlib import Path

import pytest

from asnn_goose.study.grid import GridError, load_grid

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
GRIDS = sorted(RECIPES.glob("ablations/*.toml"))


def edited(file: Path, old: str, new: str) -> Path:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


def test_a_cell_is_the_base_and_its_changes(grid_file: Path) -> None:
    grid = load_grid(grid_file)
    assert [cell.name for cell in grid.cells] == ["fast", "control", "slow"]
    assert [cell.recipe.stage[0].lr for cell in grid.cells] == [0.3, 0.2, 0.1]
    assert grid.control.name == "control"
    assert all(cell.recipe.train.threads == 1 for cell in grid.cells)
    assert grid.scoring.tokens == 1000


def test_runs_go_seed_by_seed_with_the_control_first(grid_file: Path) -> None:
    runs = list(load_grid(grid_file).runs())
    assert [run.name for run in runs[:3]] == ["control-seed0", "fast-seed0", "slow-seed0"]
    assert [run.seed for run in runs] == [0, 0, 0, 1, 1, 1]
    assert [run.recipe.seed for run in runs] == [0, 0, 0, 1, 1, 1]
    assert runs[0].recipe.name == "control-seed0"


def test_runs_can_be_narrowed_but_keep_the_control(grid_file: Path) -> None:
    grid = load_grid(grid_file)
    assert [run.name for run in grid.runs(cells=["slow"], seeds=[1])] == [
        "control-seed1",
        "slow-seed1",
    ]
    with pytest.raises(GridError, match="no cell 'slo'; did you mean 'slow'"):
        list(grid.runs(cells=["slo"]))
    with pytest.raises(GridError, match="seed 7: the grid has 0, 1"):
        list(grid.runs(seeds=[7]))


def test_unequal_tokens_are_refused_unless_the_cell_says_so(grid_file: Path) -> None:
    edited(grid_file, "stage.0.lr=0.1", "stage.0.tokens=2k")
    with pytest.raises(GridError, match="'slow' trains on 2,000 tokens and the control on 1,000"):
        load_grid(grid_file)
    edited(grid_file, 'tokens=2k"]', 'tokens=2k"]\nequal_tokens = false')
    assert load_grid(grid_file).cells[2].tokens == 2000


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("seeds = [0, 1]", "seeds = [0, 0]", ["seed 0 comes twice"]),
        ("seeds = [0, 1]", "seeds = []", ["seeds = []"]),
        ('name = "slow"', 'name = "fast"', ["cell fast comes twice"]),
        ('name = "slow"', 'name = "a/b"', ["cell.2.name = 'a/b'"]),
        ('set = ["stage.0.lr=0.1"]', "", ["control, slow", "wanted one"]),
        ('name = "control"', 'name = "c"\nset = ["train.clip=0.5"]', ["none", "wanted one"]),
        ("stage.0.lr=0.1", "stage.0.lrr=0.1", ["'slow'", "lrr", "'lr'"]),
        ("stage.0.lr=0.1", "seed=3", ["'slow'", "seed=3", "the grid's own"]),
        ("stage.0.lr=0.1", "stage.7.lr=0.1", ["'slow'", "'7'"]),
        ("window = 64", "windw = 64", ["eval.windw", "'window'"]),
        ("seeds =", "sedes =", ["sedes", "seeds: missing"]),
        ("set = [", "sett = [", ["cell.0.sett", "'set'"]),
        ("window = 64", "window = ", ["not readable as TOML"]),
    ],
)
def test_errors_name_place_value_and_what_is_right(
    grid_file: Path, old: str, new: str, parts: list[str]
) -> None:
    with pytest.raises(GridError) as wrong:
        load_grid(edited(grid_file, old, new))
    for part in parts:
        assert part in str(wrong.value)


def test_a_missing_base_is_named(grid_file: Path) -> None:
    with pytest.raises(OSError, match=r"nowhere\.toml"):
        load_grid(edited(grid_file, "base.toml", "nowhere.toml"))


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_grids_of_the_project_are_valid(path: Path) -> None:
    grid = load_grid(path)
    assert grid.name == path.stem
    # A change that changes nothing would be a second control under another name.
    same = [c.name for c in grid.cells if c.recipe == grid.control.recipe]
    assert same == [grid.control.name]


def test_the_dense_grid_has_twenty_changes() -> None:
    assert len(load_grid(RECIPES / "ablations" / "dense.toml").cells) > 20
