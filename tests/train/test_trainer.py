"""What one step of a stage is made of: its rate, its micro-batches, and what may move."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from asnn_goose.train.trainer import StageTrainer


def trainer_of(tiny: ModuleType, number: int, *, accumulate: int) -> tuple[Any, StageTrainer]:
    whole = tiny.plan(accumulate=accumulate, noise=False)
    plan = whole.stages[number]
    return plan, StageTrainer(plan, settings=whole.settings, accelerator=whole.accelerator)


def test_the_rate_follows_the_schedule_and_the_groups(tiny: ModuleType) -> None:
    plan, trainer = trainer_of(tiny, 1, accumulate=1)
    for number in range(4):
        rate = plan.lr * plan.schedule.factor(number)
        assert trainer.step(number).lr == pytest.approx(rate)
        rates = {group["lr"] for group in trainer.optimiser.param_groups}
        assert sorted(rates) == pytest.approx([rate, 2 * rate])
    assert plan.schedule.factor(0) < plan.schedule.factor(3) < 1


def test_terms_are_means_over_the_micro_batches(tiny: ModuleType) -> None:
    plan, trainer = trainer_of(tiny, 1, accumulate=3)
    place = plan.loader.state()
    with torch.no_grad():
        found = [plan.stage(plan.loader.next(micro / 18)) for micro in range(3)]
    plan.loader.restore(place)
    wanted = {name: sum(float(terms[name]) for terms in found) / 3 for name in ("kl", "ce")}
    assert trainer.step(0).terms == pytest.approx(wanted, rel=1e-4)


def test_progress_is_that_of_the_step(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, trainer = trainer_of(tiny, 1, accumulate=3)
    read, told = plan.loader.next, list[float]()

    def noted(progress: float) -> Any:
        told.append(progress)
        return read(progress)

    monkeypatch.setattr(plan.loader, "next", noted)
    for number in range(2):
        trainer.step(number)
    # One number for all micro-batches: several processes share them out among themselves.
    assert told == pytest.approx([step / plan.steps for step in (0, 0, 0, 1, 1, 1)])


def test_what_is_not_trained_collects_no_gradient(tiny: ModuleType) -> None:
    plan, trainer = trainer_of(tiny, 0, accumulate=1)
    trainer.step(0)
    parameters = dict(plan.stage.student.named_parameters())
    moving = {name for name, parameter in parameters.items() if parameter.requires_grad}
    assert moving == set(plan.trained())
    assert all(parameters[name].grad is None for name in parameters.keys() - moving)
