from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from asnn_goose.model.neurons import LearnedThreshold, LSQPlusSpikes, MeanThreshold
from asnn_goose.ops.spike_codes import mean_magnitude
from asnn_goose.ops.surrogate import SURROGATES, surrogate


def gradient(neuron: MeanThreshold, h: Tensor, dy: Tensor) -> Tensor:
    x = h.clone().requires_grad_()
    return torch.autograd.grad(neuron(x), x, dy)[0]


def test_it_keeps_no_state() -> None:
    assert MeanThreshold(64).state_dict() == {}
    assert list(MeanThreshold(64).modules()) != []
    assert "gradient.p" in MeanThreshold(64, surrogate="learnable").state_dict()


def test_a_binary_neuron_fires_above_only(h_BTK: Tensor) -> None:
    out = MeanThreshold(64, signed=False, threshold=0.7)(h_BTK)
    mean = mean_magnitude(h_BTK)
    assert torch.equal(out > 0, h_BTK > 0.7 * mean)
    assert (out >= 0).all()


def test_the_binary_window(h_BTK: Tensor) -> None:
    neuron, dy = MeanThreshold(64, signed=False), torch.randn(h_BTK.shape)
    size = neuron.encode(h_BTK).amplitude_B1
    inside = (h_BTK >= -size / 2) & (h_BTK <= 1.5 * size)
    assert torch.equal(gradient(neuron, h_BTK, dy), dy * inside)


@pytest.mark.parametrize(("steps", "threshold", "top"), [(1, 0.7, 1), (3, 1.0, 13)])
def test_a_gradient_passes_as_far_as_the_code_can_follow(
    steps: int, threshold: float, top: int, h_BTK: Tensor
) -> None:
    neuron = MeanThreshold(64, steps=steps, threshold=threshold)
    dy, size = torch.randn(h_BTK.shape), neuron.encode(h_BTK).amplitude_B1
    inside = h_BTK.abs() <= (top + 0.5) * size
    assert not torch.equal(inside, h_BTK.abs() <= top * size)
    assert torch.equal(gradient(neuron, h_BTK, dy), dy * inside)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("name", [name for name in SURROGATES if name != "straight_through"])
def test_a_surrogates_gradient(name: str, signed: bool, h_BTK: Tensor) -> None:
    neuron = MeanThreshold(64, surrogate=name, signed=signed).eval()
    dy = torch.randn(h_BTK.shape)
    size = neuron.encode(h_BTK).amplitude_B1
    v, theta = h_BTK / size, 0.7 * mean_magnitude(h_BTK) / size
    h = surrogate(name)
    wanted = h(v - theta) + (h(v + theta) if signed else 0)
    found = gradient(neuron, h_BTK, dy)
    close = torch.isclose(found, dy * wanted, rtol=1e-4, atol=1e-6)
    assert close.float().mean() > 0.999  # the rectangle's edge is a matter of rounding


def test_surrogates_mean_the_same_at_every_scale(h_BTK: Tensor) -> None:
    neuron, dy = MeanThreshold(64, surrogate="atan"), torch.randn(h_BTK.shape)
    assert torch.equal(gradient(neuron, h_BTK, dy), gradient(neuron, 1024 * h_BTK, dy))


@pytest.mark.parametrize(("progress", "left"), [(0.0, 1.0), (0.25, 0.5), (0.5, 0.0), (1.0, 0.0)])
@pytest.mark.parametrize("kind", [MeanThreshold, LearnedThreshold, LSQPlusSpikes])
@pytest.mark.parametrize("steps", [1, 3])
def test_an_analogue_part_fades_away(
    steps: int, kind: Any, progress: float, left: float, h_BTK: Tensor
) -> None:
    neuron, plain = kind(64, fade=0.5, steps=steps), kind(64, steps=steps)
    assert kind(64, steps=steps)(h_BTK).equal(plain(h_BTK))  # both have met their first batch
    neuron(h_BTK)
    neuron.anneal(progress)
    assert torch.allclose(neuron(h_BTK), plain(h_BTK) * (1 - left) + h_BTK * left, atol=1e-6)
    dy = torch.randn(h_BTK.shape)
    wanted = gradient(plain, h_BTK, dy) * (1 - left) + dy * left
    assert torch.allclose(gradient(neuron, h_BTK, dy), wanted, atol=1e-6)


def test_nothing_analogue_is_left_outside_of_training(h_BTK: Tensor) -> None:
    neuron = MeanThreshold(64, fade=0.5)
    before_any = neuron(h_BTK)
    neuron.anneal(0.1)
    for out in (before_any, neuron.eval()(h_BTK)):
        assert torch.equal(out, neuron.encode(h_BTK).values())


def test_a_fade_beyond_the_stage_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fade = 1\.5: must be 0 to 1"):
        MeanThreshold(64, fade=1.5)
    for kind in (LearnedThreshold, LSQPlusSpikes):
        with pytest.raises(ValueError, match=r"fade = -0\.5: must be 0 to 1"):
            kind(64, fade=-0.5)
    with pytest.raises(ValueError, match=r"share = -0\.1: must be 0 to 1"):
        MeanThreshold(64, fade=0.5).anneal(-0.1)
