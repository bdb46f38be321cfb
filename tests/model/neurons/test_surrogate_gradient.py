from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asnn_goose.model.neurons.surrogate_gradient import MOMENTUM, SurrogateGradient


def width(gradient: SurrogateGradient) -> float:
    return float(F.softplus(gradient.p))


def step(gradient: SurrogateGradient, *batches: Tensor) -> None:
    counts_n = torch.zeros(2)
    for v in batches:
        gradient.follow(v)
        counts_n += gradient.take_counts()
    gradient.go_on(counts_n)


def test_the_width_starts_at_the_spread_and_follows_it() -> None:
    gradient = SurrogateGradient("learnable")
    assert width(gradient) == pytest.approx(1)
    first, other = (scale * torch.randn(4, 64) for scale in (0.1, 0.4))
    step(gradient, first, other)
    begun = float(first.std() + other.std())
    assert width(gradient) == pytest.approx(begun, rel=1e-5)
    later = 3 * torch.randn(4, 64)
    wanted = MOMENTUM**2 * begun + (1 - MOMENTUM**2) * float(2 * later.std())
    step(gradient, later, later)
    assert width(gradient) == pytest.approx(wanted, rel=1e-5)


def test_eval_and_the_others_stay() -> None:
    gradient = SurrogateGradient("learnable").eval()
    step(gradient, torch.randn(4, 64))
    assert not gradient.measured
    fixed = SurrogateGradient("atan", shape=3.0)
    fixed.follow(torch.randn(4, 64))
    assert fixed.state_dict() == {}
    assert fixed.now()(torch.zeros(1)) == 1.5


def test_a_surrogate_taken_now_does_not_move() -> None:
    gradient = SurrogateGradient("learnable")
    step(gradient, torch.randn(4, 64))
    h = gradient.now()
    before = h(torch.zeros(1))
    gradient.follow(100 * torch.randn(4, 64))
    assert gradient.now()(torch.zeros(1)) == before  # nor does another of the same step
    gradient.go_on(gradient.take_counts())
    assert h(torch.zeros(1)) == before > gradient.now()(torch.zeros(1))


def test_silence_moves_nothing_and_a_constant_stays_finite() -> None:
    gradient = SurrogateGradient("learnable")
    step(gradient, torch.zeros(4, 64))
    assert not gradient.measured
    step(gradient, torch.ones(4, 64))
    assert gradient.measured
    assert gradient.p.isfinite()
