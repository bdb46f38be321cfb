"""DHKD's projection: on plain tensors, and in the steps of a stage."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asnn_goose.losses import Objective, Term, VocabLoss
from asnn_goose.losses.cross_entropy import CrossEntropy
from asnn_goose.losses.kinds import Chunk
from asnn_goose.train.gradient_monitor import WatchSettings
from asnn_goose.train.gradient_projection import ProjectSettings
from asnn_goose.train.gradients import sides
from asnn_goose.train.optimiser import LOSS_GROUP, AdamSettings, Trained
from asnn_goose.train.plan import RunSettings, StagePlan
from asnn_goose.train.stages import STAGES
from asnn_goose.train.trainer import StageTrainer

GROUPS = ("matrix", "norm", "embedding", LOSS_GROUP)
SIZES = (4, 3, 2, 2)
ADAM = AdamSettings(scales={}, betas=(0.9, 0.95), weight_decay=0.0)
BODY = 7
"""Both sides reach the first two parameters; the third is the task's alone."""


def draw(seed: int) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Gradients of the task and of the rest."""
    generator = torch.Generator().manual_seed(seed)
    task, rest = ([torch.randn(n, generator=generator) for n in SIZES] for _ in range(2))
    return [*task[:3], None], [*rest[:2], None, rest[3]]


def body(part: list[Tensor | None]) -> Tensor:
    """The shared parameters' part, in one row."""
    return torch.cat([gradient for gradient in part[:2] if gradient is not None])


def cut(row: Tensor, like: list[Tensor | None]) -> list[Tensor | None]:
    """The same gradients with another shared part."""
    return [*row.split(SIZES[:2]), *like[2:]]


def join(*batches: tuple[list[Tensor | None], list[Tensor | None]]) -> tuple[list[Any], float]:
    """Gradients that are left after micro-batches of (task, rest), and the cosine."""
    trained = [
        Trained(f"p.{group}", group, nn.Parameter(torch.zeros(size)))
        for group, size in zip(GROUPS, SIZES, strict=True)
    ]
    rule = ProjectSettings(task=("ce",)).start(trained, ADAM)
    rule.begin(1)
    for task, rest in batches:
        rule.take(["ce"], task, scale=1 / len(batches))
        rule.take(["kl"], rest, scale=1 / len(batches))
    rule.join()
    return [entry.parameter.grad for entry in trained], rule.readings()["project.cosine"]


def conflicting(seed: int = 0) -> tuple[list[Tensor | None], list[Tensor | None]]:
    task, rest = draw(seed)
    return task, cut(body(rest) - 2 * body(task), rest)


def at_right_angles(seed: int = 0) -> tuple[list[Tensor | None], list[Tensor | None]]:
    task, rest = draw(seed)
    of_task, of_rest = body(task).double(), body(rest).double()
    # A hair of agreement, lest rounding make a conflict of it.
    share = of_rest @ of_task / (of_task @ of_task) - 1e-6
    return task, cut((of_rest - share * of_task).float(), rest)


def aligned(seed: int = 0) -> tuple[list[Tensor | None], list[Tensor | None]]:
    task, rest = draw(seed)
    return task, cut(0.5 * body(task), rest)


