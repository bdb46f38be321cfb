"""A stage that ends with the mean of its weights, wherever it was broken off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from asnn_goose.model.parts.precision import Precision
from asnn_goose.model.parts.projection import Projection
from asnn_goose.train.averaging import Average, AverageSettings
from asnn_goose.train.loop import run
from asnn_goose.train.optimiser import Trained, restore_state, state_tensors


def walk(settings: AverageSettings, steps: int, *, broken_after: int | None = None) -> float:
    """The mean of a weight that is 1, 2, 3, ... after its steps."""
    parameter = nn.Parameter(torch.zeros(1))
    trained = [Trained("w", "matrix", parameter)]

    def begun() -> tuple[torch.optim.Optimizer, Average]:
        optimiser = torch.optim.AdamW([parameter], lr=0.0)
        return optimiser, Average(settings, trained, optimiser)

    optimiser, average = begun()
    for number in range(steps):
        parameter.grad = torch.ones(1)
        optimiser.step()
        parameter.data.fill_(number + 1.0)
        average.follow(number, steps=steps)
        if number == broken_after:
            kept = {name: x.clone() for name, x in state_tensors(optimiser, trained).items()}
            optimiser, average = begun()
            restore_state(optimiser, trained, kept)
    average.adopt()
    return float(parameter.detach())


@pytest.mark.parametrize("broken_after", [None, 1, 6, 8])
def test_the_mean_is_of_the_last_part(broken_after: int | None) -> None:
    plain = AverageSettings(since=0.5, decay=1.0)
    assert walk(plain, 10, broken_after=broken_after) == pytest.approx((6 + 7 + 8 + 9 + 10) / 5)
    # Over two steps a plain mean, from then on half of the newest.
    fading = AverageSettings(since=0.6, decay=0.5)
    wanted = 0.5 * (0.5 * ((7 + 8) / 2) + 0.5 * 9) + 0.5 * 10
    assert walk(fading, 10, broken_after=broken_after) == pytest.approx(wanted)


def test_a_stage_of_one_step_has_a_mean_too() -> None:
    assert walk(AverageSettings(since=0.9), 1) == 1.0


def test_codes_are_those_of_the_mean() -> None:
    matrix = Projection(16, 4, bias=False, precision=Precision(planes=1))
    trained = [Trained("w", "matrix", matrix.weight)]
    optimiser = torch.optim.AdamW([matrix.weight], lr=0.0)
    average, seen = Average(AverageSettings(since=0.0, decay=1.0), trained, optimiser), []
    for number in range(4):
        matrix.weight.grad = torch.ones_like(matrix.weight)
        optimiser.step()
        torch.nn.init.normal_(matrix.weight, generator=torch.Generator().manual_seed(number))
        seen.append(matrix.weight.detach().clone())
        average.follow(number, steps=4)
    average.adopt()
    assert matrix.ternary is not None
    mean = torch.stack(seen).mean(0)
    assert torch.allclose(matrix.weight, mean, atol=1e-6)
    assert torch.equal(matrix.ternary.planes_of(matrix.weight).codes_POK[0] + 0.0,
                       matrix.ternary.planes_of(mean).codes_POK[0] + 0.0)  # fmt: skip


def test_what_stands_still_is_left_alone() -> None:
    moving, still = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.full((1,), 5.0))
    trained = [Trained("a", "matrix", moving), Trained("b", "matrix", still)]
    optimiser = torch.optim.AdamW([moving, still], lr=1.0)
    average = Average(AverageSettings(since=0.0), trained, optimiser)
    moving.grad = torch.ones(1)
    optimiser.step()
    average.follow(0, steps=1)
    average.adopt()
    assert float(still) == 5.0
    assert "average/b" not in state_tensors(optimiser, trained)


def averaged(tiny: ModuleType, settings: AverageSettings | None) -> Any:
    plan = tiny.plan(noise=False)
    stages = tuple(replace(stage, average=settings) for stage in plan.stages)
    return replace(plan, stages=stages)


def test_a_run_ends_with_the_mean_and_begins_the_next_stage_with_it(
    tiny: ModuleType, tmp_path: Path
) -> None:
    found = {}
    for name, settings in {"last": None, "mean": AverageSettings(since=0.5)}.items():
        torch.manual_seed(0)
        plan = averaged(tiny, settings)
        run(plan, out=tmp_path / name, resume=False, progress=tiny.Watcher())
        found[name] = [p.detach().clone() for p in plan.student.parameters()]
    assert not all(map(torch.equal, found["last"], found["mean"]))


@pytest.mark.parametrize(
    "settings", [{"since": 1.0}, {"since": -0.1}, {"decay": 0.0}, {"decay": 1.1}]
)
def test_wrong_settings_are_named(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"average\.{next(iter(settings))} = "):
        AverageSettings(**settings)
