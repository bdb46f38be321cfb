"""A stage's own loss on held-out windows: its value, and nothing that only training needs."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from asnn_goose.data.loader import WindowLoader
from asnn_goose.train.validation import Validation


def held_out(tiny: ModuleType) -> Validation:
    loader = WindowLoader([tiny.shard()], window=32, batch=2, seed=5)
    return Validation(loader=loader, batches=2)


def never(*args: Any, **kwargs: Any) -> None:
    raise AssertionError("a gradient was taken")


def test_it_is_the_mean_loss_of_the_same_windows_without_a_gradient(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny.plan(noise=False)
    stage, validation = plan.stages[1].stage, held_out(tiny)
    losses = [float(sum(stage(validation.loader.next(0.5)).values()).detach()) for _ in range(2)]
    validation = held_out(tiny)
    monkeypatch.setattr(torch.autograd, "grad", never)
    for _ in range(2):  # the loader is where it was
        found = validation.loss(stage, plan.accelerator, progress=0.5)
        assert found == pytest.approx(sum(losses) / 2, rel=1e-6)
    assert stage.training
    assert all(parameter.grad is None for parameter in stage.parameters())
