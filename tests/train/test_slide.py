"""Sliding windows of blocks: who trains, on what, towards what, and how far its codes are."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
import torch

from asnn_goose.losses import LOSSES, Objective, Term
from asnn_goose.losses.distances import huber
from asnn_goose.model.goose.block_range import run_range
from asnn_goose.model.neurons import Neuron
from asnn_goose.trace import Batch, Window
from asnn_goose.train.stages import STAGES
from asnn_goose.train.stages.slide import Slide, parts_of

HIDDEN = frozenset({"hidden"})


@pytest.fixture
def parts(tiny: ModuleType) -> Any:
    """A student of two blocks, its teacher, and a batch at the beginning of a stage."""
    plan = tiny.plan(noise=False)
    return plan.student, plan.stages[0].stage.teacher, plan.stages[0].loader.next(0.0)


def slide(student: Any, teacher: Any, **settings: int) -> Any:
    objective = Objective([Term("block_output", 1.0, LOSSES["block_output"]())])
    settings = {"span": 1} | settings
    return STAGES["slide"](student=student, teacher=teacher, objective=objective, **settings)


def at(batch: Batch, progress: float) -> Batch:
    return Batch(
        tokens_BT=batch.tokens_BT,
        labels_BT=batch.labels_BT,
        documents_BT=batch.documents_BT,
        progress=progress,
    )


@pytest.mark.parametrize(
    ("span", "progress", "trained"),
    [(1, 0.0, {"0"}), (1, 0.49, {"0"}), (1, 0.5, {"1"}), (1, 1.0, {"1"}), (2, 0.3, {"0", "1"})],
)
def test_the_blocks_of_its_part_train_alone(
    parts: Any, span: int, progress: float, trained: set[str]
) -> None:
    student, teacher, batch = parts
    slide(student, teacher, span=span)(at(batch, progress))["block_output"].backward()
    reached = [n for n, p in student.named_parameters() if p.grad is not None and p.grad.any()]
    assert {name.split(".")[1] for name in reached if name.startswith("blocks.")} == trained
    assert all(name.startswith("blocks.") for name in reached)


def test_it_is_held_against_the_teachers_stream_at_its_end(parts: Any) -> None:
    student, teacher, batch = parts
    wanted = teacher.trace(batch.tokens_BT, HIDDEN).hidden
    found = student.trace(batch.tokens_BT, HIDDEN).hidden
    for progress, place in ((0.0, 1), (0.9, 2)):
        terms = slide(student, teacher)(at(batch, progress))
        value = huber(found[place].flatten(0, 1), wanted[place].flatten(0, 1))
        torch.testing.assert_close(terms["block_output"], value)


def test_later_blocks_see_what_the_students_earlier_ones_give(parts: Any) -> None:
    student, teacher, batch = parts
    before = slide(student, teacher)(at(batch, 0.9))["block_output"].detach()
    with torch.no_grad():
        student.blocks[0].mlp.down.weight.mul_(3)
    assert slide(student, teacher)(at(batch, 0.9))["block_output"] != before


def test_all_blocks_in_one_range_are_the_student(parts: Any) -> None:
    student, _, batch = parts
    whole = run_range(student, batch.tokens_BT, first=0, last=2, window=Window())
    assert torch.equal(whole, student.trace(batch.tokens_BT, HIDDEN).hidden[-1])


def test_codes_harden_within_each_part(parts: Any) -> None:
    student, teacher, batch = parts
    neuron = {"name": "mean", "fade": 0.8}
    student.set_precision({"*": {"steps": 3, "neuron": neuron}})
    stage = slide(student, teacher)
    for progress, shares in ((0.25, [0.5, None]), (0.75, [1.0, 0.5]), (1.0, [1.0, 1.0])):
        student.anneal(0.0)
        stage(at(batch, progress))
        for block, share in zip(student.blocks, shares, strict=True):
            found = {m.progress for m in block.modules() if isinstance(m, Neuron)}
            assert found == {0.0 if share is None else share}


@pytest.mark.parametrize(
    ("span", "stride", "firsts"),
    [(4, 2, [0, 2, 4, 6]), (4, 3, [0, 3, 6]), (3, 3, [0, 3, 6, 7]), (10, 2, [0]), (2, 1, range(9))],
)
def test_runs_slide_on_and_reach_every_block(span: int, stride: int, firsts: Sequence[int]) -> None:
    stage = object.__new__(Slide)
    torch.nn.Module.__init__(stage)
    stage.span, stage.stride = span, stride
    stage.student = torch.nn.Module()
    stage.student.blocks = torch.nn.ModuleList(torch.nn.Identity() for _ in range(10))
    count = len(firsts)
    assert parts_of(10, span=span, stride=stride) == count
    assert [stage.place(part / count + 1e-9)[0] for part in range(count)] == list(firsts)
    for progress in (0.25, 0.5, 0.9):
        first, share = stage.place(progress)
        assert share == pytest.approx(progress * count % 1)
        assert first == firsts[int(progress * count)]
    assert stage.place(1.0) == (firsts[-1], 1.0)


def test_huber_is_square_near_and_straight_far() -> None:
    target = torch.full((3, 4), 2.0)
    for gap in (0.1, 0.5, 1.0, 4.0):
        value = gap**2 / 2 if gap <= 1 else gap - 0.5
        assert huber(target + 2 * gap, target) == pytest.approx(value, rel=1e-5)
    assert huber(target[:0], target[:0]) == 0
