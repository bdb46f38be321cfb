"""Epochs of a stage: the same windows so often, in each part of one that slides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asnn_goose.data.again import Again
from asnn_goose.recipe import RecipeError, build_run, load_recipe

SLIDING = (
    "stage.1.kind=slide", "stage.1.span=1", "stage.1.train=blocks",
    "stage.1.losses=[{ name = 'block_output' }]",
)  # fmt: skip
BUDGET = ("stage.1.tokens=192", "stage.1.window=8", "stage.1.batch=2")
"""Twelve batches of two windows."""


def batches(recipe: Path, *settings: str) -> list[list[list[int]]]:
    plan = build_run(load_recipe(recipe, (*BUDGET, *settings)), tell=lambda text: None)
    loader: Any = plan.stages[1].loader
    assert isinstance(loader, Again) == any("epochs" in setting for setting in settings)
    return [loader.next(number / 12).tokens_BT.tolist() for number in range(12)]


def test_a_stage_reads_a_third_of_its_tokens_three_times(one_recipe: Path) -> None:
    once = batches(one_recipe)
    assert batches(one_recipe, "stage.1.epochs=3") == 3 * once[:4]


def test_each_part_reads_the_same_windows(one_recipe: Path) -> None:
    """Two blocks, two parts: six batches each, of which three epochs make two."""
    once = batches(one_recipe)
    assert batches(one_recipe, *SLIDING, "stage.1.epochs=3") == 6 * once[:2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("stage.1.epochs=2", "stage.1.curriculum={ pool = 64 }"), "epochs = 2: of windows"),
        ((*SLIDING, "stage.1.stride=2"), "stride = 2: must be at most the span"),
        (("stage.1.stride=1",), "stride = 1: must be at most the span of a stage slide"),
        (("stage.1.freeze={ still = 0.0 }", "stage.1.curriculum={ pool = 64 }"), "freeze beside"),
        (("stage.1.freeze={}",), "freezes nothing; set still, swinging or both"),
    ],
)
def test_settings_without_effect_are_refused(
    settings: tuple[str, ...], said: str, one_recipe: Path
) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe(one_recipe, settings)


def test_codes_are_held_where_there_are_some(one_recipe: Path) -> None:
    with pytest.raises(RecipeError, match=r"stage\.1\.freeze: holds codes of ternary weights"):
        build_run(load_recipe(one_recipe, ("stage.1.freeze={ still = 0.0 }",)), tell=print)
