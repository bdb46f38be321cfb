"""With data.resets, whatever runs on windows keeps their documents apart, teacher and student."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from asnn_goose.losses import LOSSES, VOCAB_LOSSES, Objective, Term
from asnn_goose.trace import IGNORED_LABEL, Batch
from asnn_goose.train import starts
from asnn_goose.train.curriculum import difficulty
from asnn_goose.train.plan import Starts
from asnn_goose.train.stages import STAGES

CUT = 20
"""First token of the second document, in windows of 32."""


def apart(batch: Batch) -> Batch:
    documents_BT = (torch.arange(batch.tokens_BT.shape[1]) >= CUT).long()
    return replace(batch, documents_BT=documents_BT.expand_as(batch.tokens_BT))


def part(batch: Batch, tokens: slice) -> Batch:
    found = (batch.tokens_BT, batch.labels_BT, batch.documents_BT)
    tokens_BT, labels_BT, documents_BT = (x[:, tokens] for x in found)
    return Batch(tokens_BT=tokens_BT, labels_BT=labels_BT, documents_BT=documents_BT)


def first(batch: Batch) -> Batch:
    """The first document alone."""
    return part(batch, slice(CUT))


def second(batch: Batch) -> Batch:
    """The second document alone."""
    return part(batch, slice(CUT, None))


def stage_of(plan: Any, kind: str, *losses: str, resets: bool = True) -> Any:
    terms = [Term(name, 1.0, {**LOSSES, **VOCAB_LOSSES}[name]()) for name in losses]
    teacher = plan.stages[0].stage.teacher
    objective = Objective(terms, chunk=24)
    stage = STAGES[kind](student=plan.student, teacher=teacher, objective=objective, resets=resets)
    return stage.train(False)


@pytest.fixture
def plan(tiny: ModuleType) -> Any:
    whole = tiny.plan(noise=False)
    with torch.no_grad():  # not symmetric, and not the teacher
        generator = torch.Generator().manual_seed(1)
        for parameter in whole.student.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return whole


@pytest.fixture
def batch(plan: Any) -> Batch:
    return apart(plan.stages[1].loader.next(0.0))


@pytest.mark.parametrize("name", ["matrix_orientation", "minilm", "tinybert_attention"])
@torch.no_grad()
def test_losses_on_attention_see_no_other_document(plan: Any, batch: Batch, name: str) -> None:
    """Whatever the first document says, its labels not counted, the loss on the second is one."""
    labels_BT = batch.labels_BT.clone()
    labels_BT[:, :CUT] = IGNORED_LABEL
    tokens_BT = batch.tokens_BT.clone()
    tokens_BT[:, :CUT] = tokens_BT[:, :CUT].flip(1)
    stage = stage_of(plan, "distill", name)
    one, two = (
        replace(batch, tokens_BT=t, labels_BT=labels_BT) for t in (batch.tokens_BT, tokens_BT)
    )
    torch.testing.assert_close(stage(one), stage(two))
    torch.testing.assert_close(stage(one)[name], stage(second(batch))[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["align", "align_blocks"])
@torch.no_grad()
def test_driven_mixers_see_no_other_document(plan: Any, batch: Batch, kind: str) -> None:
    labels_BT, tokens_BT = batch.labels_BT.clone(), batch.tokens_BT.clone()
    labels_BT[:, :CUT] = IGNORED_LABEL
    tokens_BT[:, :CUT] = tokens_BT[:, :CUT].flip(1)
    one, two = (
        replace(batch, tokens_BT=t, labels_BT=labels_BT) for t in (batch.tokens_BT, tokens_BT)
    )
    stage = stage_of(plan, kind, "attention_output")
    torch.testing.assert_close(stage(one), stage(two))
    # As one text they do.
    leaking = stage_of(plan, kind, "attention_output", resets=False)
    found, other = (leaking(each)["attention_output"] for each in (one, two))
    assert abs(float(found / other) - 1) > 1e-4


@pytest.mark.parametrize("name", ["matrix_orientation", "minilm", "tinybert_attention"])
@torch.no_grad()
def test_no_pair_across_documents_counts(plan: Any, batch: Batch, name: str) -> None:
    """With all labels: a sum over both documents, not over pairs that the teacher never saw."""
    found = {
        resets: stage_of(plan, "distill", name, resets=resets)(batch) for resets in (True, False)
    }
    assert abs(float(found[True][name] / found[False][name]) - 1) > 1e-3
    swapped = replace(batch, tokens_BT=batch.tokens_BT.clone())
    swapped.tokens_BT[:, :CUT] = 3
    stage, needs = stage_of(plan, "distill", name), frozenset({"queries", "keys"})
    for model in (plan.student, stage.teacher):
        keys = [
            model.trace(b.tokens_BT, needs, window=stage.window(b)).signal("keys")[1][:, CUT:]
            for b in (batch, swapped)
        ]
        assert torch.equal(*keys)


@torch.no_grad()
def test_a_curriculum_ranks_documents_apart(plan: Any, batch: Batch) -> None:
    stage, rows = stage_of(plan, "distill", "kl"), batch.tokens_BT.shape[1]
    scores = [difficulty(stage, x) for x in (batch, first(batch), second(batch))]
    for whole_B, ahead_B, behind_B in zip(*scores, strict=True):
        wanted_B = (CUT * ahead_B + (rows - CUT) * behind_B) / rows
        torch.testing.assert_close(whole_B, wanted_B, rtol=1e-4, atol=1e-5)


PLANES = {"*": {"planes": 1}}
FITS: dict[str, tuple[str, dict[str, Any], Starts]] = {
    "balance": ("align_blocks", {}, Starts(balance=64)),
    "calibrate": ("align_blocks", PLANES, Starts(calibrate=64)),
    "least_squares": ("align", {}, Starts(least_squares=64)),
}


@pytest.mark.parametrize("name", sorted(FITS))
def test_starts_read_documents_apart(plan: Any, batch: Batch, name: str) -> None:
    """What is fitted on a window is what is fitted on its documents one by one."""
    kind, precision, wanted = FITS[name]
    before = {n: t.clone() for n, t in plan.student.state_dict().items()}
    found = []
    for batches in ([batch], [first(batch), second(batch)]):
        plan.student.load_state_dict(before)
        plan.student.set_precision(precision)
        stage = stage_of(plan, kind, "attention_output")
        made = replace(
            plan.stages[1],
            stage=stage,
            loader=Given(batches),
            starts=wanted,
            tokens_per_step=64 // len(batches),
            accumulate=1,
        )
        starts.start(made, accelerator=plan.accelerator, tell=lambda text: None)
        found.append({n: t.clone() for n, t in plan.student.state_dict().items()})
    assert any(not torch.equal(found[0][n], t) for n, t in before.items())
    for n, tensor in found[0].items():
        torch.testing.assert_close(found[1][n], tensor, rtol=2e-3, atol=2e-4)


class Given:
    """A loader of given batches."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches, self.place = batches, 0

    def next(self, progress: float) -> Batch:
        self.place += 1
        return self.batches[self.place - 1]

    def state(self) -> dict[str, int]:
        return {"place": self.place}

    def restore(self, state: dict[str, int]) -> None:
        self.place = state["place"]