@pytest.mark.parametrize(("make", "cosine"), [(at_right_angles, 0.0), (aligned, 1.0)])
def test_without_conflict_it_is_the_plain_sum(make: Any, cosine: float) -> None:
    task, rest = make()
    found, said = join((task, rest))
    assert torch.equal(body(found), body(task) + body(rest))
    assert said == pytest.approx(cosine, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_what_conflicts_comes_out_at_right_angles(seed: int) -> None:
    task, rest = conflicting(seed)
    of_task, of_rest = body(task), body(rest)
    found, cosine = join((task, rest))
    left = body(found) - of_task
    assert cosine == pytest.approx(float(torch.cosine_similarity(of_task, of_rest, dim=0)))
    assert cosine < 0
    assert float(left @ of_task) == pytest.approx(0.0, abs=1e-5)
    share = of_rest @ of_task / (of_task @ of_task)
    torch.testing.assert_close(left, of_rest - share * of_task)


def test_the_opposite_of_the_task_goes_away() -> None:
    task, rest = draw(1)
    found, cosine = join((task, cut(-3 * body(task), rest)))
    torch.testing.assert_close(body(found), body(task))
    assert cosine == pytest.approx(-1.0)


def test_what_one_side_reaches_alone_is_left_as_it_is() -> None:
    task, rest = conflicting()
    found, _ = join((task, rest))
    assert torch.equal(found[2], task[2])  # type: ignore[arg-type]
    assert torch.equal(found[3], rest[3])  # type: ignore[arg-type]
    larger = [*task[:2], 100 * task[2], None]  # type: ignore[operator]
    assert torch.equal(body(join((larger, rest))[0]), body(found))


def test_a_loss_s_own_parameter_does_not_count_even_where_both_sides_reach_it() -> None:
    task, rest = aligned()
    task[3] = -10 * rest[3]  # type: ignore[operator]
    found, cosine = join((task, rest))
    assert cosine == pytest.approx(1.0)
    assert torch.equal(found[3], task[3] + rest[3])  # type: ignore[operator]


def test_micro_batches_are_added_up_before_they_are_projected() -> None:
    task, rest = draw(2)
    against, along = (cut(sign * body(task), rest) for sign in (-1.0, 3.0))
    found, cosine = join((task, against), (task, along))
    torch.testing.assert_close(body(found), 2 * body(task))  # the mean of rest is the task's
    assert cosine == pytest.approx(1.0)


@pytest.mark.parametrize("none", ["shared", "task"])
def test_nothing_to_project_on(none: str) -> None:
    task, rest = draw(3)
    nothing = {"shared": [None, None, *task[2:]], "task": cut(torch.zeros(BODY), task)}
    task = nothing[none]
    found, cosine = join((task, rest))
    assert torch.equal(body(found), body(rest))
    assert cosine == 0.0


def test_sides_of_terms() -> None:
    assert sides(["kl", "ce", "ctkd"], ("ce",)) == {"task": ["ce"], "rest": ["kl", "ctkd"]}
    assert sides(["kl"], ("ce",)) == {"rest": ["kl"]}


class Against(VocabLoss):
    """Wants the opposite of cross-entropy, half as much."""

    uses_teacher = False

    def forward(self, z_student_nV: Tensor, z_teacher_nV: Tensor | None, chunk: Chunk) -> Tensor:
        return -0.5 * CrossEntropy()(z_student_nV, None, chunk)


def trained_on(tiny: ModuleType, *terms: Term, **tables: Any) -> tuple[StageTrainer, Any]:
    """A trainer after one step of two micro-batches, and what it says of the step."""
    plan = tiny.plan(accumulate=2, noise=False, clip=math.inf)
    stage: StagePlan = plan.stages[1]
    objective = Objective(terms, chunk=24)
    distill = STAGES["distill"](
        student=plan.student, teacher=stage.stage.teacher, objective=objective
    )
    settings: RunSettings = plan.settings
    trainer = StageTrainer(
        replace(stage, stage=distill, **tables), settings=settings, accelerator=plan.accelerator
    )
    return trainer, trainer.step(0)


def test_a_step_follows_the_task_where_a_term_wants_the_opposite(tiny: ModuleType) -> None:
    ce, against = Term("ce", 1.0, CrossEntropy()), Term("against", 1.0, Against())
    alone, _ = trained_on(tiny, ce)
    for watch in (None, WatchSettings(every=1)):
        tables = {"rule": ProjectSettings(), "watch": watch}
        both, result = trained_on(tiny, ce, against, **tables)
        assert result.readings["project.cosine"] == pytest.approx(-1.0, abs=1e-4)
        for left, right in zip(both.trained, alone.trained, strict=True):
            torch.testing.assert_close(
                left.parameter.grad, right.parameter.grad, rtol=1e-3, atol=1e-6
            )
