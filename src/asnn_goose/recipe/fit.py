"""Whether a recipe's stages fit the student they train: what a stage alone cannot know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from asnn_goose.model import GooseConfig
from asnn_goose.model.parts.precision_table import PrecisionTable
from asnn_goose.places import student_place
from asnn_goose.recipe.recipe_error import RecipeError
from asnn_goose.recipe.run_tables import SCRATCH
from asnn_goose.recipe.schema import Recipe

EPOCHS = 4
"""How often a curriculum may go over its pool before that deserves a word."""


def check_student(recipe: Recipe, config: GooseConfig) -> None:
    """Check all stages against the student's configuration before the first one.

    Raises RecipeError where a window is longer than the learned positions reach, or a stage
    balances the channels of matrices that are ternary by then.
    """
    precision = _start_precision(recipe) if PrecisionTable(config.precision).has_planes else None
    for index, stage in enumerate(recipe.stage):
        if config.n_positions and stage.window > config.n_positions:
            raise RecipeError(
                f"stage.{index}.window = {stage.window}: the student has {config.n_positions} "
                "learned positions"
            )
        if stage.span is not None and stage.span > config.num_hidden_layers:
            raise RecipeError(
                f"stage.{index}.span = {stage.span}: the student has {config.num_hidden_layers} "
                "blocks"
            )
        beyond = [] if stage.replacing is None else stage.replacing.layers
        if max(beyond, default=0) >= config.num_hidden_layers:
            raise RecipeError(
                f"stage.{index}.replacing.layers = {list(beyond)}: the student has "
                f"{config.num_hidden_layers} blocks, counted from 0"
            )
        if stage.balance and PrecisionTable(precision).has_planes:
            raise RecipeError(
                f"stage.{index}.balance = {stage.balance}: the student is ternary before this "
                "stage, and balance would move its codes; balance in the first stage that lowers "
                "a dense student's precision"
            )
        # A recipe's own precision holds from its first stage on; before that the student is what it
        # was saved as.
        if index == 0:
            precision = config.precision
        precision = precision if stage.precision is None else stage.precision
        if stage.freeze is not None and not PrecisionTable(precision).has_planes:
            raise RecipeError(
                f"stage.{index}.freeze: holds codes of ternary weights, and this stage has none"
            )


def repeated_pools(recipe: Recipe) -> Iterator[str]:
    """A warning for every curriculum that goes over its windows again and again."""
    for index, stage in enumerate(recipe.stage):
        if stage.curriculum is None:
            continue
        pool, epochs = stage.curriculum.pool, stage.tokens / stage.curriculum.pool
        if epochs > EPOCHS:
            yield (
                f"stage.{index}.curriculum.pool = {pool}: the stage's {stage.tokens} tokens are "
                f"{epochs:.0f} times the same windows; raise pool to {stage.tokens // EPOCHS}"
            )


def _start_precision(recipe: Recipe) -> Mapping[str, Any] | None:
    """What the student of `student.start` was saved with, before the recipe changes anything."""
    start = recipe.student.start
    if start in (None, SCRATCH):
        return None
    found: Mapping[str, Any] | None = GooseConfig.from_pretrained(student_place(start)).precision
    return found
