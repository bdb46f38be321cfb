"""The student on held-out windows: CE and KL whatever it learns from, and nothing else is done."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from asnn_goose.data.loader import WindowLoader
from asnn_goose.train.validation import Validation

VOCAB = frozenset({"vocab"})


def held_out(tiny: ModuleType) -> Validation:
    loader = WindowLoader([tiny.shard()], window=32, batch=2, seed=5)
    return Validation(loader=loader, batches=2)


def never(*args: Any, **kwargs: Any) -> None:
    raise AssertionError("a gradient was taken")


def test_it_is_ce_and_kl_at_temperature_one_without_a_gradient(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny.plan(noise=False)
    stage, validation = plan.stages[1].stage, held_out(tiny)
    values = {"ce": 0.0, "kl": 0.0}
    for _ in range(2):
        batch = validation.loader.next(0.5)
        z, t = (
            m.trace(batch.tokens_BT, VOCAB).vocab(slice(None))
            for m in (stage.student, stage.teacher)
        )
        values["ce"] += float(F.cross_entropy(z, batch.labels_BT.flatten()).detach()) / 2
        log_q, log_p = z.log_softmax(-1), t.log_softmax(-1)
        values["kl"] += (
            float(F.kl_div(log_q.detach(), log_p, log_target=True, reduction="batchmean")) / 2
        )
    validation = held_out(tiny)
    monkeypatch.setattr(torch.autograd, "grad", never)
    for _ in range(2):  # the loader is where it was
        found = validation.measure(stage, plan.accelerator)
        assert found == pytest.approx(values, rel=1e-4)
    assert stage.training
    assert all(parameter.grad is None for parameter in stage.parameters())


@pytest.mark.parametrize("number", [0, 1])
def test_no_objective_can_move_it(tiny: ModuleType, number: int) -> None:
    """An aligning stage, and one whose loss fades and is weighed anew."""
    plan = tiny.plan(noise=False)
    stage = plan.stages[number].stage
    before = held_out(tiny).measure(stage, plan.accelerator)
    stage.objective.weights = dict.fromkeys(stage.objective.weights, 0.0)
    assert held_out(tiny).measure(stage, plan.accelerator) == before
    assert set(before) == {"ce", "kl"}
