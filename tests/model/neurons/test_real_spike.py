from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asnn_goose.model.neurons import MeanThreshold, RealSpike

CODES = [(1, 0.7), (3, 3.0)]


@pytest.mark.parametrize(("steps", "threshold"), CODES)
def test_it_starts_as_the_mean_threshold(steps: int, threshold: float, h_BTK: Tensor) -> None:
    plain = MeanThreshold(64, steps=steps, threshold=threshold)
    for per in ("tensor", "channel"):
        neuron = RealSpike(64, steps=steps, threshold=threshold, per=per)
        assert torch.equal(neuron(h_BTK), plain(h_BTK))


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize(("steps", "threshold"), CODES)
def test_gradients(steps: int, threshold: float, per: str, h_BTK: Tensor) -> None:
    neuron = RealSpike(64, steps=steps, threshold=threshold, per=per)
    plain = MeanThreshold(64, steps=steps, threshold=threshold)
    with torch.no_grad():
        neuron.value.copy_(0.5 + torch.rand(neuron.value.shape))
    h, dy = h_BTK.clone().requires_grad_(), torch.randn(h_BTK.shape)
    out = plain(h)
    (through,) = torch.autograd.grad(out, h, dy)
    dh, dvalue = torch.autograd.grad(neuron(h), (h, neuron.value), dy)
    value = neuron.value.detach()
    assert torch.allclose(neuron(h), out * value, atol=1e-6)
    assert torch.allclose(dh, through * value)
    assert torch.allclose(dvalue, (dy * out.detach()).sum_to_size(value.shape), atol=1e-3)


def test_the_value_is_a_factor() -> None:
    neuron = RealSpike(64)
    with torch.no_grad():
        neuron.value.fill_(1.5)
    assert neuron.packed() == {"threshold": 0.7, "factor": 1.5}
    assert "per channel" in RealSpike(64, per="channel").training_only
