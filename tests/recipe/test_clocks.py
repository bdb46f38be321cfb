"""Clocks that stages share: the fall of a precision, and what the phases of a curriculum learn."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from asnn_goose.recipe import build_run, load_recipe
from asnn_goose.recipe.clocks import annealing, phase_clocks
from asnn_goose.recipe.load import check_recipe

FALLING = "stage.{}.precision={{'*'={{planes=1, ternary='arenas'}}}}"
OTHER = "stage.{}.precision={{'*'={{planes=2, ternary='arenas'}}}}"
STUDENT = "student.precision={'*'={planes=1, ternary='arenas'}}"
FIRST, BOTH = "stage.0.tokens=2048", "stage.1.tokens=6144"
WHOLE, OVER, QUARTER, REST = (0.0, 1.0), (1.0, 1.0), (0.0, 0.25), (0.25, 1.0)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ((FALLING.format(0),), [QUARTER, REST]),
        ((FALLING.format(0), FALLING.format(1)), [QUARTER, REST]),
        ((FALLING.format(0), OTHER.format(1)), [WHOLE, WHOLE]),
        ((FALLING.format(1),), [WHOLE, WHOLE]),
        ((STUDENT,), [QUARTER, REST]),
        ((STUDENT, FALLING.format(1)), [QUARTER, REST]),
        ((STUDENT, "student.start=scratch"), [QUARTER, REST]),
        (("student.start=runs/before",), [OVER, OVER]),
        (("student.start=runs/before", FALLING.format(1)), [OVER, WHOLE]),
        (("student.start=runs/before", STUDENT), [QUARTER, REST]),
    ],
)
def test_a_precision_falls_once_over_all_that_is_trained_with_it(
    changed: Callable[..., dict[str, Any]],
    settings: tuple[str, ...],
    wanted: list[tuple[float, float]],
) -> None:
    recipe = check_recipe(changed(FIRST, BOTH, *settings), source="")
    assert [(span.start, span.stop) for span in annealing(recipe, 1)] == wanted


def test_the_phases_of_a_curriculum_share_one_clock(
    changed: Callable[..., dict[str, Any]],
) -> None:
    raw = changed("stage.1.tokens=6400", "stage.1.curriculum.parts=[1, 2, 3, 4]")
    stage = check_recipe(raw, source="").stage[1]
    clocks = [(span.start, span.stop) for span in phase_clocks(stage, 1)]
    assert clocks == [(0.0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0)]


def test_both_arrive_in_the_plan(recipe_file: Path) -> None:
    settings = ("stage.1.tokens=320", "stage.1.curriculum.pool=160", FALLING.format(0))
    first, *phases = build_run(load_recipe(recipe_file, settings), tell=lambda text: None).stages
    assert not first.goes_on
    assert [phase.goes_on for phase in phases] == [False, True, True, True]
    assert phases[0].clock.start == 0
    assert phases[-1].clock.stop == 1
    for before, after in pairwise(phases):
        assert before.clock.stop == after.clock.start
    total = first.tokens + sum(phase.tokens for phase in phases)
    assert first.stage.anneals.stop == pytest.approx(first.tokens / total)
    assert {phase.stage.anneals.start for phase in phases} == {first.stage.anneals.stop}
    assert {phase.stage.anneals.stop for phase in phases} == {1.0}
