from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from asnn_goose.model.neurons.surrogate_gradient import MOMENTUM, SurrogateGradient


def width(gradient: SurrogateGradient) -> float:
    return float(F.softplus(gradient.p))


def test_the_width_starts_at_the_spread_and_follows_it() -> None:
    gradient = SurrogateGradient("learnable")
    assert width(gradient) == pytest.approx(1)
    first = 0.1 * torch.randn(4, 64)
    gradient.follow(first)
    assert width(gradient) == pytest.approx(float(2 * first.std()), rel=1e-5)
    later = 3 * torch.randn(4, 64)
    wanted = MOMENTUM * float(2 * first.std()) + (1 - MOMENTUM) * float(2 * later.std())
    gradient.follow(later)
    assert width(gradient) == pytest.approx(wanted, rel=1e-5)


def test_eval_and_the_others_stay() -> None:
    gradient = SurrogateGradient("learnable").eval()
    gradient.follow(torch.randn(4, 64))
    assert not gradient.measured
    fixed = SurrogateGradient("atan", shape=3.0)
    fixed.follow(torch.randn(4, 64))
    assert fixed.state_dict() == {}
    assert fixed.now()(torch.zeros(1)) == 1.5


def test_a_surrogate_taken_now_does_not_move() -> None:
    gradient = SurrogateGradient("learnable")
    gradient.follow(torch.randn(4, 64))
    h = gradient.now()
    before = h(torch.zeros(1))
    gradient.follow(100 * torch.randn(4, 64))
    assert h(torch.zeros(1)) == before > gradient.now()(torch.zeros(1))


def test_silence_moves_nothing_and_a_constant_stays_finite() -> None:
    gradient = SurrogateGradient("learnable")
    gradient.follow(torch.zeros(4, 64))
    assert not gradient.measured
    gradient.follow(torch.ones(4, 64))
    assert gradient.p.isfinite()
