"""Which part of which clock a stage covers: none of them ever runs backwards in a run."""

from __future__ import annotations

from itertools import groupby

from asnn_goose.recipe.run_tables import SCRATCH
from asnn_goose.recipe.schema import Recipe
from asnn_goose.recipe.stage_schema import StageTable
from asnn_goose.train.span import OVER, Span, spans


def phase_clocks(stage: StageTable, processes: int) -> list[Span]:
    """The clock of a stage's losses, over the phases that its curriculum makes of it."""
    return spans([_tokens(table, processes) for table, _ in stage.phases()])


def annealing(recipe: Recipe, processes: int) -> list[Span]:
    """For each stage its part of the fall of the student's precision.

    A precision falls over all tokens that are trained with it: from the stage that sets it to the
    last one before another is set. One that a student came with has fallen.
    """
    found: list[Span] = []
    numbers = _settings(recipe)
    for number, group in groupby(zip(numbers, recipe.stage, strict=True), key=lambda x: x[0]):
        lengths = [sum(_tokens(t, processes) for t, _ in stage.phases()) for _, stage in group]
        came = number == 0 and "precision" not in recipe.student.overrides()
        found += [OVER] * len(lengths) if came and _goes_on(recipe) else spans(lengths)
    return found


def _settings(recipe: Recipe) -> list[int]:
    """How often the precision has been changed when each stage begins."""
    numbers, number = [], 0
    precision = recipe.student.overrides().get("precision")
    for stage in recipe.stage:
        if stage.precision is not None and stage.precision != precision:
            number, precision = number + 1, stage.precision
        numbers.append(number)
    return numbers


def _goes_on(recipe: Recipe) -> bool:
    """Whether the student comes from an earlier run."""
    return recipe.student.start not in (None, SCRATCH)


def _tokens(table: StageTable, processes: int) -> int:
    return table.steps(processes) * table.tokens_per_step(processes)
