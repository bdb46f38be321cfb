"""What is refused because the stages do not fit the student."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asnn_goose.model import GooseConfig
from asnn_goose.recipe import RecipeError, build_run, estimate, load_recipe
from asnn_goose.recipe.fit import check_student
from asnn_goose.recipe.load import check_recipe

PLANE: dict[str, Any] = {"*": {"planes": 1}}
"""A precision with ternary weights."""


def test_windows_beyond_the_positions_are_refused(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    check_student(recipe, GooseConfig(n_positions=16))
    with pytest.raises(RecipeError, match=r"stage.1.window = 16: the student has 12 learned"):
        check_student(recipe, GooseConfig(n_positions=12))


def check(
    changed: Callable[..., dict[str, Any]], *settings: str, precision: dict[str, Any] | None = None
) -> None:
    """Check the shortest recipe with settings against a student of that precision."""
    recipe = check_recipe(changed(*settings), source="a.toml")
    check_student(recipe, GooseConfig(precision=precision))


@pytest.mark.parametrize(
    "settings",
    [
        ["stage.0.balance=1k", "stage.0.precision.*.planes=1"],
        ["stage.0.precision.*.steps=1", "stage.1.balance=1k", "stage.1.precision.*.planes=1"],
    ],
)
def test_a_dense_student_may_be_balanced_whatever_it_becomes(
    changed: Callable[..., dict[str, Any]], settings: list[str]
) -> None:
    check(changed, *settings)


def test_a_converted_student_may_be_balanced_though_it_is_ternary_at_once(
    changed: Callable[..., dict[str, Any]],
) -> None:
    check(changed, "stage.0.balance=1k", precision=PLANE)


@pytest.mark.parametrize("stage", ["stage.0.precision.*.planes=1", "student.precision.*.planes=1"])
def test_balance_after_a_ternary_stage_is_refused(
    changed: Callable[..., dict[str, Any]], stage: str
) -> None:
    with pytest.raises(RecipeError, match=r"stage\.1\.balance = 1000: the student is ternary"):
        check(changed, stage, "stage.1.balance=1k", precision=PLANE)


def test_a_ternary_start_is_not_balanced(
    recipe_file: Path, tmp_path: Path, carry_out: Callable[..., None]
) -> None:
    ternary, dense = tmp_path / "ternary", tmp_path / "dense"
    carry_out(recipe_file, dense)
    carry_out(recipe_file, ternary, "stage.1.precision.*.planes=1")
    lower = ("stage.0.balance=16", "stage.0.precision.*.planes=1", "stage.0.precision.*.steps=1")
    goes_on = load_recipe(recipe_file, (f"student.start={dense}", *lower))
    assert build_run(goes_on, tell=lambda text: None).stages[0].starts.balance == 16
    dense_again = (f"student.start={ternary}", "student.precision.*.planes=0", *lower)
    estimate(load_recipe(recipe_file, dense_again))
    wrong = load_recipe(recipe_file, (f"student.start={ternary}", *lower))
    for refuses in (estimate, lambda recipe: build_run(recipe, tell=lambda text: None)):
        with pytest.raises(RecipeError, match=r"stage\.0\.balance = 16: the student is ternary"):
            refuses(wrong)
